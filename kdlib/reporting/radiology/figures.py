"""ROC curves, reliability diagrams and attention maps: a teacher, its student alone and with it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.core.names import stem
from kdlib.reporting.core.table import Cell
from kdlib.reporting.radiology.metrics import BINS, reliability
from kdlib.reporting.radiology.study import ROLES, Model, read
from kdlib.studies import artifacts

GRID = np.linspace(0.0, 1.0, 201)  # false positive rates that curves of several seeds are averaged at
HALF = BINS // 2  # with two classes the called one has half the probability or more: the bins below are empty


def _looks() -> dict[str, dict]:
    """Colour, dashes and marker of each role: apart in grey as well."""
    blue, orange = canvas.colours()[0], canvas.colours()[1]
    return {
        "teacher": {"color": canvas.BLACK, "linestyle": canvas.DASHES[1], "marker": "s"},
        "baseline": {"color": orange, "linestyle": canvas.DASHES[0], "marker": "^"},
        "student": {"color": blue, "linestyle": canvas.DASHES[0], "marker": "o"},
    }


def _scored(results, filters: dict, kind: str):
    """(stem, study, case) of each case with test scores of two classes."""
    study = read(results)
    if study is None or study.first is None:
        return
    for case in study.cases:
        if case.scored and all(getattr(case, key) == value for key, value in filters.items()):
            yield stem(results, kind, filters, model=case.model, recipe=case.recipe), study, case


# ROC


def roc_curves(results, lang: str, filters: dict):
    """Yield (stem, parts): sensitivity against 1 - specificity of the three models, AUROC in the legend."""
    for name, study, case in _scored(results, filters, "roc"):
        figure, ((ax,),) = canvas.panels(1, 1, (canvas.COLUMN, 4.4))
        for model in case.scored:
            _roc(ax, model, lang)
        ax.plot([0, 100], [0, 100], color=canvas.GREY, linewidth=0.9, linestyle=(0, (1, 2)))
        negative, positive = (study.class_name(k, lang) for k in (1 - study.positive, study.positive))
        across = say("1 − specificity: {negative} called {positive} (%)", lang, negative=negative, positive=positive)
        ax.set(
            xlabel="\n".join(textwrap.wrap(across, 40)),
            ylabel=say("Sensitivity: {positive} found (%)", lang, positive=positive),
        )
        ax.set(xlim=(-1.5, 101.5), ylim=(-1.5, 101.5), aspect="equal")
        ax.legend(loc="lower right")
        caption = say(
            "Sensitivity against 1 − specificity over all thresholds; the marker is the threshold 0.5, "
            "the dotted diagonal chance. In the legend AUROC with its 95% bootstrap interval over "
            "{units}.",
            lang,
            units=study.units(lang),
        )
        seeds = N_("Thin: each seed; thick: mean sensitivity over the seeds; AUROC: mean over the seeds.")
        caption += f" {say(seeds, lang)}" if study.several else ""
        title = say("ROC curves on the test part{about}", lang, about=study.about(case, lang))
        yield name, canvas.finished(results, figure, title, caption, lang)


def _roc(ax, model: Model, lang: str) -> None:
    """One model: its curve, with several seeds their mean and each thin, and a marker at the threshold 0.5."""
    from sklearn.metrics import roc_curve

    look = _looks()[model.role]
    line = {key: look[key] for key in ("color", "linestyle")}
    sound = [of for of in model.by_seed.values() if of.point["auroc"] is not None]
    curves = [roc_curve(of.positive, of.margin)[:2] for of in sound]  # rates of false and of true positives
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
    ax.plot([], [], **handle, label=f"{model.called(lang)}\nAUROC {_measured(model, 'auroc', lang)}")


def _measured(model: Model, metric: str, lang: str) -> str:
    """A metric's mean over the seeds with its interval, as far as there is one: `0.912 [0.881; 0.934]`."""
    return Cell(model.estimate(metric).mean, 3, interval=model.interval(metric)).ours(lang)


# Reliability


def reliability_diagrams(results, lang: str, filters: dict):
    """Yield (stem, parts): a panel for each model, accuracy by confidence above, numbers of images below."""
    for name, study, case in _scored(results, filters, "reliability"):
        size = (canvas.PAGE, 4.2)
        figure, axes = canvas.panels(2, len(case.scored), size, sharex=True, sharey="row", height_ratios=[3, 1])
        for (above, below), model in zip(axes.T, case.scored, strict=True):
            _reliability(above, below, model)
            above.set_title(f"{model.called(lang)}\nECE = {_measured(model, 'ece', lang)}")
            below.set_xlabel(say("Confidence of the called class", lang))
            canvas.ticks(below.xaxis, lang)
        axes[0][0].set_ylabel(say("Accuracy in the bin", lang))
        axes[1][0].set_ylabel(say("Images", lang))
        for row in axes:
            canvas.ticks(row[0].yaxis, lang)
        figure.align_ylabels(axes)
        caption = say(
            "Accuracy of the test images in 15 equal bins of confidence (Guo et al. 2017), below their "
            "number; on the dashed diagonal confidence equals accuracy. Hatched: the gap; a bin under "
            "the diagonal is overconfident.",
            lang,
        )
        seeds = N_("The predictions of all seeds are pooled; ECE is the mean over the seeds.")
        caption += f" {say(seeds, lang)}" if study.several else ""
        title = say("Reliability on the test part{about}", lang, about=study.about(case, lang))
        yield name, canvas.finished(results, figure, title, caption, lang, handles=_bar_handles(lang))


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


# Attention


def attention(results, lang: str, filters: dict):
    """Yield (stem, parts) of one figure, drawn from the study's `attention.npz`; nothing where there is none."""
    found = artifacts.read(Path(results.folder) / artifacts.ATTENTION) if results.folder else None
    if found is None:
        return
    if not set(found["ids"].tolist()) <= {condition.id for condition in results.conditions}:
        return  # of other runs: the study has been run anew since
    found["calls"] = found["probabilities"].argmax(axis=2)  # the class each model calls, (M, n)
    right = int((found["calls"] == found["labels"]).all(axis=0).sum())
    said = [
        say(
            "Images by rule, not by hand: class by class in the order of the test part, at most one of a "
            "patient; first {right} that every model calls right, then {wrong} that at least one calls "
            "wrong.",
            lang,
            right=right,
            wrong=len(found["labels"]) - right,
        ),
        say(
            "Maps from the deepest layer with 4×4 positions or more: {layers}.",
            lang,
            layers=_layers(results, found, lang),
        ),
        say("Seed {seed}.", lang, seed=int(found["seed"])),
    ]
    legend = say(
        "Grad-CAM (Selvaraju et al. 2017): bright is where a model finds support for the class it "
        "calls, each map scaled to its own range; below, that class and its probability, ✗ where it "
        "is wrong. Above: the image's number in the test part and its true class.",
        lang,
    )
    title = say("Where the models look (Grad-CAM)", lang)
    figure = _maps(results, found, lang)
    yield "attention", canvas.finished(results, figure, title, legend, lang, " ".join(said).rstrip("."))


def _maps(results, found: dict, lang: str):
    models, n = found["calls"].shape
    height, width = found["images"].shape[2:]
    side = (canvas.PAGE - 1.2) / n * height / width  # inches: what the row's name leaves each image
    figure, axes = canvas.panels(models + 1, n, (canvas.PAGE, (models + 1) * (side + 0.32) + 1.4))
    for i, image in enumerate(found["images"]):
        picture, label = _picture(image), found["labels"][i]
        title = say("No. {index}\n{name}", lang, index=found["indices"][i], name=_class(results, found, label, lang))
        axes[0][i].set_title(title, fontsize=7.5, loc="center")
        axes[0][i].imshow(picture)
        for k, ax in enumerate(axes[1:, i]):
            ax.imshow(np.clip(_overlay(picture, found["maps"][k, i].astype(float)), 0, 1))
            weight = None if found["calls"][k, i] == label else "bold"
            ax.set_xlabel(_called(results, found, k, i, lang), fontsize=7, labelpad=2, weight=weight)
    roles = ["\n".join(textwrap.wrap(say(ROLES[role], lang), 13)) for role in found["roles"].tolist()]
    for ax, said in zip(axes[:, 0], [say("Test image", lang), *roles], strict=True):
        ax.set_ylabel(said, fontsize=8)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
    return figure


def _picture(image: np.ndarray) -> np.ndarray:
    """uint8 (C, H, W), grey or RGB, as grey floats (H, W, 3): the map alone has colour."""
    grey = image.astype(float).mean(axis=0) / 255
    return np.repeat(grey[:, :, None], 3, axis=2)


def _overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The map over the image, the more opaque the higher; its colours grow lighter, so it reads in grey as well."""
    from matplotlib import colormaps

    opacity = 0.65 * heat[:, :, None]
    return (1 - opacity) * 0.8 * picture + opacity * colormaps["inferno"](heat)[:, :, :3]


def _called(results, found: dict, k: int, i: int, lang: str) -> str:
    """What model k calls image i, and how sure; marked where it is wrong."""
    call = found["calls"][k, i]
    probability = numbers.percent(float(found["probabilities"][k, i, call]), 0, lang)
    said = say("{name}\n{probability}", lang, name=_class(results, found, call, lang), probability=probability)
    return said if call == found["labels"][i] else say("✗ {said}", lang, said=said)


def _class(results, found: dict, k: int, lang: str) -> str:
    study = read(results)
    if study is not None and study.classes == found["classes"].tolist():
        return study.class_name(int(k), lang)
    return names.label(results.study, str(found["classes"][k]), lang)


def _layers(results, found: dict, lang: str) -> str:
    return "; ".join(
        f"{say(ROLES[role], lang)} ({names.label(results.study, model, lang)}) {layer}"
        for role, model, layer in zip(*(found[key].tolist() for key in ("roles", "models", "layers")), strict=True)
    )
