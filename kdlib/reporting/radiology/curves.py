"""The radiology report's curves over the epochs: a teacher, its student alone and with its teacher."""

from __future__ import annotations

import numpy as np

from kdlib.reporting.core import canvas, names
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.core.names import stem
from kdlib.reporting.radiology.figures import looks
from kdlib.reporting.radiology.models import Case, about, cases, role

TRAIN = (0, (4, 2))
PANELS = {"loss": (1.0, N_("Cross-entropy (nats)")), "accuracy": (100.0, N_("Accuracy (%)"))}
ROLES = ("teacher", "baseline", "student")


def comparison(results, lang: str, filters: dict):
    """Yield (stem, parts): one figure for each student that was distilled, loss on the left, accuracy on the right.

    Training dashed, validation solid; with several seeds the mean, and a band of ± sd about the validation curve.
    """
    for case in cases(results, filters):
        models = [case.wheres[role] for role in ROLES if role in case.wheres]
        if "student" in case.wheres and len(models) > 1 and (parts := _figure(results, lang, case, models)):
            yield stem(results, "comparison", filters, model=case.model, recipe=case.recipe), parts


def _figure(results, lang: str, case: Case, models: list[dict]) -> dict | None:
    found = [good for where in models if (good := _histories(results, where))]
    if len(found) < len(models):
        return None
    figure, (axes,) = canvas.panels(1, len(PANELS), (canvas.PAGE, 3.6))
    for ax, (what, (scale, label)) in zip(axes, PANELS.items(), strict=True):
        for where, histories in zip(models, found, strict=True):
            _draw(ax, looks()[where["role"]], histories, what, scale, role(where, lang))
        ax.set(xlabel=say("Epoch", lang), ylabel=say(label, lang))
        _axes(ax, lang)
    several = any(len(histories) > 1 for histories in found)
    title = say("Loss and accuracy of teacher and student{about}", lang, about=about(results, case, lang))
    footer = (say("Band: ± standard deviation over seeds", lang) + ". " if several else "") + names.provenance(
        results, lang
    )
    handles, _ = axes[0].get_legend_handles_labels()
    handles += _parts(lang)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    canvas.titled(figure, title, "")
    caption = say("Per epoch; training dashed with open markers, validation solid with its name.", lang) + " " + footer
    return {"figure": figure, "title": title, "caption": caption}


def _parts(lang: str) -> list:
    from matplotlib.lines import Line2D

    train = Line2D([], [], color=canvas.GREY, linestyle=TRAIN, marker="o", mfc="white", label=say("training", lang))
    return [train, Line2D([], [], color=canvas.GREY, linewidth=1.8, label=say("validation", lang))]


def _histories(results, where: dict) -> list[dict[str, np.ndarray]]:
    """The converged runs' columns, as far as all of them go."""
    good = {record.id: results.history(record) for _, record in results.select(**where) if not record.diverged}
    length = min((len(history["epoch"]) for history in good.values()), default=0)
    return [{key: column[:length] for key, column in one.items()} for one in good.values()] if length else []


def _draw(ax, look: dict, histories: list[dict], what: str, scale: float, who: str) -> None:
    train, val = (scale * np.array([one[f"{part}_{what}"] for one in histories]) for part in ("train", "val"))
    epochs = np.arange(1, val.shape[1] + 1)
    line = {"color": look["color"], "marker": look["marker"], "markevery": max(1, len(epochs) // 8), "markersize": 4.5}
    ax.plot(epochs, train.mean(axis=0), **line, linestyle=TRAIN, linewidth=1.0, mfc="white")
    ax.plot(epochs, val.mean(axis=0), **line, linewidth=1.8, label=who)
    if len(val) > 1:
        middle, sd = val.mean(axis=0), val.std(axis=0, ddof=1)
        ax.fill_between(epochs, middle - sd, middle + sd, color=look["color"], alpha=0.18, linewidth=0)


def _axes(ax, lang: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    canvas.ticks(ax.yaxis, lang)
