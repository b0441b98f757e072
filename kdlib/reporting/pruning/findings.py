"""What the numbers of a pruning study say, in sentences: each derived from records, and hedged by what was measured."""

from __future__ import annotations

from kdlib.reporting import names, numbers
from kdlib.reporting.evidence import accuracy, same_images
from kdlib.reporting.i18n import N_, say
from kdlib.reporting.pruning.beside import neighbours
from kdlib.reporting.pruning.cells import capital, places
from kdlib.reporting.pruning.findings_text import FINDINGS
from kdlib.reporting.pruning.runs import RANDOM, Gap, Pruning, read
from kdlib.reporting.pruning.speed import latency
from kdlib.reporting.results import MIN_SEEDS

COLLAPSED = 0.25  # a layer that keeps no more than this share of its channels has collapsed


def findings(results, lang: str) -> list[str]:
    """Sentences on a pruning study; [] for a study that is none, or whose original has not been run."""
    study = read(results)
    if study is None or study.original.mean is None:
        return []
    model = names.label(study.study, study.spec.model, lang)
    out = [
        say(
            "The original {model}, unpruned: test accuracy {accuracy}.",
            lang,
            model=model,
            accuracy=accuracy(study.original, lang),
        )
    ]
    if len({arm.seed for arm, _ in results.select(role="finetuned")}) < MIN_SEEDS:
        out.append(say("Fewer than three seeds cannot tell an effect from the noise between seeds.", lang))
    out += [line for setting in ("report", "macs") for line in _winner(study, setting, lang)]
    out += [*_random(study, lang), *_kept(study, lang)]
    out += [line for setting in ("report", "macs") for line in _distilled(study, setting, lang)]
    for other in neighbours(study):
        if "report" not in study.settings or other.spec.ratio != study.spec.ratio:
            continue
        if other.spec.model == study.spec.model and other.spec.protect_se == study.spec.protect_se:
            out += _scopes(study, other, lang) if other.spec.scope != study.spec.scope else []
        elif other.spec.model != study.spec.model and other.spec.scope == study.spec.scope:
            out += _networks(study, other, lang)
    out += [*latency(study, lang), *_squeeze_excite(study, lang)]
    return [line for line in out if line]


def _opening(study: Pruning, setting: str, lang: str) -> str:
    """A setting at the head of a sentence."""
    return capital(study.called(study.settings[setting], lang), lang)


def _listed(study: Pruning, values: dict[str, str], lang: str) -> str:
    items = (say("{name} {value}", lang, name=study.name(key, lang), value=value) for key, value in values.items())
    return (", " if lang == "en" else "; ").join(items)


def _points(value: float, lang: str) -> str:
    return numbers.signed(100 * value, 2, lang)


def _worth(gap: Gap | None, lang: str) -> str:
    """What a difference is worth: its interval, what that was drawn over, and on which side of zero it lies."""
    if gap is None or gap.interval is None:
        return say("Whether this is more than noise is not known: the runs of the two do not pair.", lang)
    said = {"n": numbers.integer(gap.n, lang), "interval": _interval(gap, lang)}
    return say(FINDINGS[f"worth_{gap.over}"], lang, verdict=say(FINDINGS[f"{gap.over}_{gap.verdict}"], lang), **said)


def _interval(gap: Gap, lang: str) -> str:
    return "" if gap.interval is None else numbers.interval(*(100 * end for end in gap.interval), 2, lang)


def _winner(study: Pruning, setting: str, lang: str) -> list[str]:
    """Who comes first at a setting, by how much over the second and what that is worth, and who does in the report."""
    cells = {criterion: study.cell("finetuned", criterion, setting) for criterion in study.criteria(setting)}
    if not cells:
        return []
    place = places({criterion: cell.mean for criterion, cell in cells.items()}, 100)
    order = sorted(cells, key=lambda criterion: place[criterion])
    leaders = [criterion for criterion in order if place[criterion] == 1]
    said = {"setting": _opening(study, setting, lang), "scope": study.scope(lang)}
    said |= {"first": ", ".join(study.name(criterion, lang) for criterion in leaders)}
    said |= {"accuracy": accuracy(cells[order[0]], lang)}
    if len(order) == 1:
        lines = [
            say(
                "{setting}, {scope}, after plain fine-tuning: {first} reaches {accuracy}; no other criterion has runs.",
                lang,
                **said,
            )
        ]
    elif len(leaders) > 1:
        lines = [
            say(
                "{setting}, {scope}, after plain fine-tuning: {first} come first together, with {accuracy}.",
                lang,
                **said,
            )
        ]
    else:
        first, second = order[:2]
        gap = study.gap(*(study.where("finetuned", criterion, setting) for criterion in (first, second)))
        points = numbers.decimal(100 * (cells[first].mean - cells[second].mean), 2, lang)
        runner_up = {"second": study.name(second, lang), "second_accuracy": accuracy(cells[second], lang)}
        lines = [
            say(
                "{setting}, {scope}, after plain fine-tuning: {first} comes first with {accuracy}, {points} "
                "points above the second, {second}, with {second_accuracy}.",
                lang,
                points=points,
                **said,
                **runner_up,
            ),
            _worth(gap, lang),
        ]
        lines += (
            [say("First and second were read off these same numbers, which flatters the gap.", lang)]
            if gap.verdict == "up"
            else []
        )
    return [" ".join(filter(None, [*lines, _in_report(study, setting, place, cells, lang)]))]


def _in_report(study: Pruning, setting: str, place: dict[str, int], cells: dict, lang: str) -> str:
    """Whom the report has first, and where that criterion stands here."""
    given = {criterion: study.reported(criterion, "accuracy") for criterion in study.spec.criteria}
    given = {criterion: value for criterion, value in given.items() if value is not None}
    if len(given) < 2:  # one number ranks nothing
        return ""
    best = max(given, key=given.get)
    at = say(", at equal ratio,", lang) if setting == "macs" else ""
    said = {"name": study.name(best, lang), "accuracy": numbers.percent(given[best] / 100, 2, lang), "at": at}
    if best not in place:
        return say("The report{at} has {name} first ({accuracy}), which has no runs here.", lang, **said)
    if place[best] == 1:
        alone = list(place.values()).count(1) == 1
        return say(
            N_("The report{at} has {name} first as well ({accuracy}).")
            if alone
            else N_("The report{at} has {name} first ({accuracy}), which shares the first place here."),
            lang,
            **said,
        )
    ours = numbers.percent(cells[best].mean, 2, lang)
    return say(
        "The report{at} has {name} first ({accuracy}); here its place is {place} of {count}, with {ours}.",
        lang,
        place=place[best],
        count=len(place),
        ours=ours,
        **said,
    )


def _random(study: Pruning, lang: str) -> list[str]:
    """Whether each criterion does better than removing channels at random, at each setting."""
    out = []
    for setting in ("report", "macs"):
        against = study.where("finetuned", RANDOM, setting)
        criteria = [criterion for criterion in study.criteria(setting) if criterion != RANDOM]
        gaps = {c: study.gap(study.where("finetuned", c, setting), against) for c in criteria}
        gaps = {criterion: gap for criterion, gap in gaps.items() if gap}
        if not gaps:
            continue
        above = [criterion for criterion, gap in gaps.items() if numbers.rounded(100 * gap.mean, 2) > 0]
        items = {c: " ".join(filter(None, [_points(gap.mean, lang), _interval(gap, lang)])) for c, gap in gaps.items()}
        said = {"setting": _opening(study, setting, lang), "items": _listed(study, items, lang)}
        said |= {"accuracy": numbers.percent(study.results.cell(against).mean, 2, lang)}
        said |= {"intervals": _intervals(list(gaps.values()), lang), "above": len(above), "count": len(gaps)}
        line = say(
            "{setting}, against channels removed at random ({accuracy}), in points: {items} "
            "({intervals}). {above} of {count} criteria lie above random, {sure} of them with an "
            "interval above zero.",
            lang,
            sure=sum(gap.verdict == "up" for gap in gaps.values()),
            **said,
        )
        if rest := [study.name(criterion, lang) for criterion in gaps if criterion not in above]:
            line += " " + say("Not above random: {names}.", lang, names=", ".join(rest))
        out.append(line)
    return out


def _intervals(gaps: list[Gap], lang: str) -> str:
    gap = next((gap for gap in gaps if gap.over), None)
    if gap is None:
        return say("no intervals", lang)
    return say(FINDINGS[f"intervals_{gap.over}"], lang, n=numbers.integer(gap.n, lang))


def _kept(study: Pruning, lang: str) -> list[str]:
    base = study.original.mean
    items = {}
    for criterion in study.criteria("report"):
        value = numbers.percent(study.cell("finetuned", criterion, "report").mean / base, 1, lang)
        if (theirs := study.reported_kept(criterion)) is not None:
            value = say(
                "{value} (report {reported})", lang, value=value, reported=numbers.percent(theirs / 100, 1, lang)
            )
        items[criterion] = value
    if not items:
        return []
    return [
        say(
            "{setting}: share of the original's accuracy kept after fine-tuning: {items}.",
            lang,
            setting=_opening(study, "report", lang),
            items=_listed(study, items, lang),
        )
    ]


def _distilled(study: Pruning, setting: str, lang: str) -> list[str]:
    """Whether fine-tuning with the original as teacher beats plain fine-tuning."""
    found = study.mean_gap(study.pairs(("distilled", setting), ("finetuned", setting)))
    if found is None:
        return []
    gap, each = found
    above = sum(numbers.rounded(100 * one.mean, 2) > 0 for one in each.values())
    said = {"setting": _opening(study, setting, lang), "count": len(each), "above": above}
    return [
        say(
            "{setting}: fine-tuning with the original as teacher minus plain fine-tuning, mean over "
            "{count} criteria {difference} points; {above} of {count} gain.",
            lang,
            difference=_points(gap.mean, lang),
            **said,
        )
        + " "
        + _worth(gap, lang)
    ]


def _scopes(study: Pruning, other: Pruning, lang: str) -> list[str]:
    """Global against layer-wise pruning of the same network, on the same images."""
    first, second = (study, other) if study.spec.scope == "global" else (other, study)
    if not _comparable(first, second):
        return [
            say(
                "Study {study} was not tested on the same images: no difference is given.", lang, study=other.study.name
            )
        ]
    found = first.mean_gap(first.pairs(("finetuned", "report"), ("finetuned", "report"), second), second)
    if found is None:
        return []
    gap, each = found
    items = _listed(study, {criterion: _points(one.mean, lang) for criterion, one in each.items()}, lang)
    said = {"model": names.label(study.study, study.spec.model, lang), "items": items, "count": len(each)}
    said["setting"] = study.called(study.settings["report"], lang)
    lines = [
        say(
            "Global minus layer-wise, {model}, {setting}, in points: {items}; mean over {count} criteria "
            "{difference} points.",
            lang,
            difference=_points(gap.mean, lang),
            **said,
        ),
        _worth(gap, lang),
    ]
    sizes = [_mean_size(one, list(each), lang) for one in (first, second)]
    lines += (
        [
            say(
                "Averaged over them, size changes by {first} with global pruning and by {second} layer by layer.",
                lang,
                first=sizes[0],
                second=sizes[1],
            )
        ]
        if all(sizes)
        else []
    )
    reported = {
        criterion: numbers.signed(values[0] - values[1], 2, lang)
        for criterion in study.spec.criteria
        if None not in (values := [one.reported(criterion, "accuracy") for one in (first, second)])
    }
    lines += [say("The report: {items}.", lang, items=_listed(study, reported, lang))] if reported else []
    return [" ".join(lines)]


def _mean_size(study: Pruning, criteria: list[str], lang: str) -> str:
    left = [study.left("size_bytes", criterion, "report").mean for criterion in criteria]
    left = [value for value in left if value is not None]
    return numbers.percent(sum(left) / len(left) - 1, 1, lang) if left else ""


def _comparable(one: Pruning, other: Pruning) -> bool:
    firsts = [study.results.select(role="original")[0][1] for study in (one, other)]
    return same_images(*firsts)


def _networks(study: Pruning, other: Pruning, lang: str) -> list[str]:
    """Two networks pruned alike: how much of its own original's accuracy each loses."""
    if other.original.mean is None:
        return []
    pairs = study.pairs(("finetuned", "report"), ("finetuned", "report"), other)
    found = study.mean_gap(pairs, other, lost=True)
    if found is None:
        return []
    gap, each = found
    sides = [{c: one.cell("finetuned", c, "report").mean - one.original.mean for c in each} for one in (study, other)]
    lists = [_listed(study, {c: _points(value, lang) for c, value in side.items()}, lang) for side in sides]
    said = {"first": lists[0], "second": lists[1], "count": len(each), "scope": study.scope(lang)}
    said["setting"] = study.called(study.settings["report"], lang)
    called = {"first_name": study.name(study.spec.model, lang), "second_name": other.name(other.spec.model, lang)}
    said["fewer"] = sum(numbers.rounded(100 * (sides[0][c] - sides[1][c]), 2) > 0 for c in each)
    line = say(
        "Change of accuracy against each network's own original, {scope}, {setting}, in points. "
        "{first_name}: {first}. {second_name}: {second}. {fewer} of {count} criteria keep more on "
        "{first_name}; the mean difference is {difference} points.",
        lang,
        difference=_points(gap.mean, lang),
        **said,
        **called,
    )
    lines = [
        line,
        _worth(gap, lang),
        say("Each original is one training, whose own chance is not in this.", lang) if study.original.n == 1 else "",
    ]
    reported = [
        {c: numbers.signed(value, 2, lang) for c in one.spec.criteria if (value := one.reported(c, "loss")) is not None}
        for one in (study, other)
    ]
    if all(reported):
        shared = [{c: side[c] for c in side if c in reported[1 - k]} for k, side in enumerate(reported)]
        lists = [_listed(study, side, lang) for side in shared]
        lines += (
            [
                say(
                    "The report: {first_name} {first}; {second_name} {second}.",
                    lang,
                    first=lists[0],
                    second=lists[1],
                    **called,
                )
            ]
            if all(lists)
            else []
        )
    return [" ".join(filter(None, lines))]


def _squeeze_excite(study: Pruning, lang: str) -> list[str]:
    """How narrow a layer becomes with squeeze-excite bottlenecks open, and what protecting them changes."""
    if study.spec.protect_se or "report" not in study.settings:
        return []
    found = _narrowest(study, "report")
    if found is None:
        return []
    key = "collapse" if found[1][0] <= COLLAPSED * found[1][1] else "narrowest"
    lines = [
        say(FINDINGS[key], lang, setting=study.called(study.settings["report"], lang), **_layer(study, found, lang))
    ]
    if kept := _narrowest(study, "protected"):
        lines.append(
            say("Protected, the narrowest has {channels} ({name}, {layer}).", lang, **_layer(study, kept, lang))
        )
    gaps = study.mean_gap(study.pairs(("finetuned", "protected"), ("finetuned", "report")))
    if gaps:
        said = {"count": len(gaps[1]), "difference": _points(gaps[0].mean, lang)}
        lines += [
            say("Protected minus open, mean over {count} criteria: {difference} points.", lang, **said),
            _worth(gaps[0], lang),
        ]
    return [" ".join(lines)]


def _narrowest(study: Pruning, setting: str) -> tuple[str, tuple[int, int, str]] | None:
    found = {criterion: study.narrowest(criterion, setting) for criterion in study.spec.criteria}
    found = {criterion: layer for criterion, layer in found.items() if layer}
    return min(found.items(), key=lambda item: item[1][0], default=None)


def _layer(study: Pruning, found: tuple[str, tuple[int, int, str]], lang: str) -> dict[str, str]:
    criterion, (left, before, layer) = found
    return {"channels": f"{before} → {left}", "name": study.name(criterion, lang), "layer": layer}
