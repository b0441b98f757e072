"""Test accuracy over the settings: the alpha × T heat map, and lines over T with their band."""

from __future__ import annotations

import numpy as np

from kdlib.reporting import canvas, names, numbers
from kdlib.reporting.choice import best_by_validation
from kdlib.reporting.figures import each_recipe, stem, students
from kdlib.reporting.text import word

TEST = "test_accuracy"


def heatmap(results, lang: str, filters: dict):
    """Yield (stem, parts): a figure for each student and recipe whose settings make up a grid."""
    for recipe in each_recipe(results, filters):
        for model in students(results, {**filters, "recipe": recipe}):
            here = {"model": model, "recipe": recipe}
            settings = [
                w for w in results.settings(role="student", **here) if w["T"] and w["alpha"] is not None
            ]
            places = {(w["alpha"], w["T"]): w for w in settings}
            alphas, temperatures = (sorted({place[k] for place in places}) for k in (0, 1))
            size = len(alphas) * len(temperatures)
            # A few single points off a line of temperatures are no grid: most of the map would be empty.
            if len(alphas) > 1 and len(temperatures) > 1 and len(places) >= 0.6 * size:
                grid = [[places.get((alpha, T)) for T in temperatures] for alpha in alphas]
                parts = _heatmap(results, lang, here, grid, alphas, temperatures)
                yield stem(results, "heatmap", filters, **here), parts


def _heatmap(results, lang: str, here: dict, grid, alphas, temperatures) -> dict:
    alone = results.cell({"role": "baseline", **here}).mean
    accuracy = np.array([[_mean(results, where) for where in row] for row in grid])
    settings = [where for row in grid for where in row if where]
    best = best_by_validation(results, settings)
    size = (max(5.0, 2.0 + 0.82 * len(temperatures)), 1.8 + 0.62 * len(alphas))
    figure, ((ax,),) = canvas.panels(1, 1, size)
    mesh = _map(ax, accuracy, alone, lang)
    _map_axes(figure, ax, mesh, alphas, temperatures, alone, lang)
    _special_cells(ax, results, grid, accuracy)
    _frames(figure, ax, grid, accuracy, best, lang)
    model = names.label(results.study, here["model"], lang)
    title = word("heatmap_title", lang, model=model)
    if len(names.recipes(results)) > 1:
        title += f" ({names.label(results.study, here['recipe'], lang)})"
    canvas.titled(figure, title, names.provenance(results, lang))
    baseline = numbers.percent(alone, 2, lang)
    caption = word("heatmap_caption", lang, model=model, baseline=baseline)
    return {
        "figure": figure,
        "title": title,
        "alt": _heatmap_alt(results, lang, accuracy, alone, alphas, temperatures, best),
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
    options = {"cmap": "viridis"}
    if alone is not None:
        reach = max(np.nanmax(np.abs(shown), initial=0.0), 0.01)
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
    ax.set_xlabel(word("temperature_axis", lang))
    ax.set_ylabel(word("alpha_axis", lang))
    bar = figure.colorbar(mesh, ax=ax, pad=0.02, aspect=18)
    bar.outline.set_visible(False)
    canvas.ticks(bar.ax.yaxis, lang)
    label = word("test_axis", lang)
    if alone is not None:
        label = word("difference_axis", lang, accuracy=numbers.percent(alone, 2, lang))
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


def _frames(figure, ax, grid, accuracy: np.ndarray, best: dict | None, lang: str) -> None:
    from matplotlib.patches import Rectangle

    handles = []
    looks = [
        (
            "best_validation",
            [(i, j) for i, row in enumerate(grid) for j, w in enumerate(row) if w and w == best],
            "-",
            0.02,
        ),
        (
            "best_test",
            list(zip(*np.nonzero(accuracy == np.nanmax(accuracy, initial=-1.0)), strict=True)),
            "--",
            0.07,
        ),
    ]
    for key, places, dash, inset in looks:
        look = {
            "fill": False,
            "edgecolor": canvas.BLACK,
            "linewidth": 2.0 if dash == "-" else 1.3,
            "linestyle": dash,
        }
        for i, j in places:
            ax.add_patch(Rectangle((j + inset, i + inset), 1 - 2 * inset, 1 - 2 * inset, **look, zorder=3))
        if places:
            handles.append(Rectangle((0, 0), 1, 1, **look, label=word(key, lang)))
    if handles:
        figure.legend(handles=handles, loc="outside upper right", ncols=2, handlelength=1.6)


def _heatmap_alt(results, lang: str, accuracy, alone, alphas, temperatures, best: dict | None) -> str:
    values = accuracy[np.isfinite(accuracy)]
    chosen = results.cell(best).mean if best else None
    extremes = (values.min(), values.max()) if len(values) else (None, None)
    return word(
        "heatmap_alt",
        lang,
        count=len(values),
        alphas=_span(alphas, lang),
        temperatures=_span(temperatures, lang),
        low=numbers.percent(extremes[0], 2, lang),
        high=numbers.percent(extremes[1], 2, lang),
        baseline=numbers.percent(alone, 2, lang),
        above=numbers.DASH if alone is None else int((values > alone).sum()),
        best=names.setting(results, best, lang) if best else numbers.DASH,
        best_accuracy=numbers.percent(chosen, 2, lang),
    )


def _span(values, lang: str) -> str:
    return "–".join(numbers.short(v, lang) for v in dict.fromkeys((values[0], values[-1])))


def temperature(results, lang: str, filters: dict):
    """Yield (stem, parts) of one figure: a panel for each student (row) and recipe (column), a line for each weight."""
    models, recipes = students(results, filters), each_recipe(results, filters)
    models = [m for m in models if results.settings(role="student", **{**filters, "model": m})]
    if not models or not recipes:
        return
    size = (max(5.6, min(10.0, 3.6 * len(recipes))) + 1.6, 1.1 + 2.5 * len(models))
    figure, axes = canvas.panels(len(models), len(recipes), size, sharey="row", sharex=True)
    said, bands = [], set()
    for row, model in zip(axes, models, strict=True):
        for ax, recipe in zip(row, recipes, strict=True):
            here = {**filters, "model": model, "recipe": recipe}
            panel = names.label(results.study, model, lang)
            panel += f", {names.label(results.study, recipe, lang)}" if len(recipes) > 1 else ""
            ax.set_title(panel)
            bands |= _temperature_panel(ax, results, here, lang)
            said.append(_temperature_words(results, here, panel, lang))
        row[0].set_ylabel(word("test_axis", lang))
        canvas.ticks(row[0].yaxis, lang)
    _temperature_scale(axes, results, filters, lang)
    _legend(figure, axes)
    title = word("temperature_title", lang)
    bands_said = " ".join(word(f"band_{kind}", lang) + "." for kind in sorted(bands))
    footer = f"{bands_said} {names.provenance(results, lang)}".strip()
    canvas.titled(figure, title, footer)
    yield (
        stem(results, "temperature", filters),
        {
            "figure": figure,
            "title": title,
            "alt": word("temperature_alt", lang, panels="; ".join(filter(None, said))),
            "caption": f"{word('temperature_caption', lang)} {footer}",
        },
    )


def _temperature_panel(ax, results, here: dict, lang: str) -> set[str]:
    """Draw one panel; return which kinds of band it has (t interval, or the range of two seeds)."""
    bands = set()
    alone = results.cell({"role": "baseline", **here})
    if alone.mean is not None:
        ax.axhline(
            100 * alone.mean,
            color=canvas.BLACK,
            linewidth=1.4,
            linestyle=(0, (6, 2)),
            label=word("alone", lang),
        )
        if band := _band(alone):
            bands.add(band[0])
            ax.axhspan(100 * band[1], 100 * band[2], color=canvas.BLACK, alpha=0.10, linewidth=0)
    settings = results.settings(role="student", **here)
    weights = list(dict.fromkeys((w["alpha"], w["lam"]) for w in settings))
    looks = zip(canvas.colours() * 3, canvas.MARKERS * 3, canvas.DASHES * 4, strict=False)
    for (alpha, lam), (colour, marker, dash) in zip(weights, looks, strict=False):
        mine = sorted((w for w in settings if (w["alpha"], w["lam"]) == (alpha, lam)), key=lambda w: w["T"])
        cells = [(w["T"], results.cell(w)) for w in mine]
        cells = [(T, cell) for T, cell in cells if cell.mean is not None]
        label = names.setting(results, {"alpha": alpha, "lam": lam}, lang)
        x, y = [T for T, _ in cells], [100 * cell.mean for _, cell in cells]
        ax.plot(x, y, color=colour, marker=marker, linestyle=dash, label=label)
        found = [(T, band) for T, cell in cells if (band := _band(cell))]
        bands |= {band[0] for _, band in found}
        low, high = ([100 * band[k] for _, band in found] for k in (1, 2))
        if len(found) > 1:
            ax.fill_between([T for T, _ in found], low, high, color=colour, alpha=0.15, linewidth=0)
        else:  # a single temperature has no band to fill
            ax.vlines([T for T, _ in found], low, high, color=colour, linewidth=1.2)
    return bands


def _band(cell) -> tuple[str, float, float] | None:
    """(kind, low, high): a t-interval from three seeds on; two show their range, as t would span the whole panel."""
    if cell.n == 2:
        return "range", min(cell.values), max(cell.values)
    return ("t", *cell.interval) if cell.n > 2 else None


def _temperature_words(results, here: dict, panel: str, lang: str) -> str:
    means = [results.cell(where).mean for where in results.settings(role="student", **here)]
    means = [mean for mean in means if mean is not None]
    if not means:
        return ""
    alone = results.cell({"role": "baseline", **here}).mean
    low, high, baseline = (numbers.percent(v, 2, lang) for v in (min(means), max(means), alone))
    return word("temperature_panel", lang, panel=panel, low=low, high=high, baseline=baseline)


def _temperature_scale(axes, results, filters: dict, lang: str) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    found = sorted({w["T"] for w in results.settings(role="student", **filters)})
    log = found[-1] > 10 * found[0]
    place = np.log if log else float
    span = place(found[-1]) - place(found[0]) or 1.0
    labels, last = [], None
    for T in found:  # a label that would touch the one before it is left out; its tick stays
        if last is None or (place(T) - place(last)) / span > 0.045 * axes.shape[1]:
            labels.append(numbers.short(T, lang))
            last = T
        else:
            labels.append("")
    for ax in axes.flat:
        if log:
            ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(found))
        ax.xaxis.set_major_formatter(FixedFormatter(labels))
        ax.xaxis.set_minor_locator(NullLocator())
    for ax in axes[-1]:
        ax.set_xlabel(word("temperature_log_axis" if log else "temperature_axis", lang))


def _legend(figure, axes) -> None:
    """One legend beside the panels; the same label looks the same in each."""
    handles = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside right center")
