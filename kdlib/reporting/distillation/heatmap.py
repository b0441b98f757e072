"""The alpha × T heat map: accuracy in each cell, colour by the difference to the student alone."""

from __future__ import annotations

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.choice import best_by_validation
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.core.names import each_recipe, stem, students


def heatmap(results, lang: str, filters: dict):
    """Yield (stem, parts): a figure for each student and recipe whose settings make up a grid."""
    for recipe in each_recipe(results, filters):
        for model in students(results, {**filters, "recipe": recipe}):
            here = {"model": model, "recipe": recipe}
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
    alone = results.cell({"role": "baseline", "model": here["model"], "recipe": here["recipe"]}).mean
    accuracy = np.array([[_mean(results, where) for where in row] for row in grid])
    settings = [where for row in grid for where in row if where]
    best = best_by_validation(results, settings)
    size = (max(7.0, 2.0 + 0.82 * len(temperatures)), 1.8 + max(2.2, 0.62 * len(alphas)))
    figure, ((ax,),) = canvas.panels(1, 1, size)
    mesh = _map(ax, accuracy, alone, lang)
    _map_axes(figure, ax, mesh, alphas, temperatures, alone, lang)
    _special_cells(ax, results, grid, accuracy)
    handles = _frames(ax, grid, accuracy, best, lang)
    model = names.label(results.study, here["model"], lang)
    title = say("{model}: test accuracy (%)", lang, model=model)
    title += f", {names.method(results.study, here['method'], lang)}" if results.has_methods else ""
    if len(names.recipes(results)) > 1:
        title += f" ({names.label(results.study, here['recipe'], lang)})"
    canvas.titled(figure, title, names.provenance(results, lang), handles)
    baseline = numbers.percent(alone, 2, lang)
    caption = say(
        "Test accuracy (%) of the distilled {model}; the colour is the difference to the same "
        "network trained alone ({baseline}). Solid frame: best by validation accuracy; dashed frame: "
        "highest on test.",
        lang,
        model=model,
        baseline=baseline,
    )
    return {
        "figure": figure,
        "title": title,
        "caption": f"{caption} {names.provenance(results, lang)}",
    }


def _mean(results, where: dict | None) -> float:
    mean = results.cell(where).mean if where else None
    return np.nan if mean is None else mean


def _map(ax, accuracy: np.ndarray, alone: float | None, lang: str):
    """Colours by the difference to the student alone; each cell says its accuracy and the difference."""
    import seaborn

    shown = 100 * (accuracy if alone is None else accuracy - alone)
    labels = np.full(accuracy.shape, "", dtype=object)
    for place in zip(*np.nonzero(np.isfinite(accuracy)), strict=True):
        labels[place] = numbers.decimal(100 * accuracy[place], 2, lang)
        if alone is not None:
            labels[place] += "\n" + numbers.signed(shown[place], 2, lang)
    finite = shown[np.isfinite(shown)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 100.0)  # every run may have diverged
    options = {"cmap": "viridis", "vmin": low, "vmax": max(high, low + 0.01)}
    if alone is not None:
        # A little beyond the data: the darkest ends would swallow the frames.
        reach = max(1.25 * np.max(np.abs(finite), initial=0.0), 0.01)
        options = {"cmap": "RdBu", "vmin": -reach, "vmax": reach}  # blue above the student alone, red below
    seaborn.heatmap(
        shown,
        ax=ax,
        annot=labels,
        fmt="",
        cbar=False,
        linewidths=1,
        linecolor="white",
        annot_kws={"size": 8},
        **options,
    )
    return ax.collections[0]


def _map_axes(figure, ax, mesh, alphas, temperatures, alone: float | None, lang: str) -> None:
    ax.grid(False)
    ax.tick_params(length=0)
    ax.set_xticklabels([numbers.short(T, lang) for T in temperatures])
    ax.set_yticklabels([numbers.short(alpha, lang) for alpha in alphas], rotation=0)
    ax.set_xlabel(say("Temperature T", lang))
    ax.set_ylabel(say("α (weight of the soft term)", lang))
    bar = figure.colorbar(mesh, ax=ax, pad=0.02, aspect=18)
    bar.outline.set_visible(False)
    canvas.ticks(bar.ax.yaxis, lang)
    label = say("Test accuracy (%)", lang)
    if alone is not None:
        label = say(
            "Difference to the student alone, {accuracy}\n(percentage points)",
            lang,
            accuracy=numbers.percent(alone, 2, lang),
        )
        bar.ax.axhline(0, color=canvas.BLACK, linewidth=1)
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
