"""Test accuracy against trainable parameters: a point for each choice of open layers."""

from __future__ import annotations

from dataclasses import dataclass

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import say
from kdlib.reporting.core.names import SCRATCH, layers, stem
from kdlib.reporting.core.results import Cell
from kdlib.reporting.core.table import accuracy_cell
from kdlib.reporting.transfer.runs import by_parameters, columns, trainable


@dataclass
class Point:
    """One choice of open layers: where it stands, what it is called, and how it looks."""

    name: str
    trainable: int
    frozen: float
    cell: Cell
    colour: object
    marker: str
    from_scratch: bool = False

    @property
    def height(self) -> float:
        """Test accuracy in percent."""
        return 100 * self.cell.mean

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds in points; None below two."""
        return None if self.cell.sd is None else 100 * self.cell.sd

    def said(self, lang: str) -> str:
        """Which layers are open, and the accuracy with the spread of its seeds."""
        return f"{self.name}: {accuracy_cell(self.cell).ours(lang)}"

    def parameters(self, lang: str) -> str:
        """How many parameters were trained, and which share was not."""
        shown = {"trainable": numbers.integer(self.trainable, lang), "frozen": numbers.percent(self.frozen, 1, lang)}
        return say("{trainable} trainable, {frozen} frozen", lang, **shown)


def transfer(results, lang: str, filters: dict):
    """Yield (stem, parts) of one figure: a panel for each column that has several choices of open layers."""
    panels = [(here, _points(results, here, lang)) for here in columns(results, filters)]
    panels = [(here, points) for here, points in panels if len(points) > 1]
    if not panels:
        return
    size = (canvas.PAGE, 1.3 + 2.7 * len(panels))
    figure, axes = canvas.panels(len(panels), 1, size, sharex="col")
    title = say("Test accuracy against trainable parameters", lang)
    for ax, (here, points) in zip(axes[:, 0], panels, strict=True):
        ax.set_title(", ".join(names.label(results.study, here[key], lang) for key in ("model", "recipe")))
        _panel(ax, points, lang)
    _scale(axes[:, 0], [point for _, points in panels for point in points], lang)
    spread = any(point.cell.n > 1 for _, points in panels for point in points)
    notes = say("Error bar: ± standard deviation over seeds", lang) if spread else ""
    caption = say(
        "Test accuracy of the model that starts from source weights, against how many of its parameters were trained; "
        "each point names the layers that are open and the share of parameters that stays frozen. Cross and dashed "
        "line: the same network trained from scratch.",
        lang,
    )
    yield stem(results, "transfer", filters), canvas.finished(results, figure, title, caption, lang, notes)


def _points(results, here: dict, lang: str) -> list[Point]:
    """A column's points by trained parameters, training from scratch last; a choice looks the same in each panel."""
    opened = (w["variant"] for w in results.settings(role="transfer") if w["variant"] != SCRATCH)
    looks = canvas.cycle(opened, canvas.colours(), [mark for mark in canvas.MARKERS if mark != "X"])
    wheres = by_parameters(results, here)
    scratch = {**here, "role": "transfer", "variant": SCRATCH}
    if results.cell(scratch).mean is not None:
        wheres.append(scratch)
    out = []
    for where in wheres:
        trained, whole = trainable(results, where)
        name, look = layers(results.study, where["variant"], lang), looks.get(where["variant"], (canvas.BLACK, "X"))
        out.append(Point(name, trained, 1 - trained / whole, results.cell(where), *look, where["variant"] == SCRATCH))
    return out


def _panel(ax, points: list[Point], lang: str) -> None:
    started = [point for point in points if not point.from_scratch]
    ax.plot([p.trainable for p in started], [p.height for p in started], color=canvas.GREY, linewidth=0.9, zorder=1)
    for point in points:
        look = {"color": point.colour, "zorder": 4}
        if point.from_scratch:
            ax.axhline(point.height, color=canvas.BLACK, linestyle=(0, (5, 2)), linewidth=1.0, zorder=1)
        if point.sd is not None:
            ax.errorbar(point.trainable, point.height, point.sd, **look, capsize=3, linewidth=1.1)
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.8}
        named = f"{point.said(lang)}\n{point.parameters(lang)}"
        look |= {**edge, "marker": point.marker, "linestyle": "none", "markersize": 8}
        ax.plot(point.trainable, point.height, **look, label=named)
    ends = [point.height + sign * (point.sd or 0.0) for point in points for sign in (-1, 1)]
    reach = (max(ends) - min(ends)) or 1.0
    ax.set_ylim(min(ends) - 0.12 * reach, max(ends) + 0.12 * reach)
    ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    ax.set_ylabel(say("Test accuracy (%)", lang))
    canvas.ticks(ax.yaxis, lang)


def _scale(axes, points: list[Point], lang: str) -> None:
    """A log axis in millions; ticks also at 2 and 5 where less than two decades are shown."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = (f(point.trainable for point in points) for f in (min, max))
    subs = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)
    for ax in axes:
        ax.set_xscale("log")
        margin = 1.05 * (high / low) ** 0.06
        ax.set_xlim(low / margin, high * margin)
        ax.xaxis.set_major_locator(LogLocator(subs=subs))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.short(value / 1e6, lang, most=6)))
    axes[-1].set_xlabel(say("Trainable parameters (millions, log scale)", lang))
