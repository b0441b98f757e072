"""Attention maps side by side: teacher, student alone and student with teacher on the same test images."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import say
from kdlib.reporting.radiology.models import gather
from kdlib.reporting.radiology.text import BOOK as ROLES
from kdlib.studies import artifacts


def attention(results, lang: str, filters: dict):
    """Yield (stem, parts) of one figure, drawn from the study's `attention.npz`; nothing where there is none."""
    found = artifacts.read(Path(results.folder) / artifacts.ATTENTION) if results.folder else None
    if found is None:
        return
    if not set(found["ids"].tolist()) <= {condition.id for condition in results.conditions}:
        return  # of other runs: the study has been run anew since
    figure = _figure(results, found, lang)
    title = say("Where the models look (Grad-CAM)", lang)
    right = int((_calls(found) == found["labels"]).all(axis=0).sum())
    said = [
        say(
            "Grad-CAM (Selvaraju et al. 2017): bright is where a model finds support for the class it "
            "calls, each map scaled to its own range; below, that class and its probability, ✗ where it "
            "is wrong. Above: the image's number in the test part and its true class.",
            lang,
        ),
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
    canvas.titled(figure, title, " ".join(said[1:]))
    caption = " ".join([*said, names.provenance(results, lang)])
    yield "attention", {"figure": figure, "title": title, "caption": caption}


def _calls(found: dict) -> np.ndarray:
    """The class each model calls, (M, n)."""
    return found["probabilities"].argmax(axis=2)


def _figure(results, found: dict, lang: str):
    models, n = found["probabilities"].shape[:2]
    height, width = found["images"].shape[2:]
    side = (canvas.PAGE - 1.2) / n * height / width  # inches: what the row's name leaves each image
    figure, axes = canvas.panels(models + 1, n, (canvas.PAGE, (models + 1) * (side + 0.32) + 1.4))
    pictures, calls = [_picture(image) for image in found["images"]], _calls(found)
    for i, picture in enumerate(pictures):
        name = _class(results, found, found["labels"][i], lang)
        axes[0][i].set_title(
            say("No. {index}\n{name}", lang, index=found["indices"][i], name=name), fontsize=7.5, loc="center"
        )
        axes[0][i].imshow(picture)
        for k in range(models):
            ax = axes[k + 1][i]
            ax.imshow(np.clip(_overlay(picture, found["maps"][k, i].astype(float)), 0, 1))
            wrong = calls[k, i] != found["labels"][i]
            ax.set_xlabel(_said(results, found, k, i, lang), fontsize=7, labelpad=2, weight="bold" if wrong else None)
    for ax, said in zip(axes[:, 0], [say("Test image", lang), *_rows(found, lang)], strict=True):
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


def _rows(found: dict, lang: str) -> list[str]:
    return ["\n".join(textwrap.wrap(say(ROLES[role], lang), 13)) for role in found["roles"].tolist()]


def _said(results, found: dict, k: int, i: int, lang: str) -> str:
    """What model k calls image i, and how sure; marked where it is wrong."""
    call = _calls(found)[k, i]
    probability = numbers.percent(float(found["probabilities"][k, i, call]), 0, lang)
    said = say("{name}\n{probability}", lang, name=_class(results, found, call, lang), probability=probability)
    return said if call == found["labels"][i] else say("✗ {said}", lang, said=said)


def _class(results, found: dict, k: int, lang: str) -> str:
    clinic = gather(results)
    if clinic is not None and clinic.classes == found["classes"].tolist():
        return clinic.class_name(int(k), lang)
    return names.label(results.study, str(found["classes"][k]), lang)


def _layers(results, found: dict, lang: str) -> str:
    return "; ".join(
        f"{say(ROLES[role], lang)} ({names.label(results.study, model, lang)}) {layer}"
        for role, model, layer in zip(*(found[key].tolist() for key in ("roles", "models", "layers")), strict=True)
    )
