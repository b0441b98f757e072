"""The answer cards: distil? which T? which criterion? did the reports hold? Each from verdicts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.evidence import Difference, compare
from kdlib.reporting.core.i18n import N_, say, text
from kdlib.reporting.core.results import Results, by_validation
from kdlib.reporting.core.table import difference_cell
from kdlib.reporting.reproduction import VERDICTS, Reproduced, counts
from kdlib.reporting.verdicts import AGAINST_RANDOM, ALONE, Verdict, verdicts


@dataclass(frozen=True)
class Card:
    """One answer: the question, the answer in words, the evidence as (number, mark, where, runs), and when not."""

    question: str
    answer: str
    evidence: str = ""
    mark: str = ""
    where: str = ""
    runs: tuple[str, ...] = ()
    unless: str = ""


def cards(found: Sequence[Results], reports: list[Reproduced], lang: str) -> list[Card]:
    """One card for each question that the runs say something about."""
    made = [_distil(found, lang), _temperature(found, lang), _criterion(found, lang), _held(reports, lang)]
    return [card for card in made if card]


def _asked(found: Sequence[Results], question: str) -> list[tuple[Results, Verdict]]:
    return [(results, one) for results in found for one in verdicts(results) if str(one.question) == question]


def _number(found: Difference, lang: str) -> str:
    return say("{difference} points", lang, difference=difference_cell(found).ours(lang))


def _best(asked: list[tuple[Results, Verdict]]) -> tuple[Results, Verdict]:
    """The verdict with the strongest evidence: over seeds before over images, then the largest."""
    return max(asked, key=lambda pair: ("○–◐●".index(pair[1].mark) > 1, pair[1].mark == "●", pair[1].found.mean))


def _where(results: Results, one: Verdict, lang: str) -> str:
    return f"{results.study.name}: {text(one.setting, lang)}"


def _unless(asked: list[tuple[Results, Verdict]], lang: str) -> str:
    """The studies where it does harm, then those where nothing is shown, each with how many of its settings."""
    parts = []
    for message, sides in ((N_("It lost in {where}."), ("down",)), (N_("Not shown in {where}."), ("open", "unknown"))):
        by: dict[str, list[bool]] = {}
        for results, one in asked:
            by.setdefault(results.study.name, []).append(one.side in sides)
        listed = [
            say("{study} ({n} of {count})", lang, study=study, n=sum(hits), count=len(hits))
            for study, hits in by.items()
            if any(hits)
        ]
        if listed:
            parts.append(say(message, lang, where=", ".join(listed)))
    return " ".join(parts)


def _distil(found: Sequence[Results], lang: str) -> Card | None:
    every = _asked(found, ALONE)  # where it does harm, by AUROC too
    asked = [(results, one) for results, one in every if one.metric == "accuracy"]
    if not asked:
        return None
    ups = sum(one.side == "up" for _, one in asked)
    results, best = _best(asked)
    answer = N_("Usually") if 2 * ups > len(asked) else N_("Sometimes") if ups else N_("Not shown here")
    counted = say("{up} of {count} settings gain accuracy", lang, up=ups, count=len(asked))
    return Card(
        say("Distil?", lang),
        f"{say(answer, lang)}: {counted}",
        _number(best.found, lang),
        best.mark,
        _where(results, best, lang),
        best.found.runs,
        _unless(every, lang),
    )


def _temperature(found: Sequence[Results], lang: str) -> Card | None:
    """The T that validation takes for each student, and what it is ahead of the worst T of the same study."""
    taken = [one for results in found for one in _temperatures(results)]
    if not taken:
        return None
    sure = [one for one in taken if one[2].verdict == "up"]
    results, best, gap = max(sure or taken, key=lambda one: one[2].mean)
    values = sorted({where["T"] for _, where, _ in taken})
    ends = [numbers.short(value, lang) for value in (values[0], values[-1])]
    span = ends[0] if ends[0] == ends[1] else say("{low} to {high}", lang, low=ends[0], high=ends[1])
    listed = [
        f"{one.study.name}, {names.label(one.study, where['model'], lang)}: T = {numbers.short(where['T'], lang)}"
        for one, where, _ in taken
    ]
    ahead = say("{number} ahead of the worst T tried", lang, number=_number(gap, lang))
    unsure = say("Not shown in {n} of {count}.", lang, n=len(taken) - len(sure), count=len(taken))
    return Card(
        say("Which T?", lang),
        say("T = {span}, by validation", lang, span=span),
        ahead,
        Verdict("", "", gap).mark,
        f"{results.study.name}: {names.setting(results, best, lang)}",
        gap.runs,
        f"{'; '.join(listed)}. {unsure}",
    )


def _temperatures(results: Results) -> list[tuple[Results, dict, Difference]]:
    out = []
    for here in names.trained(results, {}):
        settings = [where for where in results.settings(role="student", method=None, **here) if where["T"] is not None]
        by_T: dict[float, tuple[float, dict]] = {}  # each T at its best alpha, by validation
        for where, mean in by_validation(results, settings, sound=True):
            if where["T"] not in by_T or mean > by_T[where["T"]][0]:
                by_T[where["T"]] = mean, where
        if len(by_T) > 1:
            (_, best), (_, worst) = (choose(by_T.values(), key=lambda pair: pair[0]) for choose in (max, min))
            if gap := compare(results, best, results, worst):
                out.append((results, best, gap))
    return out


def _criterion(found: Sequence[Results], lang: str) -> Card | None:
    """The criterion that is surely ahead of random channels most often; of several the one with the highest mean."""
    asked = _asked(found, AGAINST_RANDOM)
    if not asked:
        return None
    by: dict[str, list[tuple[Results, Verdict]]] = {}
    for results, one in asked:
        by.setdefault(one.subject, []).append((results, one))

    def strength(key: str) -> tuple[int, float]:
        return sum(one.side == "up" for _, one in by[key]), sum(one.found.mean for _, one in by[key]) / len(by[key])

    ranked = sorted(by, key=strength, reverse=True)
    first, ups = ranked[0], strength(ranked[0])[0]
    all_alike = all(strength(key)[0] == ups for key in ranked)
    results, best = _best([pair for key in (ranked if all_alike else [first]) for pair in by[key]])
    name = names.capital(names.label(results.study, first, lang), lang)
    if not ups:
        message = N_("None is shown to win")
    elif all_alike:
        message = N_("Any but random: each is ahead of random channels in {up} of {count} settings")
    else:
        message = N_("{name}: ahead of random channels in {up} of {count} settings")
    listed = "; ".join(f"{names.label(results.study, key, lang)} {strength(key)[0]}/{len(by[key])}" for key in ranked)
    counted = say("Ahead of random: {listed}.", lang, listed=listed)
    return Card(
        say("Which criterion?", lang),
        say(message, lang, name=name, up=ups, count=len(by[first])),
        _number(best.found, lang),
        best.mark,
        _where(results, best, lang),
        best.found.runs,
        f"{counted} {_unless(by[first], lang)} {_levels(found, lang)}".strip(),
    )


def _levels(found: Sequence[Results], lang: str) -> str:
    """What the unpruned networks have, and what is left of it."""
    parts = []
    for results in found:
        original = results.cell({"role": "original"}).mean if results.study.pruning else None
        tuned = [mean for w in results.settings(role="finetuned") if (mean := results.cell(w).mean) is not None]
        if original and tuned:
            said = {"original": original, "low": min(tuned), "high": max(tuned)}
            said = {key: numbers.percent(value, 1, lang) for key, value in said.items()}
            parts.append(
                say("{study}: unpruned {original}, then {low} to {high}", lang, study=results.study.name, **said)
            )
    return "; ".join(parts) + "." if parts else ""


def _held(reports: list[Reproduced], lang: str) -> Card | None:
    if not reports:
        return None
    found = counts(reports)
    asked = sum(found.get(key, 0) for key in ("same", "opposite", "open"))
    answer = say(
        "{same} of {asked} directions the same, {opposite} opposite",
        lang,
        same=found.get("same", 0),
        asked=asked,
        opposite=found.get("opposite", 0),
    )
    listed = "; ".join(f"{say(VERDICTS[key], lang)}: {n}" for key, n in found.items())
    by = Counter(one.study for one in reports if one.verdict == "opposite")
    against = ", ".join(f"{study} {n}" for study, n in by.items())
    where = say("Opposite in {where}.", lang, where=against) if by else ""
    counts_said = say("Of {count} reported numbers: {listed}.", lang, count=len(reports), listed=listed)
    counted = found.get("equal", 0) + found.get("unequal", 0)
    digits = say("{equal} of {counted} counts to the digit", lang, equal=found.get("equal", 0), counted=counted)
    return Card(
        say("Did the reports hold?", lang),
        answer,
        digits if counted else "",
        unless=f"{where} {counts_said}".strip(),
    )
