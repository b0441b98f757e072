"""What a study found, as data: differences with intervals, what was resampled, and which leave zero out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kdlib.reporting import compression
from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.evidence import Difference, compare, holm, ids, same_images
from kdlib.reporting.core.guessing import only_guesses
from kdlib.reporting.core.i18n import N_, Message, both, say, text, translations
from kdlib.reporting.core.names import REPORTED, SCRATCH, layers
from kdlib.reporting.core.results import Results, best_by_validation
from kdlib.reporting.core.table import Cell, Row, Table, Text, difference_cell
from kdlib.reporting.distillation import methods
from kdlib.reporting.pruning import study as pruning_runs
from kdlib.reporting.pruning.study import neighbours
from kdlib.reporting.radiology import study as radiology_runs
from kdlib.reporting.transfer import runs as transfer

MARKS = {"seeds": "●", "images": "◐", "patients": "◐"}
OPEN, UNKNOWN = "○", "–"
MARKED = N_(
    "● leaves zero out over seeds; ◐ over test images or patients alone; ○ not told apart from zero (asked at several "
    "settings, after Holm's correction; of chest X-rays, where seeds and patients disagree); – no interval."
)
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
    ``subject``: the criterion that it is about.
    """

    question: Text
    setting: Text
    found: Difference
    metric: str = "accuracy"
    sure: bool = True
    subject: str = ""

    @property
    def cell(self) -> Cell:
        """The difference with its interval: accuracy in points, AUROC as it is."""
        return difference_cell(self.found, *((1, 3) if self.metric == "auroc" else (100, 2)))

    @property
    def over(self) -> Text:
        """What was resampled, and how many."""
        over, n = self.found.over, self.found.n
        return translations(OVER[over], n=lambda lang: numbers.integer(n, lang)) if over else numbers.DASH

    def asks(self, lang: str) -> str:
        """The question, with a capital."""
        return names.capital(text(self.question, lang), lang)

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
    found = [*_compression(results), *_pruning(results), *_transfer(results), *_distillation(results)]
    out: list[Verdict] = []
    for asked in by_question(found):
        well = holm([one.found for one in asked])
        out += [replace(one, sure=one.sure and (w or one.found.p is None)) for one, w in zip(asked, well, strict=True)]
    return out


def by_question(found: Iterable[Verdict]) -> list[list[Verdict]]:
    """Verdicts of one question and metric together, each in their order, whatever network or recipe they are of."""
    groups: dict[tuple, list[Verdict]] = {}
    for one in found:
        groups.setdefault((str(one.question), one.metric), []).append(one)
    return list(groups.values())


def counted(asked: Sequence[Verdict]) -> dict[str, int]:
    """How many of one question's settings lie on which side of zero: ``count``, ``up``, ``down``."""
    sides = [one.side for one in asked]
    return {"count": len(sides), "up": sides.count("up"), "down": sides.count("down")}


def sheets(results: Results) -> list[Table]:
    """The verdicts as a table; none where there are none."""
    rows = [
        Row([one.question, one.setting], [one.cell, one.over, one.mark], str(one.question)) for one in verdicts(results)
    ]
    columns = [N_("Difference"), N_("Interval over"), N_("Verdict")]
    legend = N_("Test accuracy in points, AUROC as it is; brackets: 95% interval")
    notes, head = [MARKED, both(names.provenance, results)], [N_("Question"), N_("Setting")]
    made = Table("verdicts", N_("What was found"), head, columns, rows, legend, notes, results.study.name)
    return [made] if rows else []


def sentences(found: list[Verdict], lang: str) -> list[str]:
    """One for each question: how much, over what, and on which side of zero; of several settings the ends."""
    return [_sentence(asked, lang) for asked in by_question(found)]


def _sentence(asked: list[Verdict], lang: str) -> str:
    question = asked[0].asks(lang)
    if len(asked) == 1:
        message = N_("{question}: {found}, {side}.")
        return say(message, lang, question=question, found=_said(asked[0], lang), side=say(SIDES[asked[0].side], lang))
    low, high = (_said(choose(asked, key=lambda one: one.found.mean), lang) for choose in (min, max))
    message = N_(
        "{question}: from {low} to {high}; after Holm's correction {up} of {count} lie above zero and {down} below it."
    )
    return say(message, lang, question=question, low=low, high=high, **counted(asked))


def _said(one: Verdict, lang: str) -> str:
    over = f", {text(one.over, lang)}" if one.found.over else ""
    return f"{one.cell.ours(lang)} ({text(one.setting, lang)}{over})"


def _asked(question: Message, setting: Text, found: Difference | None, **more) -> Iterable[Verdict]:
    if found is not None:
        yield Verdict(question, setting, found, **more)


# Compression


def _compression(results: Results) -> Iterable[Verdict]:
    """The network to take against the teacher."""
    study = compression.read(results)
    if study and study.chosen:
        called = both(names.described, results, study.chosen)
        yield from _asked(N_("small network − teacher"), called, study.lost)


# Distillation


def _distillation(results: Results) -> Iterable[Verdict]:
    """Distilled students against themselves alone; where there are films of two classes by patient, and by AUROC."""
    study = radiology_runs.read(results)
    return _radiology(study) if study and study.first else _distilled(results)


def _distilled(results: Results) -> Iterable[Verdict]:
    """The setting that validation takes, or each method, against the student alone."""
    compared = methods.comparisons(results, {})
    for here in names.trained(results, {}):
        settings = results.settings(role="student", **here)
        best = best_by_validation(results, settings)
        for where in settings if here in compared else [best] if best else []:
            found = compare(results, where, results, {"role": "baseline", **here})
            yield from _asked(ALONE, both(_setting, results, where), found)


def _setting(results: Results, where: dict, lang: str) -> str:
    said = names.setting(results, where, lang)
    alone = len(names.trained(results, {})) == 1  # then the study's title names it
    return said if alone else f"{names.network(results, where, lang)}: {said}"


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
        found = compare(results, main, results, scratch)
        yield from _asked(N_("transfer − from scratch"), both(_opened, results, [main]), found)
        steps = transfer.by_parameters(results, here)
        if len(steps) > 1:
            ends = both(_opened, results, [steps[-1], steps[0]])
            found = compare(results, steps[-1], results, steps[0])
            yield from _asked(N_("most parameters trained − fewest"), ends, found)
        for other in results.beside.values():
            yield from _transfer_or_distil(results, main, other)


def _opened(results: Results, wheres: list[dict], lang: str) -> str:
    opened = " − ".join(layers(results.study, where["variant"], lang) for where in wheres)
    return f"{names.network(results, wheres[0], lang)}: {opened}"


def _transfer_or_distil(results: Results, main: dict, other: Results) -> Iterable[Verdict]:
    wheres = [where for where in other.settings(role="student") if where["recipe"] == main["recipe"]]
    for model in dict.fromkeys(where["model"] for where in wheres):
        best = best_by_validation(other, [where for where in wheres if where["model"] == model])
        if best and _comparable(transfer.first(results, main), transfer.first(other, best)):
            found = compare(results, main, other, best)
            yield from _asked(N_("transfer − distillation"), both(_against, results, main, other, best), found)


def _comparable(one, other) -> bool:
    """Same images, and as long a training: one epoch against eight would say nothing of the two ways."""
    return same_images(one, other) and one.run["config"]["recipe"] == other.run["config"]["recipe"]


def _against(results: Results, main: dict, other: Results, best: dict, lang: str) -> str:
    distilled = f"{names.label(other.study, best['model'], lang)}, {names.setting(other, best, lang)}"
    return f"{names.network(results, main, lang)} − {distilled} ({other.study.name})"


# Pruning


def _pruning(results: Results) -> Iterable[Verdict]:
    """Each criterion against random channels; distilled against plain fine-tuning; global against layer-wise; one
    network against the other; protected against open squeeze-excite."""
    study = pruning_runs.read(results)
    if study is None or study.original.mean is None:
        return
    for setting in study.main:
        floor = study.where("finetuned", pruning_runs.RANDOM, setting)
        for criterion in study.criteria(setting):
            if criterion != pruning_runs.RANDOM:
                found = study.gap(study.where("finetuned", criterion, setting), floor)
                called = both(_criterion_at, study, setting, criterion)
                yield from _asked(AGAINST_RANDOM, called, found, subject=criterion)
    for setting in study.main:
        pairs = study.pairs(("distilled", setting), ("finetuned", setting))
        yield from _mean(study, setting, N_("distilled − plain fine-tuning"), pairs)
    for other in neighbours(study):
        if not same_images(study.whole, other.whole):
            continue
        if other.spec.model != study.spec.model:
            comparable = other.spec.scope == study.spec.scope and other.spec.ratio == study.spec.ratio
            if comparable and "report" in study.settings:
                pairs = study.pairs(("finetuned", "report"), ("finetuned", "report"), other)
                question = N_("change of accuracy, this network − the other")
                yield from _mean(study, "report", question, pairs, other, lost=True)
        elif study.spec.scope == "global" != other.spec.scope:
            for setting in study.main:
                there = next((name for name in other.main if other.settings[name] == study.settings[setting]), "")
                for criterion, pair in study.pairs(("finetuned", setting), ("finetuned", there), other).items():
                    called = both(_criterion_at, study, setting, criterion)
                    yield from _asked(N_("global − layer-wise"), called, study.gap(*pair, other), subject=criterion)
    if not study.spec.protect_se:
        pairs = study.pairs(("finetuned", "protected"), ("finetuned", "report"))
        yield from _mean(study, "report", N_("squeeze-excite protected − open"), pairs)


def _criterion_at(study, setting: str, criterion: str, lang: str) -> str:
    return f"{study.called(study.settings[setting], lang)}: {study.name(criterion, lang)}"


def _mean(study, setting: str, question: Message, pairs: dict, beside=None, lost: bool = False) -> Iterable[Verdict]:
    """The mean over criteria of a difference between two settings."""
    if found := study.mean_gap(pairs, beside, lost):
        called = both(_mean_at, study, setting, beside if lost else None, len(found[1]))
        yield from _asked(question, called, found[0])


def _mean_at(study, setting: str, other, count: int, lang: str) -> str:
    called = study.called(study.settings[setting], lang)
    if other:
        called = f"{study.name(study.spec.model, lang)} − {other.name(other.spec.model, lang)}, {called}"
    return say("{setting}: mean over {count} criteria", lang, setting=called, count=count)


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
                # the patients and the seeds may disagree: then nothing is sure
                agreed = len({one.verdict for one in pair if one.interval}) == 1
                one_teacher = other == "teacher" and len(sides[1].by_seed) < len(sides[0].by_seed)
                called = both(_measured, study.results, case.model, metric, one_teacher)
                yield from _asked(question, called, found, metric=metric, sure=agreed)


def _measured(results: Results, model: str, metric: str, one_teacher: bool, lang: str) -> str:
    said = [N_("AUROC") if metric == "auroc" else N_("accuracy"), *([N_("one teacher")] if one_teacher else [])]
    return ", ".join([names.label(results.study, model, lang), *(say(message, lang) for message in said)])
