"""Each student alone and distilled, side by side, with the teacher as a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdlib.reporting import canvas, names, numbers
from kdlib.reporting.choice import best_by_validation
from kdlib.reporting.i18n import say
from kdlib.reporting.names import each_recipe, stem, students
from kdlib.reporting.results import Cell

MOST = 7  # more settings than this: the one that validation chose, and the mean of all


@dataclass
class Bar:
    """One bar: its label below, its height and runs, and whether it is the student alone."""

    label: str
    mean: float
    cell: Cell | None
    alone: bool = False


def bars(results, lang: str, filters: dict):
    """Yield (stem, parts) of one figure: a row of panels for each recipe, a panel for each student."""
    rows = []
    for recipe in each_recipe(results, filters):
        row = [
            (m, *_bars(results, {**filters, "model": m, "recipe": recipe}, lang)) for m in students(results, filters)
        ]
        if any(found for _, found, _ in row):
            rows.append((recipe, row))
    if not rows:
        return
    figure, handles = _figure(results, lang, rows)
    title = say("Students alone and distilled", lang)
    spread = any(bar.cell and bar.cell.n > 1 for _, row in rows for _, found, _ in row for bar in found)
    footer = (say("Error bar: ± standard deviation; dots: seeds", lang) + ". " if spread else "") + names.provenance(
        results, lang
    )
    canvas.titled(figure, title, footer, handles)
    yield (
        stem(results, "bars", filters),
        {
            "figure": figure,
            "title": title,
            "caption": say(
                "Test accuracy of each student trained alone and distilled; the numbers give accuracy, ± "
                "standard deviation, in brackets the difference to alone (percentage points). Line: the "
                "teacher.",
                lang,
            )
            + " "
            + footer,
        },
    )


def _bars(results, here: dict, lang: str) -> tuple[list[Bar], str]:
    """The bars of one student, and what all its settings share."""
    alone = results.cell({"role": "baseline", **here})
    found = [] if alone.mean is None else [Bar(say("alone", lang), alone.mean, alone, True)]
    settings = results.settings(role="student", **here)
    cells = [(where, results.cell(where)) for where in settings]
    cells = [(where, cell) for where, cell in cells if cell.mean is not None]
    if len(cells) > MOST:
        best = best_by_validation(results, settings)
        label = f"{say('best by validation', lang)}\n{_lines(names.setting(results, best, lang))}"
        overall = float(np.mean([cell.mean for _, cell in cells]))
        found.append(Bar(label, results.cell(best).mean, results.cell(best)))
        return [*found, Bar(say("mean of {n} settings", lang, n=len(cells)), overall, None)], ""
    shared, labels = names.compact(results, [where for where, _ in cells], lang)
    return found + [Bar(_lines(text), c.mean, c) for text, (_, c) in zip(labels, cells, strict=True)], shared


def _lines(setting: str) -> str:
    return setting.replace("; ", "\n").replace(", ", "\n")


def _figure(results, lang: str, rows):
    counts = [max(len(row[k][1]) for _, row in rows) for k in range(len(rows[0][1]))]
    width = min(10.0, max(5.0, 1.0 + 0.62 * (sum(counts) + len(counts))))
    figure, axes = canvas.panels(
        len(rows),
        len(counts),
        (width, 1.2 + 2.4 * len(rows)),
        sharey=True,
        gridspec_kw={"width_ratios": [max(n, 2) for n in counts]},
    )
    per_bar = (width - 1.0) / (sum(max(n, 2) for n in counts) + 0.4 * len(counts))
    for line, (recipe, row) in zip(axes, rows, strict=True):
        teacher = _teacher(results, recipe)
        for k, (ax, (model, found, shared)) in enumerate(zip(line, row, strict=True)):
            _panel(ax, found, teacher, per_bar, lang)
            title = names.label(results.study, model, lang)
            if len(rows) > 1:
                title += f", {names.label(results.study, recipe, lang)}"
            ax.set_title(f"{title}\n{shared}" if shared else title)
            if k == 0:
                ax.set_ylabel(say("Test accuracy (%)", lang))
                canvas.ticks(ax.yaxis, lang)
    return figure, next((h for ax in axes.flat if (h := ax.get_legend_handles_labels()[0])), [])


def _teacher(results, recipe: str) -> float | None:
    """The teacher of a recipe; where one teacher serves all recipes, that one."""
    for where in results.settings(role="teacher", recipe=recipe) or results.settings(role="teacher")[:1]:
        return results.cell(where).mean
    return None


def _panel(ax, found: list[Bar], teacher: float | None, per_bar: float, lang: str) -> None:
    colour, dark = canvas.colours()[0], "#5c5c5c"
    base = next((bar.mean for bar in found if bar.alone), None)
    for x, bar in enumerate(found):
        ax.bar(x, 100 * bar.mean, 0.78, color=dark if bar.alone else colour, zorder=2)
        if bar.cell and bar.cell.n > 1:
            ax.errorbar(x, 100 * bar.mean, 100 * bar.cell.sd, color=canvas.BLACK, capsize=3, linewidth=1.1, zorder=4)
            spread = np.linspace(-0.2, 0.2, bar.cell.n)
            dots = {"color": "white", "edgecolor": canvas.BLACK, "linewidth": 0.6, "zorder": 5}
            ax.scatter(x + spread, [100 * v for v in bar.cell.values], s=11, **dots)
        said = numbers.decimal(100 * bar.mean, 2, lang)
        if bar.cell and bar.cell.sd is not None:
            said += f"\n±{numbers.decimal(100 * bar.cell.sd, 2, lang)}"
        if base is not None and not bar.alone:
            said += f"\n({numbers.signed(100 * (bar.mean - base), 2, lang)})"
        _say(ax, x, 100 * bar.mean, said, min(8.0, 13.2 * per_bar), 100 * _top(bar, teacher))
    if teacher is not None:
        ax.axhline(
            100 * teacher,
            color=canvas.BLACK,
            linestyle=(0, (4, 2)),
            linewidth=1.2,
            zorder=3,
            label=say("Teacher", lang),
        )
    ax.set_xticks(range(len(found)), [bar.label for bar in found])
    ax.tick_params(axis="x", length=0, labelsize=min(8.0, 14.0 * per_bar))
    ax.grid(False, axis="x")
    ax.set_xlim(-0.6, max(len(found), 2) - 0.4)
    ax.set_ylim(0, 100)


def _say(ax, x: int, height: float, said: str, size: float, top: float) -> None:
    """Write into the foot of the bar, where no error bar, dot or teacher is in the way; above one that is too low."""
    look = {"ha": "center", "va": "bottom", "fontsize": size, "zorder": 6, "linespacing": 1.3}
    if height < 32:
        ax.text(x, top + 3, said, color=canvas.BLACK, **look)
    else:
        ax.text(x, 1.5, said, color="white", **look)


def _top(bar: Bar, teacher: float | None) -> float:
    """How high a bar's error bar and dots reach, and the teacher where it runs just above them."""
    cell = bar.cell
    top = max([bar.mean + (cell.sd or 0.0), *cell.values]) if cell else bar.mean
    return teacher if teacher is not None and top < teacher < top + 0.25 else top
