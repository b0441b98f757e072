"""A contact sheet of a dataset: a few images of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdlib.reporting.core import canvas
from kdlib.reporting.core.i18n import say
from kdlib.reporting.figures import Drawing

_GAP, _MOST_CLASSES = 2, 20


def contact_sheet(images: np.ndarray, labels: np.ndarray, classes: Sequence[str], each: int = 10, lang: str = "en"):
    """The first ``each`` images of every class (at most 20 classes), a row a class, as a Drawing.

    ``images``: uint8 (N, C, H, W), grey or RGB; ``labels``: (N,) indices into ``classes``.
    """
    names = classes[:_MOST_CLASSES]
    _, _, height, width = images.shape
    sheet = np.full((len(names) * (height + _GAP), each * (width + _GAP), 3), 255, np.uint8)
    for k in range(len(names)):
        for j, i in enumerate(np.flatnonzero(labels == k)[:each]):
            top, left = k * (height + _GAP), j * (width + _GAP)
            sheet[top : top + height, left : left + width] = np.moveaxis(images[i], 0, -1)
    with canvas.style():
        figure, axes = canvas.panels(1, 1, (0.55 * each + 1.2, 0.55 * len(names) * height / width))
        axis = axes[0][0]
        axis.imshow(sheet, interpolation="nearest")
        axis.set_yticks([(k + 0.5) * (height + _GAP) for k in range(len(names))], labels=names)
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.grid(False)
        axis.spines[:].set_visible(False)
    alt = say("Images of each class: {names}", lang, names=", ".join(names))
    caption = say("The first {n} test images of each class.", lang, n=each)
    return Drawing(figure=figure, kind="samples", title=alt, alt=alt, caption=caption, lang=lang)
