"""What the numbers of a clinical study say: the report's verdicts, derived again and hedged by the intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdlib.reporting import numbers
from kdlib.reporting.clinical_models import ROLES, Clinic, Model, about, cases, gather, paired, role, units
from kdlib.reporting.clinical_text import FINDINGS
from kdlib.reporting.i18n import LANGS, N_, say
from kdlib.reporting.results import MIN_SEEDS

LAST = 3  # epochs that an end of training is averaged over
FEWEST = 5  # epochs below which nothing is said of overfitting
NOTABLE = 0.05  # share of the validation loss from which a gap or a rise counts
SURE = 0.02  # mean confidence against accuracy: less than this is called even


def findings(results, lang: str) -> list[str]:
    """Sentences on a clinical study; [] for a study that is none. The last says what this must not be used for."""
    clinic = gather(results)
    if clinic is None:
        return []
    out = _overfitting(results, lang)
    if not clinic.binary:
        out.append(
            say(
                "The data have {n} classes. Sensitivity, specificity, AUROC, calibration and confusion "
                "matrices are made for two here and are left out.",
                lang,
                n=len(clinic.classes),
            )
        )
    elif clinic.first is None:
        out.append(
            say(
                "No run holds its test logits, so sensitivity, specificity, AUROC and calibration cannot be given.",
                lang,
            )
        )
    else:
        for case in cases(results, {}):
            models = {key: clinic.model(where) for key, where in case.wheres.items()}
            models = {key: model for key, model in models.items() if model}
            which = about(results, case, lang)
            out += _differences(clinic, models, which, lang)
            out += _imbalance(results, clinic, models, which, lang)
            out += _calibration(models, which, lang)
    # One line may come from several cases, as that on the classes' shares does.
    return [
        *dict.fromkeys(line for line in out if line),
        say("These are results of a study. This is no medical device and must not be used for diagnosis.", lang),
    ]


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


def _overfitting(results, lang: str) -> list[str]:
    out, fits = [], []
    for case in cases(results, {}):
        for where in case.wheres.values():
            if (found := fit(results, where)) is None:
                continue
            who = say("{role}{about}", lang, role=role(where, lang), about=about(results, case, lang))
            losses = {key: numbers.decimal(getattr(found, key), 3, lang) for key in ("train", "val", "rise")}
            n = found.epochs if found.verdict == "few_epochs" else LAST
            out.append(say(FINDINGS[found.verdict], lang, who=who, n=n, **losses))
            fits.append(found)
    if any(found.verdict != "few_epochs" for found in fits):
        out.append(
            say(
                "A gap or rise counts from {share} of the validation loss on. Training losses are taken "
                "while training, with augmentation and dropout, so they are rather too high than too low.",
                lang,
                share=numbers.percent(NOTABLE, 0, lang),
            )
        )
    return out


def _differences(clinic: Clinic, models: dict[str, Model], which: str, lang: str) -> list[str]:
    out = []
    for other, key in (("teacher", "against_teacher"), ("baseline", "against_alone")):
        if "student" not in models or other not in models:
            continue
        found = {metric: paired(models["student"], models[other], metric) for metric in ("auroc", "accuracy")}
        found = {metric: one for metric, one in found.items() if one}
        if not found:
            continue
        said = "; ".join(_difference(clinic, metric, one, lang) for metric, one in found.items())
        verdict = _verdict("teacher" if other == "teacher" else "alone", found, lang)
        out.append(f"{say(FINDINGS[key], lang, about=which, metrics=said)} {verdict}")
    if out and max(len(model.by_seed) for model in models.values()) < MIN_SEEDS:
        out.append(
            say(
                "Fewer than three seeds: these intervals hold the choice of test images alone; the spread "
                "between seeds is unknown, so a difference may be that of two initialisations.",
                lang,
            )
        )
    return out


def _difference(clinic: Clinic, metric: str, found, lang: str) -> str:
    scale, digits = (1, 3) if metric == "auroc" else (100, 2)
    between = found.seeds.interval
    intervals = say(
        N_("(95% bootstrap over {units}: {interval})")
        if between is None
        else N_("(95% bootstrap over {units}: {interval}; t-interval over {n} seeds: {seeds})"),
        lang,
        units=units(clinic, lang),
        interval=_signed(found.patients, scale, digits, lang),
        n=found.seeds.n,
        seeds=_signed(between, scale, digits, lang),
    )
    difference = numbers.signed(scale * found.seeds.mean, digits, lang)
    return say(FINDINGS[metric], lang, difference=difference, intervals=intervals)


def _signed(interval: tuple[float, float] | None, scale: float, digits: int, lang: str) -> str:
    if interval is None:
        return numbers.DASH
    return numbers.interval(scale * interval[0], scale * interval[1], digits, lang)


def _verdict(against: str, found: dict, lang: str) -> str:
    verdicts = {metric: one.verdict for metric, one in found.items()}
    sides = set(verdicts.values()) - {"open"}
    if len(sides) != 1:
        return say(FINDINGS[f"{against}_{'mixed' if sides else 'open'}"], lang)
    side = sides.pop()
    which = [say(FINDINGS[f"which_{metric}"], lang) for metric, verdict in verdicts.items() if verdict == side]
    return say(FINDINGS[f"{against}_{side}"], lang, which=say(" and ", lang).join(which))


def _imbalance(results, clinic: Clinic, models: dict[str, Model], which: str, lang: str) -> list[str]:
    share = float(clinic.first.positive.mean())
    constant = max(share, 1 - share)
    larger = clinic.positive if share >= 0.5 else 1 - clinic.positive
    shares = {clinic.positive: share, 1 - clinic.positive: 1 - share}
    half, auroc = numbers.percent(0.5, 0, lang), numbers.decimal(0.5, 1, lang)
    values = {"larger": clinic.class_name(larger, lang), "constant": numbers.percent(constant, 2, lang)}
    out = [
        say(
            "Test images by class: {shares}. A constant answer “{larger}” reaches an accuracy of "
            "{constant}, but a balanced accuracy of {half} and an AUROC of {auroc}: plain accuracy says "
            "something only above {constant}.",
            lang,
            shares=_shares(clinic, shares, lang),
            half=half,
            auroc=auroc,
            **values,
        )
    ]
    if counts := (clinic_data(results).get("class_counts") or {}).get("train"):
        trained = {k: count / sum(counts) for k, count in enumerate(counts)}
        out.append(say("Training images by class: {shares}.", lang, shares=_shares(clinic, trained, lang)))
    said, not_above = [], []
    for key in (key for key in ROLES if key in models):
        accuracy, balanced = (models[key].estimate(metric).mean for metric in ("accuracy", "balanced_accuracy"))
        words = {"accuracy": numbers.percent(accuracy, 2, lang), "balanced": numbers.percent(balanced, 2, lang)}
        said.append(say("{role} {accuracy} and {balanced}", lang, role=role(models[key].where, lang), **words))
        interval = models[key].interval("accuracy")
        if interval is None or interval[0] <= constant:
            not_above.append(role(models[key].where, lang))
    if said:
        out.append(say("Accuracy and balanced accuracy{about}: {models}.", lang, about=which, models="; ".join(said)))
    if not_above:
        out.append(
            say(
                "Not shown to lie above the constant answer in accuracy{about}: {roles}.",
                lang,
                about=which,
                roles=", ".join(not_above),
            )
        )
    return out


def clinic_data(results) -> dict:
    """What the records say of the data of a clinical study's models."""
    return next((record.run["dataset"] for key in ROLES for _, record in results.select(role=key)), {})


def _shares(clinic: Clinic, shares: dict[int, float], lang: str) -> str:
    parts = (f"{clinic.class_name(k, lang)} {numbers.percent(shares[k], 1, lang)}" for k in sorted(shares))
    return (", " if lang == LANGS[0] else "; ").join(parts)


def _calibration(models: dict[str, Model], which: str, lang: str) -> list[str]:
    said = []
    for key in (key for key in ROLES if key in models):
        model = models[key]
        confidence = float(np.mean([of.confidence.mean() for of in model.by_seed.values()]))
        accuracy, ece, brier = (model.estimate(metric).mean for metric in ("accuracy", "ece", "brier"))
        gap = confidence - accuracy
        if abs(gap) < SURE:
            verdict = N_("is on average as sure as it is right")
        else:
            verdict = N_("is overconfident on average") if gap > 0 else N_("is underconfident on average")
        said.append(
            say(
                "{role} {verdict} (mean confidence {confidence}, accuracy {accuracy}, ECE {ece} {interval}, "
                "Brier score {brier})",
                lang,
                role=role(model.where, lang),
                verdict=say(verdict, lang),
                confidence=numbers.percent(confidence, 1, lang),
                accuracy=numbers.percent(accuracy, 1, lang),
                ece=numbers.decimal(ece, 3, lang),
                interval=plain_interval(model.interval("ece"), 3, lang),
                brier=numbers.decimal(brier, 3, lang),
            )
        )
    return [say("Calibration{about}: {models}.", lang, about=which, models="; ".join(said))] if said else []


def plain_interval(interval: tuple[float, float] | None, digits: int, lang: str) -> str:
    """An interval of a quantity that has no sign: `[0.881; 0.934]`; empty where there is none."""
    if interval is None:
        return ""
    return f"[{'; '.join(numbers.decimal(end, digits, lang) for end in interval)}]"
