"""Validation accuracy while fine-tuning brings back what pruning took: a panel for each criterion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdlib.reporting import canvas, names, numbers
from kdlib.reporting.i18n import say
from kdlib.reporting.names import stem
from kdlib.reporting.pruning.figure_parts import (
    DASHED,
    DOTTED,
    TUNED,
    criteria,
    look,
    parts,
    report_setting,
    setting_name,
    spec,
    title,
)
from kdlib.reporting.pruning.figure_text import BOOK

VALID = "val_accuracy"
FAINT = "#c4c4c4"
LABELS = {"finetuned": "plain", "distilled": "distilled"}


@dataclass
class Recovery:
    """One curve in percent, seeds × epochs, epoch 0 first: the validation accuracy while a pruned network is tuned."""

    role: str
    values: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean over seeds, one value an epoch."""
        return self.values.mean(axis=0)


def recovery(results, lang: str, filters: dict):
    """Yield (stem, parts): validation accuracy by epoch, a panel for each criterion; equal MACs in a second row."""
    if (said := spec(results, filters)) is None:
        return
    settings = [report_setting(results)]
    if getattr(said, "macs", None) is not None:
        settings.append({"ratio": None, "macs": said.macs, "protect_se": said.protect_se})
    rows = [(setting, found) for setting in settings if (found := _curves(results, setting))]
    if not rows:
        return
    columns = [name for name in criteria(results) if any(name in found for _, found in rows)]
    size = (min(2.1 * len(columns) + 0.9, 11.0), 1.5 + 2.3 * len(rows))
    figure, axes = canvas.panels(len(rows), len(columns), size, sharex=True, sharey=True)
    original = results.cell({"role": "original"}, "val_accuracy").mean
    for line, (setting, found) in zip(axes, rows, strict=True):
        for ax, name in zip(line, columns, strict=True):
            _recovery_panel(results, ax, found, name, original, lang)
        line[0].set_ylabel(f"{setting_name(results, setting, lang)}\n{say('Validation accuracy (%)', lang)}")
    for ax, name in zip(axes[0], columns, strict=True):
        ax.set_title(names.label(results.study, name, lang))
    for ax in axes[-1]:
        ax.set_xlabel(say("Epoch", lang))
    setting, found = rows[0]
    told = {"setting": setting_name(results, setting, lang), "ends": _journeys(results, found, lang)}
    shown = {"original": numbers.percent(original, 2, lang)}
    caption = say(
        "Validation accuracy over the epochs of fine-tuning; epoch 0 is the network right after "
        "pruning. Solid: labels only; dashed: the original as teacher; black: the original "
        "({original}); grey: the other criteria. {told}.",
        lang,
        told=say("At {setting}: {ends}", lang, **told),
        **shown,
    )
    several = any(len(c.values) > 1 for _, found in rows for curves in found.values() for c in curves)
    head = title(results, "recovery_title", lang)
    spread = say("Band: ± standard deviation over seeds", lang) + "." if several else ""
    handles = _recovery_handles(rows, original, lang)
    yield stem(results, "recovery", filters), parts(results, lang, figure, head, caption, spread, handles)


def _curves(results, setting: dict) -> dict[str, list[Recovery]]:
    """Criterion -> its plain and its distilled curve at a setting, as far as both ends are there."""
    out: dict[str, list[Recovery]] = {}
    for role in TUNED:
        for where in results.settings(role=role, **setting):
            found = []
            for arm, record in results.select(**where):
                begun = results.cell({**setting, "role": "pruned", "criterion": arm.criterion, "seed": arm.seed}, VALID)
                trained = results.history(record).get("val_accuracy", np.zeros(0))
                if not record.diverged and begun.mean is not None and len(trained):
                    found.append(100 * np.r_[begun.mean, trained])
            if found:
                length = min(map(len, found))
                curve = Recovery(role, np.array([values[:length] for values in found]))
                out.setdefault(where["criterion"], []).append(curve)
    return out


def _recovery_panel(results, ax, found: dict, name: str, original: float | None, lang: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for other, curves in found.items():
        for curve in curves if other != name else ():
            if curve.role == "finetuned":
                ax.plot(curve.mean, color=FAINT, linewidth=0.9, zorder=1, gid=f"other {other}")
    colour, said = look(results, name)["color"], []
    for curve in found.get(name, ()):
        distilled = curve.role == "distilled"
        line = {"color": colour, "linestyle": DASHED if distilled else "-", "linewidth": 1.4 if distilled else 1.9}
        ax.plot(curve.mean, **line, zorder=3, gid=f"{curve.role} {name}")
        if len(curve.values) > 1:
            sd = curve.values.std(axis=0, ddof=1)
            epochs = np.arange(len(sd))
            band = {"color": colour, "alpha": 0.16, "linewidth": 0}
            ax.fill_between(epochs, curve.mean - sd, curve.mean + sd, **band)
        text = f"{say(BOOK[LABELS[curve.role]], lang)} {numbers.decimal(float(curve.mean[-1]), 1, lang)}"
        said.append(text)
    if curves := found.get(name):
        start = {"color": colour, "marker": look(results, name)["marker"], "markersize": 7, "markeredgecolor": "white"}
        ax.plot(0, curves[0].mean[0], **start, linestyle="none", zorder=4, clip_on=False)
        said.insert(0, f"{say('pruned', lang)} {numbers.decimal(float(curves[0].mean[0]), 1, lang)}")
    if original is not None:
        ax.axhline(100 * original, color=canvas.BLACK, linestyle=DOTTED, linewidth=1.1, zorder=1)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    place = {"transform": ax.transAxes, "ha": "right", "va": "bottom", "linespacing": 1.35}
    ax.text(0.97, 0.04, "\n".join(said), **place, fontsize=7.5, bbox=box, zorder=6)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    canvas.ticks(ax.yaxis, lang)


def _recovery_handles(rows: list, original: float | None, lang: str) -> list:
    from matplotlib.lines import Line2D

    roles = {curve.role for _, found in rows for curves in found.values() for curve in curves}
    lines = {"finetuned": "-", "distilled": DASHED}
    grey = {"color": canvas.GREY, "linewidth": 1.7}
    out = [Line2D([], [], **grey, linestyle=lines[r], label=say(BOOK[LABELS[r]], lang)) for r in TUNED if r in roles]
    if original is not None:
        black = {"color": canvas.BLACK, "linewidth": 1.1, "linestyle": DOTTED}
        out.append(Line2D([], [], **black, label=say("original", lang)))
    if any(len(found) > 1 for _, found in rows):
        out.append(Line2D([], [], color=FAINT, linewidth=0.9, label=say("other criteria", lang)))
    return out


def _journeys(results, found: dict, lang: str) -> str:
    """Where each criterion's curves start and where they end."""
    said = []
    for name in (name for name in criteria(results) if name in found):
        ends = [
            say("{end} ({role})", lang, end=_end(curve, -1, lang), role=say(BOOK[LABELS[curve.role]], lang))
            for curve in found[name]
        ]
        shown = {"start": _end(found[name][0], 0, lang), "ends": say(" or ", lang).join(ends)}
        said.append(say("{name} from {start} to {ends}", lang, name=names.label(results.study, name, lang), **shown))
    return "; ".join(said)


def _end(curve: Recovery, epoch: int, lang: str) -> str:
    return numbers.percent(float(curve.mean[epoch]) / 100, 1, lang)
