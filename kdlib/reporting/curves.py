"""Loss and accuracy over the epochs: a row of panels for the teacher and for each student."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdlib.reporting import canvas, names, numbers
from kdlib.reporting.figures import each_recipe, stem, students
from kdlib.reporting.text import word

MANY = 7  # more settings than this in one panel cannot be told apart: a panel for each alpha, colour by T
TRAIN = (0, (4, 2))


@dataclass
class Line:
    """One setting in a panel: its runs over seeds, its look, and its label (empty: the colour bar names it)."""

    where: dict
    label: str
    colour: object
    marker: str | None = None
    width: float = 1.6


@dataclass
class Panel:
    """One row: title and lines."""

    title: str
    lines: list[Line]


def curves(results, lang: str, filters: dict):
    """Yield (stem, parts) of one figure for each recipe; train dashed, validation solid."""
    for recipe in each_recipe(results, filters):
        rows, temperatures = _rows(results, lang, {**filters, "recipe": recipe})
        if not rows:
            continue
        figure = _figure(results, lang, rows, temperatures)
        title = word("curves_title", lang)
        if len(names.recipes(results)) > 1:
            title += f" ({names.label(results.study, recipe, lang)})"
        canvas.titled(figure, title, _footer(results, lang, rows))
        yield (
            stem(results, "curves", filters, recipe=recipe),
            {
                "figure": figure,
                "title": title,
                "alt": _alt(results, lang, rows),
                "caption": f"{word('curves_caption', lang)} {names.provenance(results, lang)}",
            },
        )


def _rows(results, lang: str, filters: dict) -> tuple[list[Panel], list[float]]:
    """Panels in order, and the temperatures that colours stand for (empty where lines carry labels)."""
    rows = []
    teachers = results.settings(role="teacher", recipe=filters["recipe"]) or results.settings(role="teacher")
    for where in teachers:
        model = names.label(results.study, where["model"], lang)
        line = Line(where, word("teacher", lang), canvas.BLACK, width=1.8)
        rows.append(Panel(f"{word('teacher', lang)}: {model}", [line]))
    temperatures: list[float] = []
    for model in students(results, filters):
        here = {**filters, "model": model}
        settings = results.settings(role="student", **here)
        alone = [
            Line(w, word("alone", lang), canvas.BLACK, width=1.8)
            for w in results.settings(role="baseline", **here)
        ]
        title = f"{word('student', lang)}: {names.label(results.study, model, lang)}"
        if len(settings) > MANY:
            temperatures = sorted({*temperatures, *(w["T"] for w in settings)})
            rows += _by_alpha(results, settings, alone, title, temperatures, lang)
        else:
            rows.append(_labelled(results, settings, alone, title, lang))
    return [row for row in rows if row.lines], temperatures


def _labelled(results, settings: list[dict], alone: list[Line], title: str, lang: str) -> Panel:
    shared, labels = names.compact(results, settings, lang)
    looks = zip(canvas.colours(), canvas.MARKERS, strict=False)
    lines = [Line(w, text, c, m) for w, text, (c, m) in zip(settings, labels, looks, strict=False)]
    return Panel(f"{title} ({shared})" if shared else title, alone + lines)


def _by_alpha(
    results, settings: list[dict], alone: list[Line], title: str, temperatures: list[float], lang: str
) -> list[Panel]:
    colour = dict(zip(temperatures, canvas.sequence(len(temperatures)), strict=True))
    keys = list(dict.fromkeys((w["alpha"], w["lam"]) for w in settings))
    out = []
    for alpha, lam in keys:
        mine = sorted((w for w in settings if (w["alpha"], w["lam"]) == (alpha, lam)), key=lambda w: w["T"])
        lines = [Line(w, "", colour[w["T"]], width=1.1) for w in mine]
        out.append(
            Panel(f"{title}, {names.setting(results, {'alpha': alpha, 'lam': lam}, lang)}", lines + alone)
        )
    return out


def _figure(results, lang: str, rows: list[Panel], temperatures: list[float]):
    height = 1.0 + (1.75 if len(rows) < 4 else 1.5) * len(rows)
    figure, axes = canvas.panels(len(rows), 2, (9.0, height), sharex="row")
    for row, (left, right) in zip(rows, axes, strict=True):
        for line in row.lines:
            _plot(results, line, left, "loss", 1.0)
            _plot(results, line, right, "accuracy", 100.0)
        left.set_title(row.title)
        left.set_ylabel(word("loss_axis", lang))
        right.set_ylabel(word("accuracy_axis", lang))
        for ax in (left, right):
            _limit(ax)
            canvas.ticks(ax.yaxis, lang)
        if any(line.label for line in row.lines) and len(row.lines) > 1:
            right.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), borderaxespad=0.2)
    for ax in axes[-1]:
        ax.set_xlabel(word("epoch_axis", lang))
    _which_line(figure, lang)
    if temperatures:
        _temperature_bar(figure, axes, temperatures, lang)
    return figure


def _plot(results, line: Line, ax, what: str, scale: float) -> None:
    good, bad = [], []
    for arm, record in results.select(**line.where):
        history = results.history(record)
        (bad if record.diverged else good).append((history["epoch"], history, arm.seed))
    look = {"color": line.colour, "linewidth": line.width}
    last = 1
    if good:
        length = min(len(epoch) for epoch, _, _ in good)
        epoch, last = good[0][0][:length], length
        train, valid = (
            np.array([h[f"{part}_{what}"][:length] for _, h, _ in good]) * scale for part in ("train", "val")
        )
        ax.plot(
            epoch, train.mean(axis=0), **{**look, "linewidth": 0.7 * line.width}, linestyle=TRAIN, alpha=0.75
        )
        marks = {"marker": line.marker, "markevery": max(1, length // 6)} if line.marker else {}
        marks = marks or ({"marker": "o"} if length < 3 else {})
        ax.plot(epoch, valid.mean(axis=0), **look, **marks, label=line.label or None)
        if len(valid) > 1:
            middle, sd = valid.mean(axis=0), valid.std(axis=0, ddof=1)
            ax.fill_between(epoch, middle - sd, middle + sd, color=line.colour, alpha=0.18, linewidth=0)
    for epoch, history, seed in bad:
        _plot_diverged(
            ax, epoch, history[f"val_{what}"] * scale, look, f"{line.label} †{seed}" if line.label else None
        )
        last = max(last, len(epoch))
    canvas.epochs(ax, max(last, round(ax.get_xlim()[1] / 1.02)) if ax.lines and last > 1 else last)


def _plot_diverged(ax, epoch, values, look: dict, label: str | None) -> None:
    """A run that diverged: dotted, a dagger where it ends, and no say in the limits of the axis."""
    finite = np.isfinite(values)
    (line,) = ax.plot(epoch, values, **look, linestyle=":", label=label)
    line.set_gid("diverged")
    if finite.any():
        end = np.flatnonzero(finite)[-1]
        ax.annotate("†", (epoch[end], values[end]), color=look["color"], annotation_clip=True)


def _limit(ax) -> None:
    """Limits from the runs that converged; from all when none did."""
    lines = [line for line in ax.lines if line.get_gid() != "diverged"] or list(ax.lines)
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in lines] or [np.zeros(1)])
    values = values[np.isfinite(values)]
    if len(values):
        pad = 0.05 * (np.ptp(values) or 1.0)
        ax.set_ylim(values.min() - pad, values.max() + pad)


def _which_line(figure, lang: str) -> None:
    from matplotlib.lines import Line2D

    look = {"color": canvas.GREY}
    handles = [
        Line2D([], [], **look, linestyle=TRAIN, linewidth=1.2, label=word("training", lang)),
        Line2D([], [], **look, linewidth=1.6, label=word("validation", lang)),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)


def _temperature_bar(figure, axes, temperatures: list[float], lang: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    n = len(temperatures)
    mappable = ScalarMappable(BoundaryNorm(np.arange(n + 1) - 0.5, n), ListedColormap(canvas.sequence(n)))
    bar = figure.colorbar(mappable, ax=axes[:, 1].tolist(), ticks=range(n), aspect=40, pad=0.02, shrink=0.8)
    bar.set_ticklabels([numbers.short(T, lang) for T in temperatures])
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    bar.set_label(word("temperature_axis", lang))


def _footer(results, lang: str, rows: list[Panel]) -> str:
    spread = any(len(results.select(**line.where)) > 1 for row in rows for line in row.lines)
    return (word("band_sd", lang) + ". " if spread else "") + names.provenance(results, lang)


def _alt(results, lang: str, rows: list[Panel]) -> str:
    finals = []
    for row in rows:
        ends = [results.cell(line.where, "val_accuracy").mean for line in row.lines]
        ends = [end for end in ends if end is not None]
        if ends:
            span = dict.fromkeys(numbers.percent(end, 1, lang) for end in (min(ends), max(ends)))
            finals.append(f"{row.title} {'–'.join(span)}")
    return word("curves_alt", lang, panels="; ".join(row.title for row in rows), finals="; ".join(finals))
