"""The alpha × T heat map: accuracy in each cell, colour by the difference to the student alone."""

from __future__ import annotations

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.evidence import compare
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.core.names import stem
from kdlib.reporting.core.reported import alone as report_alone
from kdlib.reporting.core.reported import given, key
from kdlib.reporting.core.results import best_by_validation


def heatmap(results, lang: str, filters: dict):
    """Yield (stem, parts): a figure for each student and recipe whose settings make up a grid."""
    for here in names.trained(results, filters):
        settings = [w for w in results.settings(role="student", **here) if w["T"] and w["alpha"] is not None]
        for method in dict.fromkeys(w["method"] for w in settings):
            places = {(w["alpha"], w["T"]): w for w in settings if w["method"] == method}
            alphas, temperatures = (sorted({place[k] for place in places}) for k in (0, 1))
            size = len(alphas) * len(temperatures)
            # A few single points off a line of temperatures are no grid: most of the map would be empty.
            if len(alphas) > 1 and len(temperatures) > 1 and len(places) >= 0.6 * size:
                grid = [[places.get((alpha, T)) for T in temperatures] for alpha in alphas]
                parts = _drawing(results, lang, {**here, "method": method}, grid, alphas, temperatures)
                yield stem(results, "heatmap", filters, **here) + (f"-{method}" if method else ""), parts


def _drawing(results, lang: str, here: dict, grid, alphas, temperatures) -> dict:
    base = {"role": "baseline", "model": here["model"], "recipe": here["recipe"]}
    alone = results.cell(base).mean
    accuracy = np.array([[where and results.cell(where).mean for where in row] for row in grid], dtype=float)
    settings = [where for row in grid for where in row if where]
    best = best_by_validation(results, settings)
    gaps = [[compare(results, where, results, base) for where in row] for row in grid]
    gains = np.array([[gap and gap.mean for gap in row] for row in gaps], dtype=float)
    theirs, their_alone = _reported(results, grid)
    panels = 1 if theirs is None else 2
    size = (canvas.PAGE, 1.6 + panels * (0.6 + 0.44 * len(alphas)))
    figure, axes = canvas.panels(panels, 1, size, sharex=True)
    sides = {"up": " ▲", "down": " ▼"}
    marks = [[sides.get(gap.verdict, "") if gap else "" for gap in row] for row in gaps]
    shown = [accuracy if alone is None else gains]
    shown += [] if theirs is None else [theirs - their_alone]
    finite = np.concatenate([one[np.isfinite(one)] for one in shown])
    ends = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)  # every run may have diverged
    mesh = _map(axes[0][0], 100 * shown[0], _labels(accuracy, gains, marks, lang), ends)
    if theirs is not None:
        _map(axes[1][0], 100 * shown[1], _labels(theirs, shown[1], None, lang), ends)
        axes[0][0].set_title(say("here", lang))
        axes[1][0].set_title(say("the report", lang))
    _map_axes(figure, axes[:, 0], mesh, alphas, temperatures, alone, lang)
    _special_cells(axes[0][0], results, grid, accuracy)
    handles = _frames(axes[0][0], grid, accuracy, best, lang)
    title = say("{model}: test accuracy (%)", lang, model=names.network(results, here, lang))
    title += f", {names.method(results.study, here['method'], lang)}" if results.has_methods else ""
    caption = say(
        "Test accuracy (%) of the distilled {model}, and the difference to the same network trained alone "
        "({baseline}), which the shade shows: ▲ above, ▼ below, where its 95% interval leaves zero out. Solid frame: "
        "best by validation accuracy; dashed frame: highest on test.",
        lang,
        model=names.label(results.study, here["model"], lang),
        baseline=numbers.percent(alone, 2, lang),
    )
    cells = [results.cell(where) for where in settings]
    if len({cell.n for cell in cells if cell.n}) > 1:
        fewer = N_("Where cells are of fewer seeds than others a difference is of the seeds that both have.")
        caption += f" {say(fewer, lang)}"
    return canvas.finished(results, figure, title, caption, lang, handles=handles)


def _reported(results, grid) -> tuple[np.ndarray | None, float | None]:
    """The report's accuracies at the same places, and its student alone; None where it gives none of most."""
    found = given(results.study)
    keys = ("role", "model", "recipe", "T", "alpha", "lam")
    out, base = np.full((len(grid), len(grid[0])), np.nan), None
    for i, row in enumerate(grid):
        for j, where in enumerate(row):
            for kept in (keys, [k for k in keys if k not in ("recipe", "lam")]) if where else ():
                one = found.get(key({k: where[k] for k in kept}))
                if one and (theirs := report_alone(found, one.where)):
                    out[i, j], base = one.number / one.scale, theirs.number / theirs.scale
                    break
    return (out, base) if np.isfinite(out).mean() > 0.6 else (None, None)


def _labels(accuracy: np.ndarray, gains: np.ndarray, marks: list[list[str]] | None, lang: str) -> np.ndarray:
    labels = np.full(accuracy.shape, "", dtype=object)
    for i, j in zip(*np.nonzero(np.isfinite(accuracy)), strict=True):
        labels[i, j] = numbers.decimal(100 * accuracy[i, j], 2, lang)
        if np.isfinite(gains[i, j]):
            labels[i, j] += "\n" + numbers.signed(100 * gains[i, j], 2, lang)
            labels[i, j] += marks[i][j] if marks else ""
    return labels


def _map(ax, shown: np.ndarray, labels: np.ndarray, ends: tuple[float, float]):
    """One ramp from dark to light, so that it reads the same in grey; each cell says its numbers."""
    import seaborn

    low, high = (100 * end for end in ends)
    look = {"cmap": "cividis", "cbar": False, "linewidths": 1, "linecolor": "white", "annot_kws": {"size": 7}}
    seaborn.heatmap(shown, ax=ax, annot=labels, fmt="", vmin=low, vmax=max(high, low + 0.01), **look)
    return ax.collections[0]


def _map_axes(figure, axes, mesh, alphas, temperatures, alone: float | None, lang: str) -> None:
    for ax in axes:
        ax.grid(False)
        ax.tick_params(length=0)
        ax.set_yticklabels([numbers.short(alpha, lang) for alpha in alphas], rotation=0)
        ax.set_ylabel("α")
    axes[-1].set_xticklabels([numbers.short(T, lang) for T in temperatures])
    axes[-1].set_xlabel(say("Temperature T", lang))
    bar = figure.colorbar(mesh, ax=list(axes), pad=0.02, aspect=18 * len(axes))
    bar.outline.set_visible(False)
    canvas.ticks(bar.ax.yaxis, lang)
    label = say("Test accuracy (%)", lang)
    if alone is not None:
        label = say("Difference to the student alone (percentage points)", lang)
        bar.ax.axhline(0, color="white", linewidth=1.5)
    bar.set_label(label)


def _special_cells(ax, results, grid, accuracy: np.ndarray) -> None:
    """A dagger where every seed diverged or some did, a dash where nothing has been run."""
    for i, row in enumerate(grid):
        for j, where in enumerate(row):
            cell = results.cell(where) if where else None
            if cell and cell.diverged and cell.n:
                ax.text(j + 0.93, i + 0.24, f"†{len(cell.diverged)}", ha="right", fontsize=7)
            elif not np.isfinite(accuracy[i, j]):
                mark = f"†{len(cell.diverged)}/{cell.runs}" if cell and cell.diverged else numbers.DASH
                ax.text(j + 0.5, i + 0.5, mark, ha="center", va="center", color=canvas.GREY)


def _frames(ax, grid, accuracy: np.ndarray, best: dict | None, lang: str) -> list:
    """Frame what validation chose and, dashed, what came out highest on test; return the legend's handles.

    A white rim keeps the frames visible on dark cells.
    """
    from matplotlib.patches import Rectangle

    chosen = [(i, j) for i, row in enumerate(grid) for j, where in enumerate(row) if where and where == best]
    highest = np.argwhere(accuracy == np.nanmax(accuracy)).tolist() if np.isfinite(accuracy).any() else []
    looks = (
        (N_("best by validation"), chosen, 0.03, {"linewidth": 2.0, "linestyle": "-"}),
        (N_("highest on test"), highest, 0.09, {"linewidth": 1.3, "linestyle": (0, (4, 2))}),
    )
    # Cells are wider than high: the same distance from the edge is a smaller share of the width.
    squeeze = min(1.0, 0.9 * accuracy.shape[1] / accuracy.shape[0] / 1.9)
    handles = []
    for label, places, inset, look in looks:
        look = {**look, "fill": False, "edgecolor": canvas.BLACK}
        rim = {"linewidth": look["linewidth"] + 1.8, "fill": False, "edgecolor": "white"}
        for i, j in places:
            for style in (rim, look):
                at = (j + inset * squeeze, i + inset)
                ax.add_patch(Rectangle(at, 1 - 2 * inset * squeeze, 1 - 2 * inset, **style, zorder=3))
        if places:
            handles.append(Rectangle((0, 0), 1, 1, **look, label=say(label, lang)))
    return handles
