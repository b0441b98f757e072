"""What is said of a radiology study beside its verdicts: overfitting, as its report asks; imbalance; and a warning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdlib.reporting.core import numbers
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.radiology.study import RadiologyStudy, read

LAST = 3  # epochs that an end of training is averaged over
FEWEST = 5  # epochs below which nothing is said of overfitting
NOTABLE = 0.05  # share of the validation loss from which a gap or a rise counts
FITS = {
    "overfits": N_("overfitted"),
    "gap_only": N_("a gap that has not hurt yet"),
    "rise_only": N_("unstable rather than overfitted"),
    "fits": N_("no sign of overfitting"),
    "few_epochs": N_("too few epochs to speak of overfitting"),
}


def findings(results, lang: str) -> list[str]:
    """Sentences on a radiology study; [] for a study that is none. The last says what this must not be used for."""
    study = read(results)
    if study is None:
        return []
    if len(study.classes) != 2:
        limit = N_("The data have {n} classes; sensitivity, specificity, AUROC and calibration are made for two here.")
        measured = say(limit, lang, n=len(study.classes))
    elif study.first is None:
        measured = say("No run holds its test logits: there is no AUROC and no calibration.", lang)
    else:
        measured = _imbalance(study, lang)
    warning = N_("These are results of a study. This is no medical device and must not be used for diagnosis.")
    return [line for line in (_overfitting(study, lang), measured, say(warning, lang)) if line]


@dataclass(frozen=True)
class Fit:
    """Losses at the end of training (means over the last epochs and the seeds), and the rise from the lowest."""

    epochs: int
    train: float
    val: float
    rise: float

    @property
    def verdict(self) -> str:
        """`overfits`, `gap_only`, `rise_only`, `fits`, or `few_epochs`."""
        if self.epochs < FEWEST:
            return "few_epochs"
        gap, rise = self.val - self.train > NOTABLE * self.val, self.rise > NOTABLE * self.val
        if gap:
            return "overfits" if rise else "gap_only"
        return "rise_only" if rise else "fits"


def fit(histories: list[dict[str, np.ndarray]]) -> Fit:
    """How runs, one at least, ended by their columns per epoch.

    The lowest validation loss is that of LAST epochs in a row: the lowest single epoch of a noisy curve would always
    lie below its end.
    """
    ends = []
    for history in histories:
        smooth = np.convolve(history["val_loss"], np.ones(LAST) / LAST, "valid")
        train, val = (history[f"{part}_loss"][-LAST:].mean() for part in ("train", "val"))
        ends.append((train, val, max(0.0, val - smooth.min())))
    return Fit(min(len(history["epoch"]) for history in histories), *map(float, np.mean(ends, axis=0)))


def _overfitting(study: RadiologyStudy, lang: str) -> str:
    said = []
    for case in study.cases:
        for model in case.models.values():
            if not (histories := model.histories):
                continue
            found = fit(histories)
            losses = {key: numbers.decimal(getattr(found, key), 3, lang) for key in ("train", "val")}
            who, verdict = model.called(lang) + study.about(case, lang), say(FITS[found.verdict], lang)
            said.append(say("{who} {val} against {train}: {verdict}", lang, who=who, verdict=verdict, **losses))
    return say("Validation against training loss at the end: {models}.", lang, models="; ".join(said)) if said else ""


def _imbalance(study: RadiologyStudy, lang: str) -> str:
    """What a constant answer reaches, and which models are not shown to do better."""
    share = float(study.first.positive.mean())
    constant = max(share, 1 - share)
    larger = study.positive if share >= 0.5 else 1 - study.positive
    not_above = [
        model.called(lang) + study.about(case, lang)
        for case in study.cases
        for model in case.scored
        if (interval := model.interval("accuracy")) is None or interval[0] <= constant
    ]
    out = say(
        "A constant answer “{larger}” reaches an accuracy of {constant}, and an AUROC of {auroc}.",
        lang,
        larger=study.class_name(larger, lang),
        constant=numbers.percent(constant, 2, lang),
        auroc=numbers.decimal(0.5, 1, lang),
    )
    if not_above:
        names = ", ".join(dict.fromkeys(not_above))
        out += " " + say("Not shown to lie above it in accuracy: {names}.", lang, names=names)
    return out
