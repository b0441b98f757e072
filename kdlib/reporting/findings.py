"""What the numbers say, in sentences: derived from records, hedged by the spread that was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdlib.reporting import names, numbers
from kdlib.reporting.choice import best_by_validation
from kdlib.reporting.figures import each_recipe, students
from kdlib.reporting.results import Cell, estimate, t_quantile
from kdlib.reporting.text import finding, reason

RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """Distilled minus alone, as fractions: the mean and its 95 % t-interval over `n` seeds (None below two)."""

    mean: float
    interval: tuple[float, float] | None
    n: int


def difference(distilled: Cell, alone: Cell) -> Difference:
    """Compare two cells that both have a mean.

    Seeds they share are paired (the same split, initialisation and batches), and only those enter then; without two
    shared seeds but with two each, it is Welch's interval with its degrees of freedom rounded down.
    """
    shared = sorted(set(distilled.by_seed) & set(alone.by_seed))
    if len(shared) > 1:
        paired = estimate(distilled.by_seed[s] - alone.by_seed[s] for s in shared)
        return Difference(paired.mean, paired.interval, paired.n)
    mean = distilled.mean - alone.mean
    if min(distilled.n, alone.n) < 2:
        return Difference(mean, None, 1)
    parts = [cell.sd**2 / cell.n for cell in (distilled, alone)]
    weights = sum(part**2 / (cell.n - 1) for part, cell in zip(parts, (distilled, alone), strict=True))
    df = int(sum(parts) ** 2 / weights) if weights else 1
    half = t_quantile(max(1, df)) * math.sqrt(sum(parts))
    return Difference(mean, (mean - half, mean + half), min(distilled.n, alone.n))


def bootstrap(first: np.ndarray, second: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of (accuracy of `first` - accuracy of `second`) over test examples, as fractions.

    `first` and `second` say for the same test examples, bool (N,), whether each model was right. An example's
    difference is -1, 0 or 1, so drawing examples with replacement is drawing the three counts. Raises ValueError
    when the two are not of one length, or empty.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"predictions on {len(first)} and {len(second)} test examples cannot be paired")
    n = len(first)
    up, down = int((first & ~second).sum()), int((second & ~first).sum())
    shares = [up / n, down / n, (n - up - down) / n]
    draws = np.random.default_rng(seed).multinomial(n, shares, size=RESAMPLES)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / n, [2.5, 97.5])
    return float(low), float(high)


def findings(results, lang: str) -> list[str]:
    """Sentences on the study's results; the first says where they come from."""
    if not results.used:
        return [finding("nothing", lang)]
    out = [names.provenance(results, lang)]
    out += [_accuracy("teacher", results, where, lang) for where in results.settings(role="teacher")]
    for recipe in each_recipe(results, {}):
        for model in students(results, {"recipe": recipe}):
            out += _student(results, {"model": model, "recipe": recipe}, lang)
    return [line for line in [*out, _diverged(results, lang)] if line]


def _recipe(results, recipe: str, lang: str) -> str:
    if len(names.recipes(results)) < 2:
        return ""
    return finding("for_recipe", lang, recipe=names.label(results.study, recipe, lang))


def _about(results, where: dict, lang: str) -> dict[str, str]:
    return {
        "model": names.label(results.study, where["model"], lang),
        "recipe": _recipe(results, where["recipe"], lang),
    }


def _spread(cell: Cell, lang: str) -> str:
    mean = numbers.percent(cell.mean, 2, lang)
    if cell.sd is None:
        return mean
    return finding("accuracy_seeds", lang, mean=mean, sd=numbers.decimal(100 * cell.sd, 2, lang), n=cell.n)


def _accuracy(key: str, results, where: dict, lang: str) -> str:
    cell = results.cell(where)
    if cell.mean is None:
        return ""
    return finding(key, lang, accuracy=_spread(cell, lang), **_about(results, where, lang))


def _student(results, here: dict, lang: str) -> list[str]:
    settings = results.settings(role="student", **here)
    alone = results.cell({"role": "baseline", **here})
    out = [_accuracy("baseline", results, {"role": "baseline", **here}, lang)]
    best = best_by_validation(results, settings)
    if best is None:
        return out
    chosen, points = results.cell(best), None
    against = finding("no_baseline", lang)
    if alone.mean is not None:
        points = difference(chosen, alone)
        against = _against(points.mean, lang)
    key = "best_of" if len(settings) > 1 else "best_one"
    out.append(
        finding(
            key,
            lang,
            count=len(settings),
            setting=names.setting(results, best, lang),
            validation=numbers.percent(results.cell(best, "val_accuracy").mean, 2, lang),
            accuracy=_spread(chosen, lang),
            against=against,
            **_about(results, here, lang),
        )
    )
    if points is not None:
        out.append(_evidence(results, best, here, points, lang))
        out.append(_overall(results, settings, here, alone, lang))
    return out


def _against(points: float, lang: str) -> str:
    printed = numbers.rounded(100 * points, 2)
    if printed == 0:
        return finding("tie", lang)
    return finding("better" if printed > 0 else "worse", lang, points=numbers.decimal(abs(printed), 2, lang))


def _evidence(results, best: dict, here: dict, points: Difference, lang: str) -> str:
    """What the difference is worth: the interval over seeds, or with one seed that of the test images alone."""
    if points.interval is None:
        return " ".join(filter(None, [finding("one_seed", lang), _test_noise(results, best, here, lang)]))
    low, high = points.interval
    verdict = "verdict_up" if low > 0 else "verdict_down" if high < 0 else "verdict_open"
    alone, chosen = results.cell({"role": "baseline", **here}), results.cell(best)
    said = finding(
        "spread",
        lang,
        n=points.n,
        difference=numbers.signed(100 * points.mean, 2, lang),
        interval=numbers.interval(100 * low, 100 * high, 2, lang),
        sd_alone=numbers.decimal(None if alone.sd is None else 100 * alone.sd, 2, lang),
        sd_distilled=numbers.decimal(None if chosen.sd is None else 100 * chosen.sd, 2, lang),
        verdict=finding(verdict, lang),
    )
    teachers = {record.run.get("config", {}).get("teacher") for _, record in results.select(**best)}
    one = len(teachers) == 1 and None not in teachers
    return f"{said} {finding('one_teacher', lang)}" if one else said


def _test_noise(results, best: dict, here: dict, lang: str) -> str:
    chosen, alone = (
        next(record for _, record in results.select(**where) if not record.diverged)
        for where in (best, {"role": "baseline", **here})
    )
    if chosen.run["dataset"]["fingerprint"] != alone.run["dataset"]["fingerprint"]:
        return ""  # not the same test images: nothing to pair
    try:
        first, second = _correct(chosen), _correct(alone)
    except FileNotFoundError:
        return ""  # a record may be published without its predictions
    low, high = bootstrap(first, second)
    interval = numbers.interval(100 * low, 100 * high, 2, lang)
    return finding("bootstrap", lang, images=numbers.integer(len(first), lang), interval=interval)


def _correct(record) -> np.ndarray:
    """For each test example whether the record's model was right, bool (N,)."""
    if hasattr(record, "correct"):  # kept also where the logits are not
        return record.correct()
    logits, labels = record.predictions()
    return np.argmax(logits, axis=1) == labels


def _overall(results, settings: list[dict], here: dict, alone: Cell, lang: str) -> str:
    means = [mean for where in settings if (mean := results.cell(where).mean) is not None]
    if len(means) < 2:
        return ""
    mean = math.fsum(means) / len(means)
    return finding(
        "overall",
        lang,
        count=len(means),
        mean=numbers.percent(mean, 2, lang),
        difference=numbers.signed(100 * (mean - alone.mean), 2, lang),
        above=sum(value > alone.mean for value in means),
        **_about(results, here, lang),
    )


def _diverged(results, lang: str) -> str:
    runs = [
        finding(
            "diverged_run",
            lang,
            what=names.described(results, where, lang),
            seed=run.seed,
            epoch=numbers.DASH if run.epoch is None else run.epoch,
            reason=reason(run.reason, lang),
        )
        for where in results.settings()
        for run in results.cell(where).diverged
    ]
    return finding("diverged", lang, runs="; ".join(runs)) if runs else ""
