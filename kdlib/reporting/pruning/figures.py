"""Figures of pruning: accuracy against what a pruned network costs and against the pruning ratio, and the channels
that are left layer by layer.

Every maker is a generator (results, lang, filters) -> (stem, parts) that yields nothing where no run can be shown.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from kdlib.reporting.core import canvas, numbers
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.core.names import stem
from kdlib.reporting.core.results import Cell, Estimate, Results, estimate
from kdlib.reporting.pruning.study import RANDOM, PruningStudy, left, read, size

DASHED = (0, (5, 2))
DOTTED = (0, (1, 1.5))
MANY = 8  # more ratios than this get round ticks
SPREAD = N_("Error bars, where there are several seeds: ± standard deviation over seeds")
EDGE = {"markeredgecolor": "white", "markeredgewidth": 0.6}
HATCH = {"facecolor": "#e6e6e6", "edgecolor": canvas.GREY, "hatch": "/////", "linewidth": 0.0}
PROTECTED = {
    "squeeze-excite": N_("squeeze-excite ({n})"),
    "output": N_("output layer ({n})"),
    "asked": N_("kept as asked ({n})"),
    "not prunable": N_("cannot be pruned ({n})"),
}
"""Why a layer lost nothing, and how many such layers there are."""


def _study(results: Results, filters: dict) -> PruningStudy | None:
    """The pruning study; None for one of something else, or of another model than is asked for."""
    study = read(results)
    return study if study and filters.get("model") in (None, study.spec.model) else None


def look(study: PruningStudy, criterion: str) -> dict:
    """Colour, marker and dashes of a criterion, the same in every figure; random, the control, is grey."""
    looks = canvas.cycle(study.spec.criteria, canvas.colours(), canvas.MARKERS, canvas.DASHES)
    colour, marker, dashes = looks[criterion]
    return {"color": canvas.GREY if criterion == RANDOM else colour, "marker": marker, "linestyle": dashes}


def _finished(study: PruningStudy, lang: str, figure, title: str, caption: str, shown=(), handles=()) -> dict:
    """What a `Drawing` is made of; of the accuracies ``shown`` it says the spread, and how many runs they leave out."""
    title = say(title, lang, model=study.name(study.spec.model, lang), scope=study.scope(lang))
    diverged = sum(bool(record.diverged) for record in study.results.used)
    if shown and diverged:
        caption += " " + say("Runs that diverged and are left out: {runs}.", lang, runs=diverged)
    notes = say(SPREAD, lang) if any(cell.n > 1 for cell in shown) else ""
    return canvas.finished(study.results, figure, title, caption, lang, notes, handles)


# Accuracy against cost


@dataclass
class Point:
    """A setting after fine-tuning, or the original (no ``where``): what it reached, its MACs (%) and its size (MiB)."""

    where: dict | None
    accuracy: Cell
    costs: dict[str, Estimate]
    large: bool = False

    @property
    def height(self) -> float:
        """Test accuracy in percent."""
        return 100 * self.accuracy.mean


def pareto(results: Results, lang: str, filters: dict):
    """Yield (stem, parts): test accuracy against MACs and against size, a point for each fine-tuned setting."""
    if not (study := _study(results, filters)) or not (points := _points(study)):
        return
    every = [*_original(study), *points]
    figure, axes = canvas.panels(1, 2, (canvas.PAGE, 4.6), sharey=True)
    labels = {"macs": say("MACs kept (% of the original)", lang)}
    labels["size"] = say("Size of parameters and buffers (MiB)", lang)
    for ax, (cost, label) in zip(axes[0], labels.items(), strict=True):
        _costs(study, ax, every, cost)
        ax.set_xlabel(label)
        canvas.ticks(ax.xaxis, lang)
    axes[0][0].set_ylabel(say("Test accuracy (%)", lang))
    canvas.ticks(axes[0][0].yaxis, lang)
    figure.legend(handles=_pareto_handles(study, every, lang), loc="outside right center")
    caption = say(
        "Test accuracy after fine-tuning against MACs (left) and size (right); hollow: fine-tuned with the original as "
        "teacher. The thin line joins the models for which there is none at least as accurate for less.",
        lang,
    )
    title = N_("{model}, {scope} pruning: accuracy against cost")
    parts = _finished(study, lang, figure, title, caption, [point.accuracy for point in points])
    yield stem(results, "pareto", filters), parts


def front(points: list[Point], cost: str) -> list[Point]:
    """The points that no other beats in cost or accuracy and equals or beats in the other, by cost."""
    best, out = -math.inf, []
    for point in sorted(points, key=lambda point: (point.costs[cost].mean, -point.height)):
        if point.height > best:
            best = point.height
            out.append(point)
    return out


def _points(study: PruningStudy) -> list[Point]:
    out = []
    for where in study.results.settings(role=["finetuned", "distilled"]):
        cell, cuts = study.results.cell(where), study.cuts(where)
        if cell.mean is not None and cuts:
            macs = estimate(100 * share for share in left(cuts, "macs").values)
            out.append(Point(where, cell, {"macs": macs, "size": size(cuts)}, study.report.items() <= where.items()))
    return out


def _original(study: PruningStudy) -> list[Point]:
    if study.original.mean is None:
        return []
    return [Point(None, study.original, {"macs": estimate([100]), "size": estimate([study.original_size])})]


def _costs(study: PruningStudy, ax, points: list[Point], cost: str) -> None:
    for point in sorted(points, key=lambda point: point.large):  # the report's setting on top
        x = point.costs[cost]
        if point.where is None:
            ax.axhline(point.height, color=canvas.BLACK, linestyle=DASHED, linewidth=0.9, zorder=1)
            ax.plot(x.mean, point.height, color=canvas.BLACK, marker="*", markersize=12, zorder=5)
            continue
        style = look(study, point.where["criterion"])
        high, wide = 100 * (point.accuracy.sd or 0.0), x.sd
        if high or wide:
            bars = {"color": style["color"], "linestyle": "none", "linewidth": 0.8, "zorder": 2}
            ax.errorbar(x.mean, point.height, yerr=high or None, xerr=wide or None, **bars)
        spot = {**style, "linestyle": "none", "markersize": 9 if point.large else 5.5, **EDGE}
        if point.where["role"] == "distilled":
            spot |= {"markerfacecolor": "white", "markeredgecolor": style["color"], "markeredgewidth": 1.3}
        ax.plot(x.mean, point.height, **spot, zorder=5 if point.large else 4)
    line = {"color": canvas.GREY, "linewidth": 0.9, "zorder": 1.5, "gid": "front"}
    chosen = front(points, cost)
    ax.plot([point.costs[cost].mean for point in chosen], [point.height for point in chosen], **line)


def _pareto_handles(study: PruningStudy, points: list[Point], lang: str) -> list:
    from matplotlib.lines import Line2D

    bare, grey = {"linestyle": "none", **EDGE}, {"color": canvas.GREY, "marker": "o"}
    pruned = [point for point in points if point.where]
    drawn = {point.where["criterion"] for point in pruned}
    out = [
        Line2D([], [], **{**look(study, name), **bare}, markersize=8, label=study.name(name, lang))
        for name in study.spec.criteria
        if name in drawn
    ]
    if len(pruned) < len(points):
        star = {"color": canvas.BLACK, "linestyle": DASHED, "linewidth": 0.9, "marker": "*", "markersize": 11}
        out.append(Line2D([], [], **star, label=say("original", lang)))
    if any(point.large for point in pruned):
        setting = study.called(study.report, lang)
        out.append(Line2D([], [], **grey, **bare, markersize=9, label=say("large: {setting}", lang, setting=setting)))
    if not all(point.large for point in pruned):
        out.append(Line2D([], [], **grey, **bare, markersize=5.5, label=say("small: other settings", lang)))
    if any(point.where["role"] == "distilled" for point in pruned):
        hollow = {"linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 1.3, "markersize": 7}
        out.append(Line2D([], [], **grey, **hollow, label=say("hollow: distilled", lang)))
    return [*out, Line2D([], [], color=canvas.GREY, linewidth=0.9, label=say("none better for less", lang))]


# Accuracy by pruning ratio


def sweep(results: Results, lang: str, filters: dict):
    """Yield (stem, parts): accuracy against the pruning ratio, right after pruning and after fine-tuning."""
    if not (study := _study(results, filters)):
        return
    heads = {"pruned": say("Right after pruning", lang), "finetuned": say("After fine-tuning", lang)}
    panels = {heads[role]: lines for role in heads if (lines := _ratios(study, role))}
    if not any(len(line) > 1 for lines in panels.values() for line in lines.values()):
        return
    figure, axes = canvas.panels(1, len(panels), (canvas.PAGE, 4.0))
    original = study.original.mean
    chance = 1 / len(study.whole.run["dataset"]["classes"])
    labels = {"xlabel": say("Pruning ratio (% of channels)", lang), "ylabel": say("Test accuracy (%)", lang)}
    for ax, (head, lines) in zip(axes[0], panels.items(), strict=True):
        _sweep_panel(study, ax, lines, chance, lang)
        ax.set(title=head, **labels)
    drawn = dict.fromkeys(name for lines in panels.values() for name in lines)
    figure.legend(loc="outside right center", handles=_sweep_handles(study, drawn, lang))
    caption = say(
        "Test accuracy against the share of channels asked to leave, right after pruning and after "
        "fine-tuning; each panel has a scale of its own. Dashed: the original ({original}); dotted, "
        "where the scale reaches it: chance ({chance}).",
        lang,
        original=numbers.percent(original, 2, lang),
        chance=numbers.percent(chance, 2, lang),
    )
    shown = [cell for lines in panels.values() for line in lines.values() for cell in line.values()]
    title = N_("{model}, {scope} pruning: accuracy by pruning ratio")
    yield stem(results, "sweep", filters), _finished(study, lang, figure, title, caption, shown)


def _ratios(study: PruningStudy, role: str) -> dict[str, dict[float, Cell]]:
    """Criterion -> ratio -> accuracies, ratios ascending, squeeze-excite as in the report's setting."""
    out: dict[str, dict[float, Cell]] = {}
    wheres = study.results.settings(role=role, macs=None, protect_se=study.spec.protect_se)
    for where in sorted(wheres, key=lambda where: (study.spec.criteria.index(where["criterion"]), where["ratio"])):
        if (cell := study.results.cell(where)).mean is not None:
            out.setdefault(where["criterion"], {})[where["ratio"]] = cell
    return out


def _sweep_panel(study: PruningStudy, ax, lines: dict, chance: float, lang: str) -> None:
    heights = []
    for name, line in lines.items():
        x, y = [100 * ratio for ratio in line], [100 * cell.mean for cell in line.values()]
        sd = [100 * (cell.sd or 0.0) for cell in line.values()]
        style = look(study, name)
        if any(sd):
            shown = [value or float("nan") for value in sd]  # no bar where one seed has no spread
            ax.errorbar(x, y, shown, color=style["color"], linestyle="none", capsize=2.5, linewidth=1.0)
        ax.plot(x, y, **style, **EDGE, markersize=6, gid=name)
        heights += [value + sign * spread for value, spread in zip(y, sd, strict=True) for sign in (-1, 1)]
    if study.original.mean is not None:
        heights.append(100 * study.original.mean)
        ax.axhline(heights[-1], color=canvas.BLACK, linestyle=DASHED, linewidth=1.1, zorder=1)
    ax.axhline(100 * chance, color=canvas.BLACK, linestyle=DOTTED, linewidth=1.1, zorder=1)
    pad = 0.07 * ((max(heights) - min(heights)) or 1.0)
    ax.set_ylim(min(heights) - pad, max(heights) + pad)  # the chance level shows where it lies near
    ratios = sorted({100 * ratio for line in lines.values() for ratio in line})
    if len(ratios) <= MANY:
        ax.set_xticks(ratios)
    canvas.ticks(ax.xaxis, lang)
    canvas.ticks(ax.yaxis, lang)


def _sweep_handles(study: PruningStudy, drawn, lang: str) -> list:
    from matplotlib.lines import Line2D

    edge, black = {**EDGE, "markersize": 6}, {"color": canvas.BLACK, "linewidth": 1.1}
    out = [Line2D([], [], **look(study, name), **edge, label=study.name(name, lang)) for name in drawn]
    if study.original.mean is not None:
        out.append(Line2D([], [], **black, linestyle=DASHED, label=say("original", lang)))
    return [*out, Line2D([], [], **black, linestyle=DOTTED, label=say("chance", lang))]


# Channels left


def channels(results: Results, lang: str, filters: dict):
    """Yield (stem, parts): the share of its channels each layer keeps at the report's setting, a row a criterion."""
    from matplotlib.patches import Patch

    study = _study(results, filters)
    cuts = {c: found for c in study.spec.criteria if (found := study.structures(c, "report"))} if study else {}
    # Layer -> why none of its channels may leave.
    protected = {layer: why for found in cuts.values() for one in found for layer, why in one["protected"].items()}
    rows = {criterion: _left(found) for criterion, found in cuts.items()}
    if not rows or all(layer in protected for row in rows.values() for layer in row):
        return
    layers = list(next(iter(rows.values())))
    figure, axes = canvas.panels(len(rows), 1, (canvas.PAGE, 1.5 + 1.12 * len(rows)), sharex=True, sharey=True)
    for ax, (name, row) in zip(axes[:, 0], rows.items(), strict=True):
        _channel_panel(study, ax, name, row, protected, lang)
    _stages(axes[:, 0], layers)
    axes[-1][0].set_xlabel(say("Layers, in network order ({layers})", lang, layers=numbers.integer(len(layers), lang)))
    axes[len(rows) // 2][0].set_ylabel(say("Channels left (%)", lang))
    caption = say(
        "Share of its channels that each layer keeps at {setting}{seeds}; coupled layers count once, "
        "under the first. Black line: share kept over all that are not protected.{protected}",
        lang,
        setting=study.called(study.report, lang),
        seeds=say(", mean over seeds", lang) if any(len(found) > 1 for found in cuts.values()) else "",
        protected=_said_of(protected, layers, lang),
    )
    title = N_("{model}, {scope} pruning: channels left, layer by layer")
    handles = [Patch(**HATCH, label=say("protected", lang))] if set(layers) & set(protected) else []
    yield stem(results, "channels", filters), _finished(study, lang, figure, title, caption, handles=handles)


def _left(cuts: list[dict]) -> dict[str, tuple[int, float]]:
    """Layer, in network order -> its channels before and after (mean over seeds)."""
    return {
        layer: (before, float(np.mean([one["channels"][layer][1] for one in cuts])))
        for layer, (before, _) in cuts[0]["channels"].items()
    }


def _channel_panel(study: PruningStudy, ax, name: str, row: dict, protected: dict, lang: str) -> None:
    """Draw a criterion's row. Shares count the layers that may lose channels."""
    shares = np.array([100 * after / before for before, after in row.values()])
    closed = np.array([layer in protected for layer in row])
    before, after = np.array(list(row.values()))[~closed].sum(axis=0)
    ax.stairs(shares, np.arange(len(row) + 1) - 0.5, fill=True, color=look(study, name)["color"], alpha=0.85, gid=name)
    ax.bar(np.flatnonzero(closed), shares[closed], width=1.0, **HATCH)
    ax.axhline(100 * after / before, color=canvas.BLACK, linewidth=0.9)
    said = {"criterion": study.name(name, lang), "removed": numbers.percent(1 - after / before, 1, lang)}
    said["least"] = numbers.percent(shares[~closed].min() / 100, 1, lang)
    ax.set_title(say("{criterion}: {removed} of channels removed; least left in a layer {least}", lang, **said))
    ax.set(xlim=(-0.5, len(row) - 0.5), ylim=(0, 105), yticks=(0, 50, 100))
    ax.grid(visible=False, axis="x")


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


def _said_of(protected: dict, layers: list, lang: str) -> str:
    """The caption's sentences on protected layers: which kinds are drawn, which are not, and how many of each."""
    said = ""
    messages = {True: N_(" Hatched: protected, {reasons}."), False: N_(" Protected and not drawn: {reasons}.")}
    for drawn, message in messages.items():
        kinds = Counter(why for layer, why in protected.items() if (layer in layers) == drawn)
        reasons = ", ".join(say(PROTECTED[why], lang, n=kinds[why]) for why in PROTECTED if why in kinds)
        said += say(message, lang, reasons=reasons) if reasons else ""
    return said
