"""What is said of a clinical study beside its verdicts: overfitting, as its report asks; imbalance; and a warning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdlib.reporting.core import numbers
from kdlib.reporting.core.i18n import N_, say
from kdlib.reporting.radiology.models import Clinic, about, cases, gather, role

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
    """Sentences on a clinical study; [] for a study that is none. The last says what this must not be used for."""
    clinic = gather(results)
    if clinic is None:
        return []
    out = [_overfitting(results, lang)]
    if not clinic.binary:
        limit = N_("The data have {n} classes; sensitivity, specificity, AUROC and calibration are made for two here.")
        out.append(say(limit, lang, n=len(clinic.classes)))
    elif clinic.first is None:
        out.append(say("No run holds its test logits: there is no AUROC and no calibration.", lang))
    else:
        out.append(_imbalance(results, clinic, lang))
    warning = N_("These are results of a study. This is no medical device and must not be used for diagnosis.")
    return [*(line for line in out if line), say(warning, lang)]


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
        return {(True, True): "overfits", (True, False): "gap_only", (False, True): "rise_only"}.get(
            (gap, rise), "fits"
        )


def fit(results, where: dict) -> Fit | None:
    """How the runs of a setting ended; None where none converged.

    The lowest validation loss is that of LAST epochs in a row: the lowest single epoch of a noisy curve would always
    lie below its end.
    """
    good = {record.id: results.history(record) for _, record in results.select(**where) if not record.diverged}
    good = [history for history in good.values() if len(history.get("epoch", ()))]
    if not good:
        return None
    ends = []
    for history in good:
        smooth = np.convolve(history["val_loss"], np.ones(LAST) / LAST, "valid")
        last = {part: history[f"{part}_loss"][-LAST:].mean() for part in ("train", "val")}
        ends.append((last["train"], last["val"], max(0.0, last["val"] - smooth.min())))
    return Fit(min(len(history["epoch"]) for history in good), *map(float, np.mean(ends, axis=0)))


def _overfitting(results, lang: str) -> str:
    said = []
    for case in cases(results, {}):
        for where in case.wheres.values():
            if (found := fit(results, where)) is None:
                continue
            losses = {key: numbers.decimal(getattr(found, key), 3, lang) for key in ("train", "val")}
            who = role(where, lang) + about(results, case, lang)
            verdict = say(FITS[found.verdict], lang)
            said.append(say("{who} {val} against {train}: {verdict}", lang, who=who, verdict=verdict, **losses))
    return say("Validation against training loss at the end: {models}.", lang, models="; ".join(said)) if said else ""


def _imbalance(results, clinic: Clinic, lang: str) -> str:
    """What a constant answer reaches, and which models are not shown to do better."""
    share = float(clinic.first.positive.mean())
    constant = max(share, 1 - share)
    larger = clinic.positive if share >= 0.5 else 1 - clinic.positive
    not_above = []
    for case in cases(results, {}):
        for where in case.wheres.values():
            interval = model.interval("accuracy") if (model := clinic.model(where)) else None
            if model and (interval is None or interval[0] <= constant):
                not_above.append(role(where, lang) + about(results, case, lang))
    out = say(
        "A constant answer “{larger}” reaches an accuracy of {constant}, and an AUROC of {auroc}.",
        lang,
        larger=clinic.class_name(larger, lang),
        constant=numbers.percent(constant, 2, lang),
        auroc=numbers.decimal(0.5, 1, lang),
    )
    if not_above:
        names = ", ".join(dict.fromkeys(not_above))
        out += " " + say("Not shown to lie above it in accuracy: {names}.", lang, names=names)
    return out


def plain_interval(interval: tuple[float, float] | None, digits: int, lang: str) -> str:
    """An interval of a quantity that has no sign: `[0.881; 0.934]`; empty where there is none."""
    if interval is None:
        return ""
    return f"[{'; '.join(numbers.decimal(end, digits, lang) for end in interval)}]"
