"""What each method adds to the student alone: a row a method, its interval over seeds, and the seeds themselves."""

from __future__ import annotations

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.core.names import stem
from kdlib.reporting.core.results import Cell
from kdlib.reporting.distillation.methods import Way, comparisons, ways


def methods(results, lang: str, filters: dict):
    """Yield (stem, parts): a figure for each student and recipe that several methods or one of a name distilled."""
    for here in comparisons(results, filters):
        alone = results.cell({"role": "baseline", **here})
        shown = [way for way in ways(results, here) if way.gap is not None]
        if shown:
            yield stem(results, "methods", filters, **here), _drawing(results, lang, here, alone, shown)


def _drawing(results, lang: str, here: dict, alone: Cell, shown: list[Way]) -> dict:
    figure, ((ax,),) = canvas.panels(1, 1, (canvas.PAGE, 1.7 + 0.42 * len(shown)))
    shared, labels = names.compact(results, [way.where for way in shown], lang)
    reach = _reach(shown, alone)
    for y, way in enumerate(shown):
        _row(ax, y, way, alone, reach)
    _axes(ax, labels, alone, lang)
    _numbers(ax, shown, lang)
    several = any(way.gap.interval for way in shown)
    model = names.label(results.study, here["model"], lang)
    title = say("{model}: what each method adds to the student alone", lang, model=model)
    if len(names.recipes(results)) > 1:
        title += f" ({names.label(results.study, here['recipe'], lang)})"
    if shared:
        title += f": {shared}"
    footer = names.provenance(results, lang)
    canvas.titled(figure, title, footer, _handles(several, lang))
    caption = say(
        N_(
            "Test accuracy of the distilled {model} minus that of the same network trained alone, paired "
            "by seed; large dots: means, lines: 95% t-intervals (an arrow where one runs on), small "
            "dots: seeds."
        )
        if several
        else N_(
            "Test accuracy of the distilled {model} minus that of the same network trained alone, for "
            "one seed: without an interval no order of the methods is to be read from it."
        ),
        lang,
        model=model,
    )
    return {"figure": figure, "title": title, "caption": f"{caption} {footer}"}


def _seeds(way: Way, alone: Cell) -> list[float]:
    """The differences in points of single seeds; where fewer than two are shared, against the mean of alone."""
    shared = sorted(set(way.cell.by_seed) & set(alone.by_seed))
    if len(shared) > 1:
        return [100 * (way.cell.by_seed[seed] - alone.by_seed[seed]) for seed in shared]
    return [100 * (value - alone.mean) for value in way.cell.values]


def _reach(shown: list[Way], alone: Cell) -> tuple[float, float]:
    """How far intervals are drawn: that of two seeds is so wide that in full it would crowd all dots together."""
    dots = [0.0, *(value for way in shown for value in _seeds(way, alone))]
    room = (max(dots) - min(dots)) or 1.0
    return min(dots) - room, max(dots) + room


def _row(ax, y: int, way: Way, alone: Cell, reach: tuple[float, float]) -> None:
    """One method: its seeds, and over them the mean with its interval."""
    colour, seeds = canvas.colours()[0], _seeds(way, alone)
    if len(seeds) > 1:
        at = y + np.linspace(-0.2, 0.2, len(seeds))
        look = {"color": "white", "edgecolor": canvas.GREY, "linewidth": 0.9}
        ax.scatter(seeds, at, s=15, zorder=6, **look)
    if way.gap.interval:
        ends = [100 * end for end in way.gap.interval]
        drawn = [max(ends[0], reach[0]), min(ends[1], reach[1])]
        ax.plot(drawn, [y, y], color=colour, linewidth=2.0, zorder=4, solid_capstyle="butt")
        for end, at, marker in zip(ends, drawn, "<>", strict=True):
            if end != at:
                ax.plot(at, y, marker=marker, color=colour, markersize=6, zorder=4)
    filled = {"color": colour} if way.gap.interval else {"color": "white", "markeredgecolor": colour}
    ax.plot(100 * way.gap.mean, y, marker="o", markersize=7, linestyle="none", zorder=5, markeredgewidth=1.4, **filled)


def _axes(ax, labels: list[str], alone: Cell, lang: str) -> None:
    ax.axvline(0, color=canvas.BLACK, linewidth=1.3, linestyle=(0, (6, 2)), zorder=2)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)  # the study's order from the top
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xlabel(
        say(
            "Difference in test accuracy to the student alone, {accuracy} (percentage points)",
            lang,
            accuracy=numbers.percent(alone.mean, 2, lang),
        )
    )
    canvas.ticks(ax.xaxis, lang)


def _numbers(ax, shown: list[Way], lang: str) -> None:
    """The numbers in a column of their own, right of the axes."""
    for y, way in enumerate(shown):
        place = {"transform": ax.get_yaxis_transform(), "va": "center", "ha": "left", "fontsize": 8}
        ax.text(1.02, y, _said(way, lang), **place)


def _said(way: Way, lang: str) -> str:
    said = numbers.signed(100 * way.gap.mean, 2, lang)
    if way.gap.interval:
        low, high = way.gap.interval
        said += f" {numbers.interval(100 * low, 100 * high, 2, lang)}"
    return said


def _handles(several: bool, lang: str) -> list:
    from matplotlib.lines import Line2D

    colour = canvas.colours()[0]
    dot = {"marker": "o", "linestyle": "none"}
    alone = Line2D([], [], color=canvas.BLACK, linewidth=1.3, linestyle=(0, (6, 2)), label=say("alone", lang))
    if not several:
        look = {"color": "white", "markeredgecolor": colour, "markersize": 7, "markeredgewidth": 1.4}
        return [Line2D([], [], **dot, **look, label=say("one seed", lang)), alone]
    small = {"color": "white", "markeredgecolor": canvas.GREY, "markersize": 4}
    return [
        Line2D(
            [], [], color=colour, marker="o", markersize=7, linewidth=2.0, label=say("95% t-interval over seeds", lang)
        ),
        Line2D([], [], **dot, **small, label=say("one seed", lang)),
        alone,
    ]
