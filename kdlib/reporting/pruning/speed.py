"""What the measured latencies of a pruning study say."""

from __future__ import annotations

from kdlib.reporting import numbers
from kdlib.reporting.i18n import say
from kdlib.reporting.pruning.findings_text import FINDINGS
from kdlib.reporting.pruning.runs import Pruning


def side(timed: dict, base: dict) -> str:
    """``faster`` or ``slower`` than the original where the quartiles lie apart; else ``no_gain``."""
    if timed["q3_ms"] < base["q1_ms"]:
        return "faster"
    return "slower" if timed["q1_ms"] > base["q3_ms"] else "no_gain"


def latency(study: Pruning, lang: str) -> list[str]:
    """Whether pruning saves time at each batch size, why it may not, and whether a method is slowed by leftovers."""
    base = study.models().get("original")
    networks = {setting: found for setting in ("report", "macs") if (found := study.models(setting))}
    if base is None or not networks:
        return []
    sizes = sorted(base["latency"], key=int)
    out = [_measured(study, base, setting, networks[setting], n, lang) for setting in networks for n in sizes]
    verdicts = {
        (criterion, n, setting): side(model["latency"][n], base["latency"][n])
        for setting, found in networks.items()
        for criterion, model in found.items()
        for n in sizes
    }
    if set(verdicts.values()) != {"faster"}:
        out.append(_reasons(study, base, networks, lang))
    slow = [key for key, verdict in verdicts.items() if verdict == "slower"]
    out.append(
        _slower(study, slow, lang)
        if slow
        else say(
            "No pruned network is slower than the original beyond the quartiles: no sign of anything "
            "left on them that costs time.",
            lang,
        )
    )
    return [*out, *_multiples(study, base, networks.get("report", {}), lang)]


def _ms(value: float, lang: str) -> str:
    return numbers.decimal(value, 2, lang)


def _measured(study: Pruning, base: dict, setting: str, found: dict[str, dict], n: str, lang: str) -> str:
    whole, sides = base["latency"][n], {"faster": [], "no_gain": [], "slower": []}
    for criterion, model in found.items():
        timed = model["latency"][n]
        ratio = numbers.decimal(timed["median_ms"] / whole["median_ms"], 2, lang)
        said = say("{ms} ms ({ratio} times)", lang, ms=_ms(timed["median_ms"], lang), ratio=ratio)
        sides[side(timed, whole)].append(say("{name} {value}", lang, name=study.name(criterion, lang), value=said))
    join = ", " if lang == "en" else "; "
    parts = ". ".join(say(FINDINGS[key], lang, items=join.join(items)) for key, items in sides.items() if items)
    quartiles = f"[{_ms(whole['q1_ms'], lang)}; {_ms(whole['q3_ms'], lang)}]"
    said = {"n": n, "setting": study.called(study.settings[setting], lang), "quartiles": quartiles}
    return say(
        "Latency, batch of {n}, {setting}: the original takes {original} ms {quartiles}. {parts}.",
        lang,
        original=_ms(whole["median_ms"], lang),
        parts=parts,
        **said,
    )


def _reasons(study: Pruning, base: dict, networks: dict[str, dict[str, dict]], lang: str) -> str:
    odd = [model["odd_channels"] for found in networks.values() for model in found.values()]
    low, high = (numbers.integer(end, lang) for end in (min(odd), max(odd)))
    pixels = study.measured["image_size"]
    small = (
        say(
            "images of {here} leave a layer so little arithmetic that its fixed cost weighs most; ",
            lang,
            here=f"{pixels}×{pixels}",
        )
        if pixels < study.measured["report_size"]
        else ""
    )
    base_odd = numbers.integer(base["odd_channels"], lang)
    return say(
        "Likely reasons why fewer channels do not save time in proportion, not measured apart: "
        "{size}the pruned networks have {odd} layers with an odd channel count (the original "
        "{base}), which vector units handle badly.",
        lang,
        size=small,
        odd=low if low == high else f"{low}–{high}",
        base=base_odd,
    )


def _slower(study: Pruning, slow: list[tuple[str, str, str]], lang: str) -> str:
    items = [
        say(
            "{name} (batch of {n}, {setting})",
            lang,
            name=study.name(criterion, lang),
            n=n,
            setting=study.called(study.settings[setting], lang),
        )
        for criterion, n, setting in slow
    ]
    return say(
        "Slower than the original beyond the quartiles: {items}.",
        lang,
        items=(", " if lang == "en" else "; ").join(items),
    )


def _multiples(study: Pruning, base: dict, found: dict[str, dict], lang: str) -> list[str]:
    """The networks that the report has many times slower than its original: their multiple here and there."""
    slow, _ = study.slow_in_report()
    items = []
    for criterion, theirs in slow.items():
        if criterion in found and "1" in base["latency"]:
            ours = found[criterion]["latency"]["1"]["median_ms"] / base["latency"]["1"]["median_ms"]
            said = {"value": numbers.decimal(ours, 2, lang)}
            said["reported"] = numbers.decimal(theirs / study.reported("original", "latency_ms"), 2, lang)
            value = say("{value} (report {reported})", lang, **said)
            items.append(say("{name} {value}", lang, name=study.name(criterion, lang), value=value))
    return (
        [
            say(
                "Latency as a multiple of the original's, batch of 1: {items}.",
                lang,
                items=(", " if lang == "en" else "; ").join(items),
            )
        ]
        if items
        else []
    )
