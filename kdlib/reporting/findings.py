"""What the numbers say, in sentences: derived from records, hedged by the spread that was measured."""

from __future__ import annotations

import math

from kdlib.reporting import clinical_findings, guessing, methods, names, numbers, transfer
from kdlib.reporting.choice import best_by_validation
from kdlib.reporting.evidence import Difference, accuracy, difference, image_noise
from kdlib.reporting.i18n import N_, say
from kdlib.reporting.names import each_recipe, students
from kdlib.reporting.pruning import findings as pruning_findings
from kdlib.reporting.results import Cell


def findings(results, lang: str) -> list[str]:
    """Sentences on the study's results; the first says where they come from."""
    if not results.used:
        return [say("There are no runs to report yet.", lang)]
    if guess := guessing.only_guesses(results):
        return [names.provenance(results, lang), guessing.sentence(guess, lang)]
    out = [names.provenance(results, lang), *transfer.sources(results, lang)]
    out += [
        _accuracy(N_("Teacher {model}{recipe}: test accuracy {accuracy}."), results, where, lang)
        for where in results.settings(role="teacher")
    ]
    for recipe in each_recipe(results, {}):
        for model in students(results, {"recipe": recipe}):
            out += _student(results, {"model": model, "recipe": recipe}, lang)
    out += methods.findings(results, lang)
    out += [*transfer.findings(results, lang), *pruning_findings.findings(results, lang)]
    out += [_diverged(results, lang), *clinical_findings.findings(results, lang)]
    return [line for line in out if line]


def _recipe(results, recipe: str, lang: str) -> str:
    if len(names.recipes(results)) < 2:
        return ""
    return say(" ({recipe})", lang, recipe=names.label(results.study, recipe, lang))


def _about(results, where: dict, lang: str) -> dict[str, str]:
    return {
        "model": names.label(results.study, where["model"], lang),
        "recipe": _recipe(results, where["recipe"], lang),
    }


def _accuracy(message: str, results, where: dict, lang: str) -> str:
    cell = results.cell(where)
    if cell.mean is None:
        return ""
    return say(message, lang, accuracy=accuracy(cell, lang), **_about(results, where, lang))


def _student(results, here: dict, lang: str) -> list[str]:
    settings = results.settings(role="student", **here)
    alone = results.cell({"role": "baseline", **here})
    out = [
        _accuracy(
            N_("{model} trained alone{recipe}: test accuracy {accuracy}."), results, {"role": "baseline", **here}, lang
        )
    ]
    best = best_by_validation(results, settings)
    if best is None:
        return out
    chosen, points = results.cell(best), None
    against = say("; there is no run of the same network alone to compare with", lang)
    if alone.mean is not None:
        points = difference(chosen, alone)
        against = _against(points.mean, lang)
    several = N_(
        "Best distilled {model}{recipe} by validation accuracy, of {count} settings: {setting} "
        "(validation {validation}). Its test accuracy is {accuracy}{against}."
    )
    one = N_("Distilled {model}{recipe}, {setting}: test accuracy {accuracy}{against}.")
    out.append(
        say(
            several if len(settings) > 1 else one,
            lang,
            count=len(settings),
            setting=names.setting(results, best, lang),
            validation=numbers.percent(results.cell(best, "val_accuracy").mean, 2, lang),
            accuracy=accuracy(chosen, lang),
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
        return say(", the same as that of the same network trained alone", lang)
    return say(
        N_(", {points} percentage points above the same network trained alone")
        if printed > 0
        else N_(", {points} percentage points below the same network trained alone"),
        lang,
        points=numbers.decimal(abs(printed), 2, lang),
    )


def _evidence(results, best: dict, here: dict, points: Difference, lang: str) -> str:
    """What the difference is worth: the interval over seeds, or with one seed that of the test images alone."""
    if points.interval is None:
        noise = image_noise(results, best, {"role": "baseline", **here}, lang)
        return " ".join(
            filter(
                None, [say("Fewer than three seeds cannot tell an effect from the noise between seeds.", lang), noise]
            )
        )
    low, high = points.interval
    if low > 0:
        verdict = N_("The interval lies above zero: distillation helped here beyond the noise between seeds.")
    elif high < 0:
        verdict = N_("The interval lies below zero: distillation hurt here beyond the noise between seeds.")
    else:
        verdict = N_("The interval holds zero: these seeds do not tell an effect from noise.")
    alone, chosen = results.cell({"role": "baseline", **here}), results.cell(best)
    said = say(
        "Over {n} seeds the difference is {difference} points with a 95% t-interval of {interval}; "
        "the standard deviation between seeds is {sd_alone} alone and {sd_distilled} distilled. "
        "{verdict}",
        lang,
        n=points.n,
        difference=numbers.signed(100 * points.mean, 2, lang),
        interval=numbers.interval(100 * low, 100 * high, 2, lang),
        sd_alone=numbers.decimal(None if alone.sd is None else 100 * alone.sd, 2, lang),
        sd_distilled=numbers.decimal(None if chosen.sd is None else 100 * chosen.sd, 2, lang),
        verdict=say(verdict, lang),
    )
    teachers = {record.run.get("config", {}).get("teacher") for _, record in results.select(**best)}
    one = len(teachers) == 1 and None not in teachers
    return said + " " + say("All seeds share one teacher, whose own spread is not in this.", lang) if one else said


def _overall(results, settings: list[dict], here: dict, alone: Cell, lang: str) -> str:
    means = [mean for where in settings if (mean := results.cell(where).mean) is not None]
    if len(means) < 2:
        return ""
    mean = math.fsum(means) / len(means)
    return say(
        "All {count} distilled settings of {model}{recipe}: mean test accuracy {mean}, {difference} "
        "points against alone; {above} of {count} lie above it.",
        lang,
        count=len(means),
        mean=numbers.percent(mean, 2, lang),
        difference=numbers.signed(100 * (mean - alone.mean), 2, lang),
        above=sum(value > alone.mean for value in means),
        **_about(results, here, lang),
    )


def _diverged(results, lang: str) -> str:
    runs = [
        say(
            "{what}, seed {seed}, epoch {epoch} ({reason})",
            lang,
            what=names.described(results, where, lang),
            seed=run.seed,
            epoch=numbers.DASH if run.epoch is None else run.epoch,
            reason=say(run.reason, lang),
        )
        for where in results.settings()
        for run in results.cell(where).diverged
    ]
    return say("Diverged and left out of every mean: {runs}.", lang, runs="; ".join(runs)) if runs else ""
