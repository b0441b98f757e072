"""Loss and accuracy over the epochs: a row of panels for the teacher and for each student."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import say
from kdlib.reporting.core.names import SCRATCH, each_recipe, layers, stem, students
from kdlib.reporting.transfer import runs as transfer

MANY = 7  # more settings than this in one panel cannot be told apart: a panel for each alpha, colour by T
TRAIN = (0, (4, 2))
SEVERAL = 10  # more lines than this, of several methods: a panel for each method
WEIGHTS = ("method", "T", "alpha", "lam")


@dataclass
class Line:
    """One setting in a panel, all its seeds, and how it looks (no label: the colour bar names it)."""

    where: dict
    label: str
    colour: object
    marker: str | None = None
    width: float = 1.6


@dataclass
class Panel:
    """One row: its title and lines."""

    title: str
    lines: list[Line]


def curves(results, lang: str, filters: dict):
    """Yield (stem, parts) of one figure for each recipe; training dashed, validation solid.

    Transfer learning is one figure: the source task, and a row for each column with a line for each choice of layers.
    """
    title = say("Loss and accuracy over the epochs", lang)
    if found := transfer.columns(results, filters):
        rows = [*_sources(results, lang), *_transfers(results, found, lang)]
        yield stem(results, "curves", filters), _drawing(results, lang, rows, [], title)
        return
    for recipe in each_recipe(results, filters):
        rows, temperatures = _rows(results, lang, {**filters, "recipe": recipe})
        if rows:
            several = len(names.recipes(results)) > 1
            full = f"{title} ({names.label(results.study, recipe, lang)})" if several else title
            yield stem(results, "curves", filters, recipe=recipe), _drawing(results, lang, rows, temperatures, full)


def _drawing(results, lang: str, rows: list[Panel], temperatures: list[float], title: str) -> dict:
    figure, handles = _figure(results, lang, rows, temperatures)
    spread = any(results.cell(line.where, "val_accuracy").n > 1 for row in rows for line in row.lines)
    notes = say("Band: ± standard deviation over seeds", lang) if spread else ""
    caption = say("Cross-entropy with the labels and accuracy per epoch; training dashed, validation solid.", lang)
    return canvas.finished(results, figure, title, caption, lang, notes, handles)


def _single(results, where: dict, title: str, lang: str) -> Panel:
    """A row for a model that was trained once: a teacher, a source task."""
    title = f"{title}: {names.label(results.study, where['model'], lang)}"
    return Panel(title, [Line(where, "", canvas.BLACK, width=1.8)])


def _sources(results, lang: str) -> list[Panel]:
    return [_single(results, where, say("Source task", lang), lang) for where in results.settings(role="source")]


def _transfers(results, columns: list[dict], lang: str) -> list[Panel]:
    """A row for each column; a choice of open layers looks the same in every row, training from scratch is black."""
    choices = (w["variant"] for w in results.settings(role="transfer") if w["variant"] != SCRATCH)
    looks = canvas.cycle(choices, canvas.colours(), canvas.MARKERS)
    out = []
    for here in columns:
        title = say("Transfer: {model}", lang, model=names.network(results, here, lang))
        lines = []
        for where in results.settings(role="transfer", **here):
            look = looks.get(where["variant"], (canvas.BLACK, None))
            lines.append(Line(where, layers(results.study, where["variant"], lang), *look))
        out.append(Panel(title, lines))
    return out


def _rows(results, lang: str, filters: dict) -> tuple[list[Panel], list[float]]:
    """Panels in order, and the temperatures that colours stand for (empty where all lines carry labels)."""
    teachers = results.settings(role="teacher", recipe=filters["recipe"]) or results.settings(role="teacher")
    rows = _sources(results, lang) + [_single(results, w, say("Teacher", lang), lang) for w in teachers]
    models = students(results, filters)
    settings = {m: results.settings(role="student", **{**filters, "model": m}) for m in models}
    temperatures = sorted({w["T"] for found in settings.values() if _crowded(found) for w in found})
    few = [w for found in settings.values() if not _crowded(found) for w in found]
    shared, looks = _looks(results, few, lang)
    for model, found in settings.items():
        alone = results.settings(role="baseline", **{**filters, "model": model})
        alone = [Line(where, say("alone", lang), canvas.BLACK, width=1.8) for where in alone]
        title = f"{say('Student', lang)}: {names.label(results.study, model, lang)}"
        if _crowded(found):
            rows += _by_alpha(results, found, alone, title, temperatures, lang)
            continue
        title += f" ({shared})" if shared and found else ""
        for part in _parts(found):
            rows.append(Panel(title, alone + [Line(where, *looks[_weights(where)]) for where in part]))
    return [row for row in rows if row.lines], temperatures


def _crowded(found: list[dict]) -> bool:
    """Whether a student has too many settings for one panel, all of one method with a temperature to colour by."""
    return len(found) > MANY and len({w["method"] for w in found}) == 1 and all(w["T"] is not None for w in found)


def _parts(found: list[dict]) -> list[list[dict]]:
    """A student's settings by panel: all in one, or too many of several methods by method."""
    if len(found) <= SEVERAL:
        return [found]
    return [[w for w in found if w["method"] == method] for method in dict.fromkeys(w["method"] for w in found)]


def _weights(where: dict) -> tuple:
    return tuple(where[key] for key in WEIGHTS)


def _looks(results, wheres: list[dict], lang: str) -> tuple[str, dict]:
    """Weights -> (label, colour, marker), the same in every panel; and what all of them share."""
    order = list(dict.fromkeys((w["method"], w["alpha"], w["lam"]) for w in wheres))
    wheres = sorted(wheres, key=lambda w: (order.index((w["method"], w["alpha"], w["lam"])), w["T"] or 0.0))
    distinct = {_weights(where): where for where in wheres}
    shared, labels = names.compact(results, list(distinct.values()), lang)
    looks = canvas.cycle(distinct, canvas.colours(), canvas.MARKERS)
    return shared, {key: (label, *looks[key]) for key, label in zip(distinct, labels, strict=True)}


def _by_alpha(results, settings: list[dict], alone: list[Line], title: str, temperatures, lang: str) -> list[Panel]:
    colour = dict(zip(temperatures, canvas.sequence(len(temperatures)), strict=True))
    out = []
    for alpha, lam in dict.fromkeys((w["alpha"], w["lam"]) for w in settings):
        mine = sorted((w for w in settings if (w["alpha"], w["lam"]) == (alpha, lam)), key=lambda w: w["T"])
        lines = [Line(w, "", colour[w["T"]], width=1.1) for w in mine]
        said = names.setting(results, {"method": mine[0]["method"], "alpha": alpha, "lam": lam}, lang)
        out.append(Panel(f"{title}, {said}", lines + alone))
    return out


def _figure(results, lang: str, rows: list[Panel], temperatures: list[float]):
    height = 1.0 + (1.75 if len(rows) < 4 else 1.5) * len(rows)
    figure, axes = canvas.panels(len(rows), 2, (canvas.PAGE, height))
    diverged = False
    for row, (left, right) in zip(rows, axes, strict=True):
        for ax, what, scale in ((left, "loss", 1.0), (right, "accuracy", 100.0)):
            ends = [_plot(results, line, ax, what, scale, k) for k, line in enumerate(row.lines)]
            _limits(ax, max(ends))
            canvas.ticks(ax.yaxis, lang)
        diverged = diverged or any(line.get_gid() == "diverged" for line in right.lines)
        left.set_title(row.title)
        left.set_ylabel(say("Cross-entropy (nats)", lang))
        right.set_ylabel(say("Accuracy (%)", lang))
        if temperatures and (found := _labels([right], skip=say("alone", lang))):
            right.legend(*found, loc="lower right")
    for ax in axes[-1]:
        ax.set_xlabel(say("Epoch", lang))
    figure.align_ylabels(axes)
    if temperatures:
        _temperature_bar(figure, axes, temperatures, lang)
    elif found := _labels(axes[:, 1]):
        figure.legend(*found, loc="outside right center")
    return figure, _which_line(lang, alone=bool(temperatures), diverged=diverged)


def _plot(results, line: Line, ax, what: str, scale: float, k: int) -> int:
    """Draw one setting: the mean over its seeds, the band of ± sd, diverged seeds apart. Return its last epoch."""
    good, bad = [], []
    for _, record in results.select(**line.where):
        history = results.history(record)
        if "epoch" not in history:  # taken as it is, not trained here
            continue
        (bad if record.diverged else good).append(history)
    look = {"color": line.colour, "linewidth": line.width}
    length = min((len(h["epoch"]) for h in good), default=0)
    if good:
        epoch = good[0]["epoch"][:length]
        train, valid = (np.array([h[f"{part}_{what}"][:length] for h in good]) * scale for part in ("train", "val"))
        thin = {**look, "linewidth": 0.7 * line.width}
        ax.plot(epoch, train.mean(axis=0), **thin, linestyle=TRAIN, alpha=0.75)
        step = max(1, length // 5)  # markers of lines that run together take turns
        marks = {"marker": line.marker, "markevery": (k * step // 7 % length, step)} if line.marker else {}
        marks = marks or ({"marker": "o"} if length < 3 else {})
        ax.plot(epoch, valid.mean(axis=0), **look, **marks, label=line.label or None)
        if len(valid) > 1:
            middle, sd = valid.mean(axis=0), valid.std(axis=0, ddof=1)
            ax.fill_between(epoch, middle - sd, middle + sd, color=line.colour, alpha=0.18, linewidth=0)
    for history in bad:
        _plot_diverged(ax, history["epoch"], history[f"val_{what}"] * scale, look)
    return max([length, *(len(h["epoch"]) for h in bad), 1])


def _plot_diverged(ax, epoch, values, look: dict) -> None:
    """A run that diverged: dotted, a dagger where it ends, and no say in the limits of the axis."""
    (line,) = ax.plot(epoch, values, **look, linestyle=":")
    line.set_gid("diverged")
    if (finite := np.flatnonzero(np.isfinite(values))).size:
        ax.annotate("†", (epoch[finite[-1]], values[finite[-1]]), color=look["color"], annotation_clip=True)


def _limits(ax, last: int) -> None:
    """Whole epochs from 1 to `last`; heights from the runs that converged, from all when none did."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    pad = 0.02 * (last - 1) or 0.5
    ax.set_xlim(1 - pad, last + pad)
    lines = [line for line in ax.lines if line.get_gid() != "diverged"] or list(ax.lines)
    heights = [np.asarray(line.get_ydata(), dtype=float) for line in lines]
    heights += [path.vertices[:, 1] for band in ax.collections for path in band.get_paths()]
    values = np.concatenate(heights or [np.zeros(1)])
    values = values[np.isfinite(values)]
    if len(values):
        pad = 0.05 * (np.ptp(values) or 1.0)
        ax.set_ylim(values.min() - pad, values.max() + pad)


def _labels(axes, skip: str = "") -> tuple[list, list[str]] | None:
    """Handles and labels of all panels, each label once; None when there are none."""
    found = canvas.labelled(axes, skip)
    # Panels may lack some settings; the legend keeps the order of the looks, what has no marker first.
    rank = {mark: k for k, mark in enumerate(canvas.MARKERS)}
    labels = sorted(found, key=lambda label: rank.get(found[label].get_marker(), -1))
    return ([found[label] for label in labels], labels) if found else None


def _which_line(lang: str, alone: bool, diverged: bool) -> list:
    """Legend handles: what the dashes mean, and what no other legend says."""
    from matplotlib.lines import Line2D

    look = {"color": canvas.GREY}
    handles = [
        Line2D([], [], **look, linestyle=TRAIN, linewidth=1.2, label=say("training", lang)),
        Line2D([], [], **look, linewidth=1.6, label=say("validation", lang)),
    ]
    if diverged:
        handles.append(Line2D([], [], **look, linestyle=":", label=f"† {say('diverged', lang)}"))
    if alone:
        handles.append(Line2D([], [], color=canvas.BLACK, linewidth=1.8, label=say("alone", lang)))
    return handles


def _temperature_bar(figure, axes, temperatures: list[float], lang: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    n = len(temperatures)
    mappable = ScalarMappable(BoundaryNorm(np.arange(n + 1) - 0.5, n), ListedColormap(canvas.sequence(n)))
    bar = figure.colorbar(mappable, ax=axes[:, 1].tolist(), ticks=range(n), aspect=30, pad=0.02, shrink=0.6)
    bar.set_ticklabels([numbers.short(T, lang) for T in temperatures])
    bar.ax.tick_params(which="both", length=0)
    bar.outline.set_visible(False)
    bar.set_label(say("Temperature T", lang))
