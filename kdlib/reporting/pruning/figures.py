"""Figures of pruning: test accuracy against what a pruned network costs, and against the pruning ratio.

Every maker is a generator (results, lang, filters) -> (stem, parts) that yields nothing where no run can be shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import say
from kdlib.reporting.core.names import stem
from kdlib.reporting.core.results import Cell
from kdlib.reporting.pruning.figure_parts import (
    DASHED,
    DOTTED,
    TUNED,
    converged,
    criteria,
    look,
    parts,
    report_setting,
    setting_name,
    share,
    spec,
    title,
)
from kdlib.reporting.pruning.figure_text import BOOK

MANY = 8  # more ratios than this get round ticks

# Accuracy against cost


@dataclass
class Point:
    """A fine-tuned setting: what it cost (MACs left in percent, MiB) and what it reached, with spreads over seeds."""

    where: dict | None  # None: the original
    name: str
    cell: Cell
    macs: tuple[float, float]
    size: tuple[float, float]

    @property
    def height(self) -> float:
        """Test accuracy in percent."""
        return 100 * self.cell.mean


def pareto(results, lang: str, filters: dict):
    """Yield (stem, parts): test accuracy against MACs and against size, a point for each fine-tuned setting."""
    if spec(results, filters) is None or not (points := _points(results, lang)):
        return
    every = ([original] if (original := _original(results, points, lang)) else []) + points
    figure, axes = canvas.panels(1, 2, (canvas.PAGE, 4.6), sharey=True)
    for ax, cost in zip(axes[0], ("macs", "size"), strict=True):
        _costs(results, ax, points, every, original, cost)
        ax.set_xlabel(say(BOOK[f"{cost}_axis"], lang))
        canvas.ticks(ax.xaxis, lang)
    axes[0][0].set_ylabel(say("Test accuracy (%)", lang))
    canvas.ticks(axes[0][0].yaxis, lang)
    figure.legend(handles=_pareto_handles(results, points, original, lang), loc="outside right center")
    report = report_setting(results)
    said = {"original": numbers.percent(original.cell.mean if original else None, 2, lang)}
    said["size"] = numbers.decimal(original.size[0] if original else None, 2, lang)
    said["setting"] = setting_name(results, report, lang)
    best = [every[i] for i in front([(point.macs[0], point.height) for point in every])]
    best = "; ".join(
        say("{name} {accuracy}", lang, name=p.name, accuracy=numbers.percent(p.cell.mean, 2, lang)) for p in best
    )
    caption = say(
        "Test accuracy after fine-tuning against MACs (left) and size (right); {count} settings and "
        "the original ({original}, {size} MiB). Large markers: {setting}; small: the study's other "
        "settings; hollow: fine-tuned with the original as teacher. The thin line joins the models "
        "for which there is none at least as accurate for less; by MACs: {front}.",
        lang,
        count=len(points),
        front=best,
        **said,
    )
    spread = (
        say("Error bars, where there are several seeds: ± standard deviation over seeds.", lang)
        if any(point.cell.n > 1 for point in points)
        else ""
    )
    head = title(results, "pareto_title", lang)
    yield stem(results, "pareto", filters), parts(results, lang, figure, head, caption, spread)


def front(points: list[tuple[float, float]]) -> list[int]:
    """Indices of (cost, worth) pairs that no other pair beats in one and equals or beats in the other, by cost."""
    best, out = -math.inf, []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            best = points[i][1]
            out.append(i)
    return out


def _points(results, lang: str) -> list[Point]:
    out = []
    for where in results.settings(role=list(TUNED)):
        cell = results.cell(where)
        pruned = [record.run["pruning"] for record in converged(results, **where) if "pruning" in record.run]
        if cell.mean is None or not pruned:
            continue
        macs = _spread([100 * p["macs"][1] / p["macs"][0] for p in pruned])
        size = _spread([p["size_bytes"][1] / 2**20 for p in pruned])
        details = [setting_name(results, where, lang)]
        details += [say("distilled", lang)] if where["role"] == "distilled" else []
        name = f"{names.label(results.study, where['criterion'], lang)} ({'; '.join(details)})"
        out.append(Point(where, name, cell, macs, size))
    return out


def _spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation, 0 for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _original(results, points: list[Point], lang: str) -> Point | None:
    cell = results.cell({"role": "original"})
    if cell.mean is None:
        return None
    before = converged(results, **points[0].where)[0].run["pruning"]["size_bytes"][0] / 2**20
    return Point(None, say("original", lang), cell, (100.0, 0.0), (before, 0.0))


def _costs(results, ax, points: list[Point], every: list[Point], original: Point | None, cost: str) -> None:
    report = report_setting(results)
    for point in sorted(points, key=lambda p: report.items() <= p.where.items()):  # the report's setting on top
        x, wide = getattr(point, cost)
        large = report.items() <= point.where.items()
        style = {key: look(results, point.where["criterion"])[key] for key in ("color", "marker")}
        hollow = point.where["role"] == "distilled"
        style |= {"markerfacecolor": "white" if hollow else style["color"], "linestyle": "none"}
        style |= {"markeredgecolor": style["color"] if hollow else "white", "markeredgewidth": 1.3 if hollow else 0.6}
        sd = 0.0 if point.cell.sd is None else 100 * point.cell.sd
        if sd or wide:
            bars = {"color": style["color"], "linestyle": "none", "linewidth": 0.8, "zorder": 2}
            ax.errorbar(x, point.height, yerr=sd or None, xerr=wide or None, **bars)
        ax.plot(x, point.height, **style, markersize=9 if large else 5.5, zorder=5 if large else 4)
    if original:
        ax.axhline(original.height, color=canvas.BLACK, linestyle=DASHED, linewidth=0.9, zorder=1)
        ax.plot(getattr(original, cost)[0], original.height, color=canvas.BLACK, marker="*", markersize=12, zorder=5)
    chosen = [every[i] for i in front([(getattr(point, cost)[0], point.height) for point in every])]
    line = {"color": canvas.GREY, "linewidth": 0.9, "zorder": 1.5, "gid": "front"}
    ax.plot([getattr(point, cost)[0] for point in chosen], [point.height for point in chosen], **line)


def _pareto_handles(results, points: list[Point], original: Point | None, lang: str) -> list:
    from matplotlib.lines import Line2D

    bare = {"linestyle": "none", "markeredgecolor": "white", "markeredgewidth": 0.6}
    out = []
    for name in criteria(results, role=list(TUNED)):
        style = {key: look(results, name)[key] for key in ("color", "marker")}
        out.append(Line2D([], [], **style, **bare, markersize=8, label=names.label(results.study, name, lang)))
    if original:
        star = {"color": canvas.BLACK, "linestyle": DASHED, "linewidth": 0.9, "marker": "*", "markersize": 11}
        out.append(Line2D([], [], **star, label=say("original", lang)))
    grey, report = {"color": canvas.GREY, "marker": "o"}, report_setting(results)
    known = {report.items() <= point.where.items() for point in points}
    if True in known:
        text = say("large: {setting}", lang, setting=setting_name(results, report, lang))
        out.append(Line2D([], [], **grey, **bare, markersize=9, label=text))
    if False in known:
        out.append(Line2D([], [], **grey, **bare, markersize=5.5, label=say("small: other settings", lang)))
    if any(point.where["role"] == "distilled" for point in points):
        hollow = {"linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 1.3, "markersize": 7}
        out.append(Line2D([], [], **grey, **hollow, label=say("hollow: distilled", lang)))
    return [*out, Line2D([], [], color=canvas.GREY, linewidth=0.9, label=say("none better for less", lang))]


# Accuracy by pruning ratio


def sweep(results, lang: str, filters: dict):
    """Yield (stem, parts): accuracy against the pruning ratio, right after pruning and after fine-tuning."""
    if spec(results, filters) is None:
        return
    panels = {role: lines for role in ("pruned", "finetuned") if (lines := _ratios(results, role))}
    if not any(len(line) > 1 for lines in panels.values() for line in lines.values()):
        return
    figure, axes = canvas.panels(1, len(panels), (canvas.PAGE, 4.0))
    original, chance = results.cell({"role": "original"}).mean, _chance(results)
    heads = {"pruned": say("Right after pruning", lang), "finetuned": say("After fine-tuning", lang)}
    for ax, (role, lines) in zip(axes[0], panels.items(), strict=True):
        _sweep_panel(results, ax, lines, original, chance, lang)
        ax.set(
            title=heads[role], xlabel=say("Pruning ratio (% of channels)", lang), ylabel=say("Test accuracy (%)", lang)
        )
    figure.legend(loc="outside right center", handles=_sweep_handles(results, panels, original, lang))
    highest = max(ratio for lines in panels.values() for line in lines.values() for ratio in line)
    said = {"original": numbers.percent(original, 2, lang), "chance": numbers.percent(chance, 2, lang)}
    ends = ". ".join(f"{heads[role]}: {_at(results, lines, highest, lang)}" for role, lines in panels.items())
    caption = say(
        "Test accuracy against the share of channels asked to leave, right after pruning and after "
        "fine-tuning; each panel has a scale of its own. Dashed: the original ({original}); dotted, "
        "where the scale reaches it: chance ({chance}). At {highest}: {ends}.",
        lang,
        highest=share(highest, lang),
        ends=ends,
        **said,
    )
    several = any(cell.n > 1 for lines in panels.values() for line in lines.values() for cell in line.values())
    head = title(results, "sweep_title", lang)
    spread = say("Error bars, where there are several seeds: ± standard deviation over seeds.", lang) if several else ""
    yield stem(results, "sweep", filters), parts(results, lang, figure, head, caption, spread)


def _ratios(results, role: str) -> dict[str, dict[float, Cell]]:
    """Criterion -> ratio -> accuracies, ratios ascending, squeeze-excite as in the report's setting."""
    protect, out = report_setting(results)["protect_se"], {}
    for where in results.settings(role=role, macs=None, protect_se=protect):
        if where["ratio"] is not None and (cell := results.cell(where)).mean is not None:
            out.setdefault(where["criterion"], {})[where["ratio"]] = cell
    return {name: dict(sorted(out[name].items())) for name in criteria(results, role=role) if name in out}


def _chance(results) -> float:
    """Accuracy of a guess: one in the number of classes."""
    counts = {len(record.run.get("dataset", {}).get("classes", ())) for record in results.used} - {0}
    return 1 / (counts.pop() if len(counts) == 1 else results.study.pruning.num_classes)


def _sweep_panel(results, ax, lines: dict, original: float | None, chance: float, lang: str) -> None:
    heights = []
    for name, line in lines.items():
        x = [100 * ratio for ratio in line]
        y = [100 * cell.mean for cell in line.values()]
        sd = [100 * (cell.sd or 0.0) for cell in line.values()]
        style = look(results, name)
        if any(sd):
            ax.errorbar(x, y, sd, color=style["color"], linestyle="none", capsize=2.5, linewidth=1.0)
        ax.plot(x, y, **style, markersize=6, markeredgecolor="white", markeredgewidth=0.6, gid=name)
        heights += [value + sign * spread for value, spread in zip(y, sd, strict=True) for sign in (-1, 1)]
    if original is not None:
        ax.axhline(100 * original, color=canvas.BLACK, linestyle=DASHED, linewidth=1.1, zorder=1)
        heights.append(100 * original)
    ax.axhline(100 * chance, color=canvas.BLACK, linestyle=DOTTED, linewidth=1.1, zorder=1)
    pad = 0.07 * ((max(heights) - min(heights)) or 1.0)
    ax.set_ylim(min(heights) - pad, max(heights) + pad)  # the chance level shows where it lies near
    ratios = sorted({100 * ratio for line in lines.values() for ratio in line})
    if len(ratios) <= MANY:
        ax.set_xticks(ratios)
    canvas.ticks(ax.xaxis, lang)
    canvas.ticks(ax.yaxis, lang)


def _sweep_handles(results, panels: dict, original: float | None, lang: str) -> list:
    from matplotlib.lines import Line2D

    edge = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
    shown = dict.fromkeys(name for lines in panels.values() for name in lines)
    out = [
        Line2D([], [], **look(results, name), **edge, label=names.label(results.study, name, lang)) for name in shown
    ]
    black = {"color": canvas.BLACK, "linewidth": 1.1}
    if original is not None:
        out.append(Line2D([], [], **black, linestyle=DASHED, label=say("original", lang)))
    return [*out, Line2D([], [], **black, linestyle=DOTTED, label=say("chance", lang))]


def _at(results, lines: dict, ratio: float, lang: str) -> str:
    """Each criterion's accuracy at one ratio."""
    said = [(names.label(results.study, name, lang), line[ratio].mean) for name, line in lines.items() if ratio in line]
    # A comma between numbers with a decimal comma would be misread.
    return (", " if lang == "en" else "; ").join(f"{name} {numbers.percent(mean, 2, lang)}" for name, mean in said)
