"""Test accuracy against the temperature: a line for each weight, with the band of its seeds."""

from __future__ import annotations

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.core.names import each_recipe, stem, students

WEIGHTS = ("method", "alpha", "lam")
BANDS = {"t": N_("Band: 95% t-interval over seeds"), "range": N_("Band: range of the seeds (two seeds)")}


def temperature(results, lang: str, filters: dict):
    """Yield (stem, parts) of one figure: a row of panels for each student, a column for each recipe.

    Losses without a temperature are not shown.
    """
    models, recipes = students(results, filters), each_recipe(results, filters)
    models = [m for m in models if _warm(results, {**filters, "model": m})]
    if not models or not recipes:
        return
    size = (canvas.PAGE, 1.1 + 2.5 * len(models))
    figure, axes = canvas.panels(len(models), len(recipes), size, sharey="row", sharex=True)
    temperatures = sorted({w["T"] for w in _warm(results, filters)})
    looks, bands = _looks(results, filters), set()
    for row, model in zip(axes, models, strict=True):
        for ax, recipe in zip(row, recipes, strict=True):
            here = {**filters, "model": model, "recipe": recipe}
            ax.set_title(names.network(results, here, lang))
            bands |= _panel(ax, results, here, looks, temperatures, lang)
        row[0].set_ylabel(say("Test accuracy (%)", lang))
        canvas.ticks(row[0].yaxis, lang)
    _scale(axes, temperatures, lang)
    legend = canvas.labelled(axes.flat)
    figure.legend(legend.values(), legend.keys(), loc="outside right center")
    title = say("Test accuracy against temperature", lang)
    caption = say(
        "Test accuracy of distilled students against the temperature T; black: the same network trained alone.", lang
    )
    notes = [say(BANDS[kind], lang) for kind in BANDS if kind in bands]
    if bands and any(results.cell(where).n == 1 for where in _warm(results, filters)):
        notes.append(say("Without one: one seed, beside the mean of all seeds of the student alone", lang))
    parts = canvas.finished(results, figure, title, caption, lang, ". ".join(notes))
    yield stem(results, "temperature", filters), parts


def _warm(results, filters: dict, **weights) -> list[dict]:
    """The distilled settings that have a temperature."""
    return [w for w in results.settings(role="student", **filters, **weights) if w["T"] is not None]


def _panel(ax, results, here: dict, looks: dict, temperatures: list[float], lang: str) -> set[str]:
    """Draw one panel; return which kinds of band it has (t interval, or the range of two seeds)."""
    bands = set()
    alone = results.cell({"role": "baseline", **here})
    if alone.mean is not None:
        look = {"color": canvas.BLACK, "linewidth": 1.4, "linestyle": (0, (6, 2))}
        ax.axhline(100 * alone.mean, **look, label=say("alone", lang))
        if band := _band(alone):
            bands.add(band[0])
            ax.axhspan(100 * band[1], 100 * band[2], color=canvas.BLACK, alpha=0.10, linewidth=0)
    singles = 0
    for key, (colour, marker, dash) in looks.items():
        weights = dict(zip(WEIGHTS, key, strict=True))
        found = _warm(results, here, **weights)
        cells = [(w["T"], results.cell(w)) for w in sorted(found, key=lambda w: w["T"])]
        cells = [(T, cell) for T, cell in cells if cell.mean is not None]
        if not cells:
            continue
        x = [T for T, _ in cells]
        if len(cells) == 1 and len(looks) > 1:  # single points would lie on one another and on the line
            x, singles = [_aside(x[0], temperatures, singles)], singles + 1
        label = names.setting(results, weights, lang)
        ax.plot(x, [100 * c.mean for _, c in cells], color=colour, marker=marker, linestyle=dash, label=label)
        banded = [(at, band) for at, (_, cell) in zip(x, cells, strict=True) if (band := _band(cell))]
        bands |= {band[0] for _, band in banded}
        at, low, high = [at for at, _ in banded], *([100 * band[k] for _, band in banded] for k in (1, 2))
        if len(banded) == len(cells) > 1:
            ax.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        else:  # one temperature has no band to fill, nor have some with others of one seed between
            ax.vlines(at, low, high, color=colour, linewidth=1.2)
    return bands


def _looks(results, filters: dict) -> dict:
    """(method, alpha, lam) -> colour, marker, dashes; the same in every panel."""
    weights = (tuple(w[key] for key in WEIGHTS) for w in _warm(results, filters))
    return canvas.cycle(weights, canvas.colours(), canvas.MARKERS, canvas.DASHES)


def _aside(T: float, found: list[float], k: int) -> float:
    """Where the k-th weight that was tried at one temperature only stands: beside T, right and left in turn."""
    step = 0.022 * ((k // 2 + 1) * (-1) ** k)
    if _is_log(found):
        return T * (found[-1] / found[0]) ** step
    return T + step * ((found[-1] - found[0]) or 1.0)


def _is_log(found: list[float]) -> bool:
    return found[-1] > 10 * found[0]


def _band(cell) -> tuple[str, float, float] | None:
    """(kind, low, high): a t-interval from three seeds on; two show their range, t would fill the panel."""
    if cell.n == 2:
        return "range", min(cell.values), max(cell.values)
    return ("t", *cell.interval) if cell.n > 2 else None


def _scale(axes, found: list[float], lang: str) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    log = _is_log(found)
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
        ax.set_xlabel(say(N_("Temperature T (log scale)") if log else N_("Temperature T"), lang))
