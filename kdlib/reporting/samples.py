"""A contact sheet of a dataset: a few images of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def contact_sheet(images: np.ndarray, labels: np.ndarray, classes: Sequence[str], each: int = 8, lang: str = "en"):
    """The first ``each`` images of every class (at most 20 classes), a row a class, as a Drawing.

    ``images``: uint8 (N, C, H, W), grey or RGB; ``labels``: (N,) indices into ``classes``.
    """
    from kdlib.reporting import canvas
    from kdlib.reporting.figures import Drawing

    shown = list(classes)[:20]
    with canvas.style():
        figure, axes = canvas.panels(len(shown), each, (0.72 * each + 1.2, 0.72 * len(shown) + 0.2))
        for k, name in enumerate(shown):
            for j, axis in enumerate(axes[k]):
                axis.set_axis_off()
                found = np.flatnonzero(labels == k)
                if j < len(found):
                    picture = np.moveaxis(images[found[j]], 0, -1)
                    axis.imshow(picture if picture.shape[-1] == 3 else picture[..., 0], cmap="gray", vmin=0, vmax=255)
            axes[k][0].text(-0.15, 0.5, name, transform=axes[k][0].transAxes, ha="right", va="center")
    words = {
        "en": (f"Images of each class: {', '.join(shown)}", f"The first {each} test images of each class."),
        "tr": (f"Her sınıftan görüntüler: {', '.join(shown)}", f"Her sınıfın ilk {each} test görüntüsü."),
    }
    alt, caption = words[lang]
    return Drawing(figure=figure, kind="samples", title=alt, alt=alt, caption=caption, lang=lang)
