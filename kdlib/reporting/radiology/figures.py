"""ROC curves, reliability diagrams and confusion matrices: a teacher, its student alone, and with its teacher."""

from __future__ import annotations

import textwrap

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import say
from kdlib.reporting.core.names import stem
from kdlib.reporting.radiology.findings import plain_interval
from kdlib.reporting.radiology.metrics import BINS, reliability, roc
from kdlib.reporting.radiology.models import Model, about, cases, gather, role, units

GRID = np.linspace(0.0, 1.0, 201)  # false positive rates that curves of several seeds are averaged at
HALF = BINS // 2  # with two classes the called one has half the probability or more: the bins below are empty


def looks() -> dict[str, dict]:
    """Colour, dashes and marker of each role: apart in grey as well."""
    blue, orange = canvas.colours()[0], canvas.colours()[1]
    return {
        "teacher": {"color": canvas.BLACK, "linestyle": canvas.DASHES[1], "marker": "s"},
        "baseline": {"color": orange, "linestyle": canvas.DASHES[0], "marker": "^"},
        "student": {"color": blue, "linestyle": canvas.DASHES[0], "marker": "o"},
    }


def _each(results, lang: str, filters: dict, kind: str):
    """(stem, what tells the case apart, clinic, its models) of each case with predictions of two classes."""
    clinic = gather(results)
    if clinic is None or clinic.first is None:
        return
    for case in cases(results, filters):
        models = [model for where in case.wheres.values() if (model := clinic.model(where))]
        if models:
            name = stem(results, kind, filters, model=case.model, recipe=case.recipe)
            yield name, about(results, case, lang), clinic, models


def _parts(results, lang: str, figure, title: str, caption: list[str], handles=()) -> dict:
    footer = names.provenance(results, lang)
    canvas.titled(figure, title, footer, handles)
    return {"figure": figure, "title": title, "caption": " ".join([*filter(None, caption), footer])}


# ROC


def roc_curves(results, lang: str, filters: dict):
    """Yield (stem, parts): sensitivity against 1 - specificity of the three models, AUROC in the legend."""
    for name, which, clinic, models in _each(results, lang, filters, "roc"):
        figure, axes = canvas.panels(1, 1, (canvas.COLUMN, 4.4))
        ax = axes[0][0]
        for model in models:
            _roc(ax, model, lang)
        ax.plot([0, 100], [0, 100], color=canvas.GREY, linewidth=0.9, linestyle=(0, (1, 2)))
        said = {"positive": clinic.class_name(clinic.positive, lang)}
        said["negative"] = clinic.class_name(1 - clinic.positive, lang)
        ax.set(
            xlabel="\n".join(textwrap.wrap(say("1 − specificity: {negative} called {positive} (%)", lang, **said), 40)),
            ylabel=say("Sensitivity: {positive} found (%)", lang, **said),
        )
        ax.set(xlim=(-1.5, 101.5), ylim=(-1.5, 101.5), aspect="equal")
        ax.legend(loc="lower right")
        caption = [
            say(
                "Sensitivity against 1 − specificity over all thresholds; the marker is the threshold 0.5, "
                "the dotted diagonal chance. In the legend AUROC with its 95% bootstrap interval over "
                "{units}.",
                lang,
                units=units(clinic, lang),
            )
        ]
        caption.append(
            say("Thin: each seed; thick: mean sensitivity over the seeds; AUROC: mean over the seeds.", lang)
            if clinic.several
            else ""
        )
        title = say("ROC curves on the test part{about}", lang, about=which)
        yield name, _parts(results, lang, figure, title, caption)


def _roc(ax, model: Model, lang: str) -> None:
    """One model: its curve, with several seeds their mean and each thin, and a marker at the threshold 0.5."""
    look = looks()[model.where["role"]]
    line = {key: look[key] for key in ("color", "linestyle")}
    curves = [roc(of) for of in model.by_seed.values() if of.point["auroc"] is not None]
    for false, true in curves if len(curves) > 1 else []:
        ax.plot(100 * false, 100 * true, color=look["color"], linewidth=0.6, alpha=0.45)
    if len(curves) > 1:
        mean = np.mean([np.interp(GRID, false, true) for false, true in curves], axis=0)
        ax.plot(100 * np.r_[0, GRID], 100 * np.r_[0, mean], **line, linewidth=1.9)
    elif curves:
        ax.plot(100 * curves[0][0], 100 * curves[0][1], **line, linewidth=1.7)
    specificity, sensitivity = (model.estimate(metric).mean for metric in ("specificity", "sensitivity"))
    if None not in (specificity, sensitivity):
        spot = {"color": look["color"], "marker": look["marker"], "markersize": 8, "markeredgecolor": "white"}
        ax.plot(100 * (1 - specificity), 100 * sensitivity, **spot, linestyle="none", zorder=5)
    handle = {**look, "markersize": 6, "markeredgecolor": "white", "linewidth": 1.8}
    ax.plot([], [], **handle, label=_auroc(model, lang))


def _auroc(model: Model, lang: str) -> str:
    value = numbers.decimal(model.estimate("auroc").mean, 3, lang)
    return f"{role(model.where, lang)}\nAUROC {value} {plain_interval(model.interval('auroc'), 3, lang)}".rstrip()


# Reliability


def reliability_diagrams(results, lang: str, filters: dict):
    """Yield (stem, parts): a panel for each model, accuracy by confidence above, numbers of images below."""
    for name, which, clinic, models in _each(results, lang, filters, "reliability"):
        figure, axes = canvas.panels(
            2, len(models), (canvas.PAGE, 4.2), sharex=True, sharey="row", height_ratios=[3, 1]
        )
        for (above, below), model in zip(axes.T, models, strict=True):
            _reliability(above, below, model)
            above.set_title(f"{role(model.where, lang)}\n{_ece(model, lang)}")
            below.set_xlabel(say("Confidence of the called class", lang))
            canvas.ticks(below.xaxis, lang)
        axes[0][0].set_ylabel(say("Accuracy in the bin", lang))
        axes[1][0].set_ylabel(say("Images", lang))
        for row in axes:
            canvas.ticks(row[0].yaxis, lang)
        figure.align_ylabels(axes)
        caption = [
            say(
                "Accuracy of the test images in 15 equal bins of confidence (Guo et al. 2017), below their "
                "number; on the dashed diagonal confidence equals accuracy. Hatched: the gap; a bin under "
                "the diagonal is overconfident.",
                lang,
            ),
            say("The predictions of all seeds are pooled; ECE is the mean over the seeds.", lang)
            if clinic.several
            else "",
        ]
        title = say("Reliability on the test part{about}", lang, about=which)
        yield name, _parts(results, lang, figure, title, caption, _bar_handles(lang))


def _reliability(above, below, model: Model) -> None:
    runs = list(model.by_seed.values())
    found = reliability(*(np.concatenate([getattr(of, key) for of in runs]) for key in ("confidence", "correct")))
    seen = found.count > 0
    left, width = np.arange(BINS) / BINS, 1 / BINS
    hits = np.where(seen, found.accuracy, 0.0)
    above.bar(left, hits, width, align="edge", color=canvas.colours()[0], edgecolor="white", linewidth=0.6)
    low = np.fmin(found.accuracy, found.confidence)[seen]
    gap = np.abs(found.accuracy - found.confidence)[seen]
    above.bar(left[seen], gap, width, bottom=low, align="edge", **_gap_look())
    above.plot([0, 1], [0, 1], color=canvas.BLACK, linewidth=1, linestyle=(0, (4, 2)))
    below.bar(left, found.count, width, align="edge", color=canvas.GREY, edgecolor="white", linewidth=0.6)
    above.set(xlim=(HALF / BINS, 1), ylim=(0, 1.02))


def _gap_look() -> dict:
    return {"facecolor": "none", "edgecolor": canvas.colours()[1], "hatch": "////", "linewidth": 0.8}


def _bar_handles(lang: str) -> list:
    from matplotlib.patches import Patch

    hits = Patch(facecolor=canvas.colours()[0], label=say("accuracy", lang))
    return [hits, Patch(**_gap_look(), label=say("gap to perfect calibration", lang))]


def _ece(model: Model, lang: str) -> str:
    value, interval = numbers.decimal(model.estimate("ece").mean, 3, lang), model.interval("ece")
    return say("ECE = {ece} {interval}", lang, ece=value, interval=plain_interval(interval, 3, lang)).rstrip()
