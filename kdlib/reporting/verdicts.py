"""What a study found, as data: differences with intervals, what was resampled, and which leave zero out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.choice import best_by_validation
from kdlib.reporting.core.evidence import Difference, compare, holm, ids, same_images
from kdlib.reporting.core.guessing import only_guesses
from kdlib.reporting.core.i18n import LANGS, N_, Message, say, text, translations
from kdlib.reporting.core.names import REPORTED, SCRATCH, each_recipe, layers, students
from kdlib.reporting.core.results import Results
from kdlib.reporting.core.table import Cell, Row, Table, Text, difference_cell
from kdlib.reporting.distillation import methods
from kdlib.reporting.pruning import study as pruning_runs
from kdlib.reporting.pruning.study import neighbours
from kdlib.reporting.radiology import study as radiology_runs
from kdlib.reporting.transfer import runs as transfer

MARKS = {"seeds": "●", "images": "◐", "patients": "◐"}
OPEN, UNKNOWN = "○", "–"
OVER = {"seeds": N_("{n} seeds"), "images": N_("{n} test images"), "patients": N_("{n} test patients")}
SIDES = {
    "up": N_("above zero"),
    "down": N_("below zero"),
    "open": N_("not told apart from zero"),
    "unknown": N_("without an interval"),
}
ALONE = N_("distilled − alone")
AGAINST_RANDOM = N_("criterion − random channels, fine-tuned")


@dataclass(frozen=True)
class Verdict:
    """One question's answer at one setting: a `Difference` of ``metric`` (``accuracy`` or ``auroc``, as fractions).

    ``sure``: whether it leaves zero out in every way it was asked; at several settings, after Holm's correction.
    ``subject``: the criterion it is about, where it is about one.
    """

    question: Text
    setting: Text
    found: Difference
    metric: str = "accuracy"
    sure: bool = True
    subject: str = ""

    @property
    def side(self) -> str:
        """``up`` or ``down`` where it surely leaves zero out; else ``open``, or ``unknown`` without an interval."""
        return self.found.verdict if self.sure or self.found.interval is None else "open"

    @property
    def mark(self) -> str:
        """● leaves zero out over seeds, ◐ over test images or patients alone, ○ does not, – has no interval."""
        if self.side in ("open", "unknown"):
            return OPEN if self.side == "open" else UNKNOWN
        return MARKS[self.found.over]


def verdicts(results: Results) -> list[Verdict]:
    """Every difference the study is about, question by question; none where nothing is better than guessing."""
    if results.verdicts is None:
        results.verdicts = _found(results) if results.used and not only_guesses(results) else []
    return results.verdicts


def _found(results: Results) -> list[Verdict]:
    found = [*_pruning(results), *_transfer(results), *_distillation(results)]
    out: list[Verdict] = []
    for asked in by_question(found):
        well = holm([one.found for one in asked])
        out += [replace(one, sure=one.sure and (w or one.found.p is None)) for one, w in zip(asked, well, strict=True)]
    return out


def by_question(found: Iterable[Verdict]) -> list[list[Verdict]]:
    """Verdicts of one question and metric together, in their order."""
    return [list(group) for _, group in groupby(found, key=lambda one: (str(one.question), one.metric))]


def counted(asked: Sequence[Verdict]) -> dict[str, int]:
    """How many of one question's settings lie on which side of zero: ``count``, ``up``, ``down``."""
    sides = [one.side for one in asked]
    return {"count": len(sides), "up": sides.count("up"), "down": sides.count("down")}


def sheets(results: Results) -> list[Table]:
    """The verdicts as a table; none where there are none."""
    found = verdicts(results)
    if not found:
        return []
    rows = [
        Row([one.question, one.setting], [_cell(one), _over(one.found), one.mark], str(one.question)) for one in found
    ]
    columns = [N_("Difference"), N_("Interval over"), N_("Verdict")]
    legend = N_("Test accuracy in points, AUROC as it is; brackets: 95% interval")
    notes = [
        N_(
            "● leaves zero out over seeds; ◐ over test images or patients alone; ○ not told apart from zero (asked at "
            "several settings, after Holm's correction); – no interval."
        ),
        _both(lambda lang: names.provenance(results, lang)),
    ]
    head = [N_("Question"), N_("Setting")]
    return [Table("verdicts", N_("What was found"), head, columns, rows, legend, notes, results.study.name)]


def sentences(found: list[Verdict], lang: str) -> list[str]:
    """One for each question: how much, over what, and on which side of zero; of several settings the ends."""
    return [_sentence(asked, lang) for asked in by_question(found)]


def _sentence(asked: list[Verdict], lang: str) -> str:
    question = names.capital(text(asked[0].question, lang), lang)
    if len(asked) == 1:
        message = N_("{question}: {found}, {side}.")
        return say(message, lang, question=question, found=_said(asked[0], lang), side=say(SIDES[asked[0].side], lang))
    ends = [choose(asked, key=lambda one: one.found.mean) for choose in (min, max)]
    low, high = (_said(end, lang) for end in ends)
    return say(
        "{question}: from {low} to {high}; after Holm's correction {up} of {count} lie above zero and {down} below it.",
        lang,
        question=question,
        low=low,
        high=high,
        **counted(asked),
    )


def _said(one: Verdict, lang: str) -> str:
    cell = _cell(one)
    difference = numbers.signed(cell.number, cell.digits, lang)
    if cell.interval:
        difference += " " + numbers.interval(*cell.interval, cell.digits, lang)
    over = f", {text(_over(one.found), lang)}" if one.found.over else ""
    return f"{difference} ({text(one.setting, lang)}{over})"


def _cell(one: Verdict) -> Cell:
    return difference_cell(one.found, *((1, 3) if one.metric == "auroc" else (100, 2)))


def _over(found: Difference) -> Text:
    return translations(OVER[found.over], n=lambda lang: numbers.integer(found.n, lang)) if found.over else numbers.DASH


def _both(said: Callable[[str], str]) -> dict[str, str]:
    return {lang: said(lang) for lang in LANGS}


def _asked(question: Message, setting: Callable[[str], str], found: Difference | None, **more) -> Iterable[Verdict]:
    if found is not None:
        yield Verdict(question, _both(setting), found, **more)


def _in_recipe(results: Results, here: dict, lang: str) -> str:
    """The model, and its recipe where the study has several."""
    parts = [names.label(results.study, here["model"], lang)]
    if len(names.recipes(results)) > 1:
        parts.append(names.label(results.study, here["recipe"], lang))
    return ", ".join(parts)


# Distillation


def _distillation(results: Results) -> Iterable[Verdict]:
    """Distilled students against themselves alone; where there are films of two classes by patient, and by AUROC."""
    study = radiology_runs.read(results)
    return _radiology(study) if study and study.first else _distilled(results)


def _distilled(results: Results) -> Iterable[Verdict]:
    """The setting that validation takes, or each method, against the student alone."""
    compared = methods.comparisons(results, {})
    for recipe in each_recipe(results, {}):
        for model in students(results, {"recipe": recipe}):
            here = {"model": model, "recipe": recipe}
            settings = results.settings(role="student", **here)
            several = here in compared
            best = best_by_validation(results, settings)
            for where in settings if several else [best] if best else []:

                def said(lang: str, here=here, where=where) -> str:
                    return f"{_in_recipe(results, here, lang)}: {names.setting(results, where, lang)}"

                yield from _asked(ALONE, said, compare(results, where, results, {"role": "baseline", **here}))


# Transfer


def _transfer(results: Results) -> Iterable[Verdict]:
    """The report's open layers (or those that validation takes) against scratch, most trained parameters against
    fewest, and transfer against distillation on the same images."""
    for here in transfer.columns(results, {}):
        settings = results.settings(role="transfer", **here)
        chosen = best_by_validation(results, [where for where in settings if where["variant"] != SCRATCH])
        if chosen is None:
            continue
        main = {**here, "role": "transfer", "variant": REPORTED}
        main = main if results.cell(main).mean is not None else chosen
        scratch = next((where for where in settings if where["variant"] == SCRATCH), None)

        def said(lang: str, main=main, last: dict | None = None) -> str:
            opened = " − ".join(layers(where["variant"], lang, results.study) for where in (main, last) if where)
            return f"{_in_recipe(results, main, lang)}: {opened}"

        yield from _asked(N_("transfer − from scratch"), said, compare(results, main, results, scratch))
        steps = transfer.by_parameters(results, here)
        if len(steps) > 1:
            yield from _asked(
                N_("most parameters trained − fewest"),
                partial(said, main=steps[-1], last=steps[0]),
                compare(results, steps[-1], results, steps[0]),
            )
        for other in results.beside.values():
            yield from _transfer_or_distil(results, main, other)


def _transfer_or_distil(results: Results, main: dict, other: Results) -> Iterable[Verdict]:
    wheres = [where for where in other.settings(role="student") if where["recipe"] == main["recipe"]]
    for model in dict.fromkeys(where["model"] for where in wheres):
        best = best_by_validation(other, [where for where in wheres if where["model"] == model])
        if best is None or not same_images(transfer.first(results, main), transfer.first(other, best)):
            continue

        def said(lang: str, best=best) -> str:
            distilled = f"{names.label(other.study, best['model'], lang)}, {names.setting(other, best, lang)}"
            return f"{_in_recipe(results, main, lang)} − {distilled} ({other.study.name})"

        yield from _asked(N_("transfer − distillation"), said, compare(results, main, other, best))


# Pruning


def _pruning(results: Results) -> Iterable[Verdict]:
    """Each criterion against random channels; distilled against plain fine-tuning; global against layer-wise; one
    network against the other; protected against open squeeze-excite."""
    study = pruning_runs.read(results)
    if study is None or study.original.mean is None:
        return
    for setting in ("report", "macs"):
        floor = study.where("finetuned", pruning_runs.RANDOM, setting)
        for criterion in study.criteria(setting):
            if criterion != pruning_runs.RANDOM:
                yield from _asked(
                    AGAINST_RANDOM,
                    partial(_criterion_at, study, setting, criterion),
                    study.gap(study.where("finetuned", criterion, setting), floor),
                    subject=criterion,
                )
    for setting in ("report", "macs"):
        pairs = study.pairs(("distilled", setting), ("finetuned", setting))
        yield from _mean(study, setting, N_("distilled − plain fine-tuning"), pairs)
    for other in neighbours(study):
        if "report" not in study.settings or other.spec.ratio != study.spec.ratio:
            continue
        if other.spec.model == study.spec.model:
            alike = other.spec.protect_se == study.spec.protect_se and other.spec.scope != study.spec.scope
            originals = [side.results.select(role="original")[0][1] for side in (study, other)]
            if alike and study.spec.scope == "global" and same_images(*originals):
                pairs = study.pairs(("finetuned", "report"), ("finetuned", "report"), other)
                for criterion, pair in pairs.items():
                    called = partial(_criterion_at, study, "report", criterion)
                    yield from _asked(N_("global − layer-wise"), called, study.gap(*pair, other), subject=criterion)
        elif other.spec.scope == study.spec.scope:
            pairs = study.pairs(("finetuned", "report"), ("finetuned", "report"), other)
            question = N_("change of accuracy, this network − the other")
            yield from _mean(study, "report", question, pairs, other, lost=True)
    if not study.spec.protect_se:
        pairs = study.pairs(("finetuned", "protected"), ("finetuned", "report"))
        yield from _mean(study, "report", N_("squeeze-excite protected − open"), pairs)


def _criterion_at(study, setting: str, criterion: str, lang: str) -> str:
    return f"{study.called(study.settings[setting], lang)}: {study.name(criterion, lang)}"


def _mean(study, setting: str, question: Message, pairs: dict, beside=None, lost: bool = False) -> Iterable[Verdict]:
    """The mean over criteria of a difference between two settings."""
    found = study.mean_gap(pairs, beside, lost)
    if found is None:
        return

    def said(lang: str) -> str:
        called = study.called(study.settings[setting], lang)
        if lost:
            called = f"{study.name(study.spec.model, lang)} − {beside.name(beside.spec.model, lang)}, {called}"
        return say("{setting}: mean over {count} criteria", lang, setting=called, count=len(found[1]))

    yield from _asked(question, said, found[0])


# Radiology


def _radiology(study: radiology_runs.RadiologyStudy) -> Iterable[Verdict]:
    """The student with its teacher against itself alone and against its teacher: AUROC and accuracy, by patient."""
    for other, question in (("baseline", ALONE), ("teacher", N_("distilled − teacher"))):
        for metric in ("auroc", "accuracy"):
            for case in study.cases:
                sides = [case.models.get(role) for role in ("student", other)]
                pair = radiology_runs.paired(*sides, metric) if all(sides) else None
                if pair is None:
                    continue
                patients, seeds = pair
                runs = tuple(id for side in sides for id in ids(study.results, side.where))
                found = replace(seeds if seeds.interval else patients, runs=runs)

                def said(lang: str, case=case, metric=metric) -> str:
                    model = names.label(study.study, case.model, lang)
                    return f"{model}, " + say(N_("AUROC") if metric == "auroc" else N_("accuracy"), lang)

                # the patients and the seeds may disagree: then nothing is sure
                agreed = len({one.verdict for one in pair if one.interval}) == 1
                yield from _asked(question, said, found, metric=metric, sure=agreed)
