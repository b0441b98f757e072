"""Figures of pruning: accuracy against cost, by pruning ratio, and while fine-tuning brings it back.

Every maker is a generator (results, lang, filters) -> (stem, parts) that yields nothing where no run can be shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdlib.reporting import canvas, names, numbers
from kdlib.reporting.figures import stem
from kdlib.reporting.pruning_figure_text import BOOK
from kdlib.reporting.results import Cell
from kdlib.reporting.text import pick, word

TUNED = ("finetuned", "distilled")
DASHED = (0, (5, 2))
FAINT = "#c4c4c4"


def spec(results, filters: dict):
    """What the study says of pruning; None for a study of something else, or of another model than is asked for."""
    found = getattr(results.study, "pruning", None)
    return None if found is None or filters.get("model") not in (None, found.model) else found


def criteria(results, **where) -> list[str]:
    """Criteria that have runs, in the study's order."""
    have = dict.fromkeys(arm.criterion for arm, _ in results.select(**where) if arm.criterion)
    order = [name for name in results.study.pruning.criteria if name in have]
    return order + [name for name in have if name not in order]


def report_setting(results) -> dict:
    """The part of a `where` that picks the report's setting."""
    said = results.study.pruning
    return {"ratio": said.ratio, "macs": None, "protect_se": said.protect_se}


def setting_name(results, where: dict, lang: str) -> str:
    """A setting in words: ratio or share of MACs, and that squeeze-excite is protected where the report leaves it."""
    if where["ratio"] is None:
        said = [pick(BOOK, "matched", lang, macs=_share(where["macs"], lang))]
    else:
        said = [pick(BOOK, "ratio", lang, ratio=_share(where["ratio"], lang))]
    if where["protect_se"] and not results.study.pruning.protect_se:
        said.append(pick(BOOK, "protected", lang))
    return "; ".join(said)


def look(results, criterion: str) -> dict:
    """Colour, marker and dashes of a criterion, the same in every figure; random, the control, is grey."""
    order = list(results.study.pruning.criteria)
    k = order.index(criterion) if criterion in order else len(order)
    colour = canvas.GREY if criterion == "random" else canvas.colours()[k % len(canvas.colours())]
    marker = canvas.MARKERS[k % len(canvas.MARKERS)]
    return {"color": colour, "marker": marker, "linestyle": canvas.DASHES[k % len(canvas.DASHES)]}


def converged(results, **where) -> list:
    """The records that match and did not diverge, each once."""
    return list({record.id: record for _, record in results.select(**where) if not record.diverged}.values())


def title(results, key: str, lang: str) -> str:
    """The figure's title: which model, pruned globally or layer by layer."""
    said = results.study.pruning
    scope = pick(BOOK, said.scope, lang) if said.scope in BOOK else said.scope
    return pick(BOOK, key, lang, model=names.label(results.study, said.model, lang), scope=scope)


def parts(results, lang: str, figure, head: str, alt: str, caption: str, spread: str = "", handles=()) -> dict:
    """Close a figure: title, footer with its `spread` sentence, alt text, caption and what diverged."""
    footer = f"{spread} {names.provenance(results, lang)}".strip()
    canvas.titled(figure, head, footer, handles)
    if runs := sum(bool(record.diverged) for record in results.used):
        caption += " " + pick(BOOK, "left_out", lang, runs=runs)
    return {"figure": figure, "title": head, "alt": alt, "caption": f"{caption} {footer}"}


def _share(fraction: float, lang: str) -> str:
    """A fraction as a percentage with one decimal where it needs one."""
    return numbers.percent(fraction, 0 if math.isclose(100 * fraction % 1, 0, abs_tol=1e-6) else 1, lang)


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
    figure, axes = canvas.panels(1, 2, (10.0, 4.7), sharey=True)
    for ax, cost in zip(axes[0], ("macs", "size"), strict=True):
        _costs(results, ax, points, every, original, cost)
        ax.set_xlabel(pick(BOOK, f"{cost}_axis", lang))
        canvas.ticks(ax.xaxis, lang)
    axes[0][0].set_ylabel(word("test_axis", lang))
    canvas.ticks(axes[0][0].yaxis, lang)
    figure.legend(handles=_pareto_handles(results, points, original, lang), loc="outside right center")
    report = report_setting(results)
    said = {"original": numbers.percent(original.cell.mean if original else None, 2, lang)}
    said["size"] = numbers.decimal(original.size[0] if original else None, 2, lang)
    said["setting"] = setting_name(results, report, lang)
    shown = [_in_words(point, lang) for point in points if report.items() <= point.where.items()]
    alt = pick(BOOK, "pareto_alt", lang, points="; ".join(shown) or numbers.DASH, **said)
    best = [every[i] for i in front([(point.macs[0], point.height) for point in every])]
    best = "; ".join(
        pick(BOOK, "front_point", lang, name=p.name, accuracy=numbers.percent(p.cell.mean, 2, lang)) for p in best
    )
    caption = pick(BOOK, "pareto_caption", lang, count=len(points), front=best, **said)
    spread = pick(BOOK, "error_sd", lang) if any(point.cell.n > 1 for point in points) else ""
    head = title(results, "pareto_title", lang)
    yield stem(results, "pareto", filters), parts(results, lang, figure, head, alt, caption, spread)


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
        name = [names.label(results.study, where["criterion"], lang), setting_name(results, where, lang)]
        name += [pick(BOOK, "distilled", lang)] if where["role"] == "distilled" else []
        out.append(Point(where, "; ".join(name) if lang == "tr" else ", ".join(name), cell, macs, size))
    return out


def _spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation, 0 for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _original(results, points: list[Point], lang: str) -> Point | None:
    cell = results.cell({"role": "original"})
    if cell.mean is None:
        return None
    before = converged(results, **points[0].where)[0].run["pruning"]["size_bytes"][0] / 2**20
    return Point(None, pick(BOOK, "original", lang), cell, (100.0, 0.0), (before, 0.0))


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
        out.append(Line2D([], [], **star, label=pick(BOOK, "original", lang)))
    grey, report = {"color": canvas.GREY, "marker": "o"}, report_setting(results)
    known = {report.items() <= point.where.items() for point in points}
    if True in known:
        text = pick(BOOK, "report_setting", lang, setting=setting_name(results, report, lang))
        out.append(Line2D([], [], **grey, **bare, markersize=9, label=text))
    if False in known:
        out.append(Line2D([], [], **grey, **bare, markersize=5.5, label=pick(BOOK, "other_settings", lang)))
    if any(point.where["role"] == "distilled" for point in points):
        hollow = {"linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 1.3, "markersize": 7}
        out.append(Line2D([], [], **grey, **hollow, label=pick(BOOK, "hollow", lang)))
    return [*out, Line2D([], [], color=canvas.GREY, linewidth=0.9, label=pick(BOOK, "front", lang))]


def _in_words(point: Point, lang: str) -> str:
    said = {"name": point.name, "accuracy": numbers.percent(point.cell.mean, 2, lang)}
    said |= {"macs": numbers.percent(point.macs[0] / 100, 1, lang), "size": numbers.decimal(point.size[0], 2, lang)}
    return pick(BOOK, "pareto_point", lang, **said)


# Accuracy by pruning ratio


def sweep(results, lang: str, filters: dict):
    """Yield (stem, parts): accuracy against the pruning ratio, right after pruning and after fine-tuning."""
    if spec(results, filters) is None:
        return
    panels = {role: lines for role in ("pruned", "finetuned") if (lines := _ratios(results, role))}
    if not any(len(line) > 1 for lines in panels.values() for line in lines.values()):
        return
    figure, axes = canvas.panels(1, len(panels), (4.6 * len(panels) + 1.0, 4.2))
    original, chance = results.cell({"role": "original"}).mean, _chance(results)
    heads = {"pruned": pick(BOOK, "before_tuning", lang), "finetuned": pick(BOOK, "after_tuning", lang)}
    for ax, (role, lines) in zip(axes[0], panels.items(), strict=True):
        _sweep_panel(results, ax, lines, original, chance, lang)
        ax.set(title=heads[role], xlabel=pick(BOOK, "ratio_axis", lang), ylabel=word("test_axis", lang))
    _sweep_legend(figure, axes[0][0], original, lang)
    highest = max(ratio for lines in panels.values() for line in lines.values() for ratio in line)
    said = {"original": numbers.percent(original, 2, lang), "chance": numbers.percent(chance, 2, lang)}
    ends = [
        f"{heads[role].lower() if lang == 'en' else heads[role]}: {_ends(results, lines, highest, lang)}"
        for role, lines in panels.items()
    ]
    caption = pick(BOOK, "sweep_caption", lang, highest=_share(highest, lang), ends="; ".join(ends), **said)
    alt = pick(BOOK, "sweep_alt", lang, panels=". ".join(_lines(results, p, heads, lang) for p in panels.items()), **said)
    several = any(cell.n > 1 for lines in panels.values() for line in lines.values() for cell in line.values())
    head, spread = title(results, "sweep_title", lang), pick(BOOK, "error_sd", lang) if several else ""
    yield stem(results, "sweep", filters), parts(results, lang, figure, head, alt, caption, spread)
