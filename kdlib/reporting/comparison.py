"""The comparisons the radiology report draws: two models' losses or accuracies over the epochs, one figure each."""

from __future__ import annotations

import numpy as np

from kdlib.reporting import canvas, names
from kdlib.reporting.clinical_figures import looks
from kdlib.reporting.clinical_models import Case, about, cases, role
from kdlib.reporting.i18n import N_, say
from kdlib.reporting.names import stem

TRAIN = (0, (4, 2))
# The report's order; each shows training and validation of the two.
PAIRS = (("teacher", "accuracy"), ("teacher", "loss"), ("baseline", "loss"), ("baseline", "accuracy"))
AXES = {"loss": N_("Cross-entropy (nats)"), "accuracy": N_("Accuracy (%)")}
SCALE = {"loss": 1.0, "accuracy": 100.0}

BOOK = {
    "teacher_accuracy": N_("Accuracy: teacher and student with teacher{about}"),
    "teacher_loss": N_("Loss: teacher and student with teacher{about}"),
    "baseline_loss": N_("Loss: student alone and with teacher{about}"),
    "baseline_accuracy": N_("Accuracy: student alone and with teacher{about}"),
    "caption_loss": N_("Cross-entropy with the labels per epoch; training dashed with open markers, validation solid."),
    "caption_accuracy": N_("Accuracy per epoch; training dashed with open markers, validation solid."),
}


def comparison(results, lang: str, filters: dict):
    """Yield (stem, parts): the student with teacher against its teacher and against itself alone, one by one.

    Training dashed, validation solid; with several seeds the mean, and a band of ± sd about the validation curve.
    """
    for case in cases(results, filters):
        for other, what in PAIRS:
            if other in case.wheres and "student" in case.wheres:
                name = stem(results, f"comparison-{other}-{what}", filters, model=case.model, recipe=case.recipe)
                if parts := _figure(results, lang, case, other, what):
                    yield name, parts


def _figure(results, lang: str, case: Case, other: str, what: str) -> dict | None:
    wheres = [case.wheres[other], case.wheres["student"]]
    runs = [_runs(results, where, what) for where in wheres]
    if not all(len(found["val"]) for found in runs):
        return None
    figure, axes = canvas.panels(1, 1, (7.6, 4.1))
    ax = axes[0][0]
    for where, found in zip(wheres, runs, strict=True):
        _draw(ax, looks()[where["role"]], found, role(where, lang), lang)
    ax.set(xlabel=say("Epoch", lang), ylabel=say(AXES[what], lang))
    _epochs(ax, lang)
    figure.legend(loc="outside right center")
    title = say(BOOK[f"{other}_{what}"], lang, about=about(results, case, lang))
    spread = any(len(found["val"]) > 1 for found in runs)
    footer = (say("Band: ± standard deviation over seeds", lang) + ". " if spread else "") + names.provenance(
        results, lang
    )
    canvas.titled(figure, title, footer)
    caption = say(BOOK[f"caption_{what}"], lang) + " " + footer
    return {"figure": figure, "title": title, "caption": caption}


def _runs(results, where: dict, what: str) -> dict[str, np.ndarray]:
    """The converged runs' curves by part, (runs, epochs), as far as all of them go."""
    good = {record.id: results.history(record) for _, record in results.select(**where) if not record.diverged}
    length = min((len(history["epoch"]) for history in good.values()), default=0)
    return {
        part: np.array([history[f"{part}_{what}"][:length] for history in good.values()]) * SCALE[what]
        for part in ("train", "val")
    }


def _draw(ax, look: dict, runs: dict[str, np.ndarray], who: str, lang: str) -> None:
    epochs = np.arange(1, runs["val"].shape[1] + 1)
    every = max(1, len(epochs) // 8)
    line = {"color": look["color"], "marker": look["marker"], "markevery": every, "markersize": 5}
    said = f"{who}, {say('training', lang)}", f"{who}, {say('validation', lang)}"
    ax.plot(epochs, runs["train"].mean(axis=0), **line, linestyle=TRAIN, linewidth=1.2, mfc="white", label=said[0])
    ax.plot(epochs, runs["val"].mean(axis=0), **line, linewidth=1.8, label=said[1])
    if len(runs["val"]) > 1:
        middle, sd = runs["val"].mean(axis=0), runs["val"].std(axis=0, ddof=1)
        ax.fill_between(epochs, middle - sd, middle + sd, color=look["color"], alpha=0.18, linewidth=0)


def _epochs(ax, lang: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    canvas.ticks(ax.yaxis, lang)
