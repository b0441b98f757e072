"""Figures of what pruning sees and leaves: channels layer by layer, activation coverage, agreement of criteria.

Every maker is a generator (results, lang, filters) -> (stem, parts) that yields nothing where no run can be shown.
Scores lie in the records of runs on this machine; published records have none.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import say
from kdlib.reporting.core.names import stem
from kdlib.reporting.pruning.figure_parts import criteria, look, parts, report_setting, setting_name, spec, title
from kdlib.reporting.pruning.figure_text import BOOK

BINS = 20
REASONS = ("squeeze-excite", "output", "asked", "not prunable")


# Channels left


def channels(results, lang: str, filters: dict):
    """Yield (stem, parts): the share of its channels each layer keeps at the report's setting, a row a criterion."""
    if spec(results, filters) is None or not (rows := _left(results)):
        return
    layers = list(next(iter(rows.values()))["before"])
    figure, axes = canvas.panels(len(rows), 1, (canvas.PAGE, 1.5 + 1.12 * len(rows)), sharex=True, sharey=True)
    protected = _protected(results)
    for ax, (name, row) in zip(axes[:, 0], rows.items(), strict=True):
        _channel_panel(results, ax, name, row, layers, protected, lang)
    _stages(axes[:, 0], layers)
    axes[-1][0].set_xlabel(say("Layers, in network order ({layers})", lang, layers=numbers.integer(len(layers), lang)))
    axes[len(rows) // 2][0].set_ylabel(say("Channels left (%)", lang))
    setting = setting_name(results, report_setting(results), lang)
    several = any(len(_pruned(results, name)) > 1 for name in rows)
    said = {"setting": setting, "seeds": say(", mean over seeds", lang) if several else ""}
    said["least"] = "; ".join(_least(results, name, row, protected, lang) for name, row in rows.items())
    caption = say(
        "Share of its channels that each layer keeps at {setting}{seeds}; coupled layers count once, "
        "under the first. Black line: share kept over all that are not protected.{protected} Fewest "
        "left: {least}.",
        lang,
        protected=_said_of(protected, layers, lang),
        **said,
    )
    head, handles = title(results, "channels_title", lang), _channel_handles(protected, layers, lang)
    yield (
        stem(results, "channels", filters),
        parts(results, lang, figure, head, caption, handles=handles, accuracies=False),
    )


def _pruned(results, criterion: str) -> list:
    """Records at the report's setting that say what was removed: right after pruning, else fine-tuned."""
    for role in ("pruned", "finetuned", "distilled"):
        found = {r.id: r for _, r in results.select(role=role, criterion=criterion, **report_setting(results))}
        if kept := [record for record in found.values() if (record.run.get("pruning") or {}).get("channels")]:
            return kept
    return []


def _left(results) -> dict[str, dict]:
    """Criterion -> before and after (mean over seeds) by layer in network order."""
    out = {}
    for name in criteria(results):
        runs = [record.run["pruning"]["channels"] for record in _pruned(results, name)]
        if runs:
            before = {layer: counts[0] for layer, counts in runs[0].items()}
            after = {layer: float(np.mean([run[layer][1] for run in runs if layer in run])) for layer in before}
            out[name] = {"before": before, "after": after}
    return out if any(layer not in _protected(results) for row in out.values() for layer in row["before"]) else {}


def _protected(results) -> dict[str, str]:
    """Layer -> why none of its channels may leave, at the report's setting."""
    out: dict[str, str] = {}
    for name in criteria(results):
        for record in _pruned(results, name):
            out |= record.run["pruning"].get("protected") or {}
    return out


def _channel_panel(results, ax, name: str, row: dict, layers: list, protected: dict, lang: str) -> None:
    """Draw a criterion's row. Shares count the layers that may lose channels."""
    shares = np.array([100 * row["after"][layer] / row["before"][layer] for layer in layers])
    open_ = [k for k, layer in enumerate(layers) if layer not in protected]
    kept = sum(row["after"][layers[k]] for k in open_) / max(1, sum(row["before"][layers[k]] for k in open_))
    edges = np.arange(len(layers) + 1) - 0.5
    ax.stairs(shares, edges, fill=True, color=look(results, name)["color"], alpha=0.85, gid=name)
    drawn = [k for k, layer in enumerate(layers) if layer in protected]
    ax.bar(drawn, shares[drawn], width=1.0, **_hatch())
    ax.axhline(100 * kept, color=canvas.BLACK, linewidth=0.9)
    said = {"criterion": names.label(results.study, name, lang), "removed": numbers.percent(1 - kept, 1, lang)}
    said["least"] = numbers.percent(shares[open_].min() / 100, 1, lang)
    ax.set_title(say("{criterion}: {removed} of channels removed; least left in a layer {least}", lang, **said))
    ax.set(xlim=(-0.5, len(layers) - 0.5), ylim=(0, 105), yticks=(0, 50, 100))
    ax.grid(visible=False, axis="x")


def _hatch() -> dict:
    return {"facecolor": "#e6e6e6", "edgecolor": canvas.GREY, "hatch": "/////", "linewidth": 0.0}


def _channel_handles(protected: dict, layers: list, lang: str) -> list:
    from matplotlib.patches import Patch

    drawn = any(layer in protected for layer in layers)
    return [Patch(**_hatch(), label=say("protected", lang))] if drawn else []


def stage_of(layers: list[str]) -> list[str]:
    """The part of the network each layer lies in: its name's first word, the first two where most share the first."""
    first, count = Counter(layer.split(".")[0] for layer in layers).most_common(1)[0]
    words = {layer: layer.split(".") for layer in layers}
    return [".".join(words[name][: 2 if words[name][0] == first and count > len(layers) / 2 else 1]) for name in layers]


def _stages(axes, layers: list[str]) -> None:
    """A line where a new part of the network begins; its name below, as far as there is room."""
    stages = stage_of(layers)
    begins = [k for k in range(len(stages)) if k == 0 or stages[k] != stages[k - 1]]
    spans = [(a, b) for a, b in zip(begins, [*begins[1:], len(stages)], strict=True)]
    if len(spans) > len(layers) / 2:  # every layer is a part of its own: count them instead
        return
    shown: list[tuple[float, str]] = []
    for a, b in sorted(spans, key=lambda span: span[0] - span[1]):  # wide parts first
        middle, half = (a + b - 1) / 2, 0.0045 * len(layers) * (len(stages[a]) + 2)  # about 9 pt a letter
        if all(abs(middle - at) >= half + 0.0045 * len(layers) * (len(name) + 2) for at, name in shown):
            shown.append((middle, stages[a]))
    shown.sort()
    for ax in axes:
        for a in begins[1:]:
            ax.axvline(a - 0.5, color="white", linewidth=1.6)
            ax.axvline(a - 0.5, color=canvas.GREY, linewidth=0.6, linestyle=(0, (1, 1.5)))
        ax.set_xticks([at for at, _ in shown], [name for _, name in shown])
        ax.tick_params(axis="x", length=0, pad=6)


def _least(results, name: str, row: dict, protected: dict, lang: str) -> str:
    """The layer with the smallest share left."""
    may = [layer for layer in row["before"] if layer not in protected]
    layer = min(may, key=lambda layer: row["after"][layer] / row["before"][layer])
    left = row["after"][layer]
    left = numbers.decimal(left, numbers.decimals_of([round(left, 6)], 1), lang, grouping=True)
    said = {"layer": layer, "left": left, "of": numbers.integer(row["before"][layer], lang)}
    return say(
        "{criterion}, {layer}: {left} of {of} channels", lang, criterion=names.label(results.study, name, lang), **said
    )


def _said_of(protected: dict, layers: list, lang: str) -> str:
    """The caption's sentences on protected layers: which kinds are drawn, which are not, and how many of each."""
    said = ""
    for key, drawn in (("protected_drawn", True), ("protected_absent", False)):
        kinds = Counter(reason for layer, reason in protected.items() if (layer in layers) == drawn)
        order = [*(r for r in REASONS if r in kinds), *(r for r in kinds if r not in REASONS)]
        reasons = [say(BOOK[r], lang, n=kinds[r]) if r in BOOK else f"{r} ({kinds[r]})" for r in order]
        said += say(BOOK[key], lang, reasons=", ".join(reasons)) if reasons else ""
    return said
