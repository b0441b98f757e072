"""What transfer learning came to, in sentences: against scratch, by open layers, beside distillation."""

from __future__ import annotations

from itertools import pairwise

from kdlib.reporting import names, numbers
from kdlib.reporting.choice import best_by_validation
from kdlib.reporting.evidence import accuracy, difference, image_noise, same_images
from kdlib.reporting.i18n import say
from kdlib.reporting.results import Results
from kdlib.reporting.transfer_text import BOOK, REPORTED, SCRATCH, layers


def columns(results: Results, filters: dict) -> list[dict]:
    """The (model, recipe) pairs that have transfer runs among the filtered ones, in the study's order."""
    wheres = results.settings(role="transfer", **filters)
    pairs = dict.fromkeys((where["model"], where["recipe"]) for where in wheres)
    return [{"model": model, "recipe": recipe} for model, recipe in pairs]


def trainable(results: Results, where: dict) -> tuple[int, int] | None:
    """(trainable, all) parameters of a setting; None where no record says so (older ones do not)."""
    for _, record in results.select(**where):
        if "trainable_params" in record.metrics:
            return int(record.metrics["trainable_params"]), int(record.metrics["params"])
    return None


def by_parameters(results: Results, here: dict) -> list[dict]:
    """The settings of a column that start from weights and converged, by how many parameters they train."""
    wheres = [where for where in results.settings(role="transfer", **here) if where["variant"] != SCRATCH]
    wheres = [where for where in wheres if results.cell(where).mean is not None and trainable(results, where)]
    return sorted(wheres, key=lambda where: trainable(results, where)[0])


def sources(results: Results, lang: str) -> list[str]:
    """A sentence for each model that was trained on a source task; or where the weights come from otherwise."""
    out = []
    for where in results.settings(role="source"):
        cell = results.cell(where)
        if cell.mean is None:
            continue
        data = _first(results, where).run.get("dataset") or {}
        said = {"data": names.label(results.study, data.get("name", numbers.DASH), lang)}
        said |= {"model": names.label(results.study, where["model"], lang), "accuracy": accuracy(cell, lang)}
        out.append(say("Source task ({data}), {model}: test accuracy {accuracy}.", lang, **said))
    started = [_begun(record) for _, record in results.select(role="transfer")]
    outside = list(dict.fromkeys(name for name in started if name and name not in results.records))
    if outside and not out:
        out.append(
            say("Transfer starts from weights that were not trained here: {weights}.", lang, weights=", ".join(outside))
        )
    return out


def findings(results: Results, lang: str) -> list[str]:
    """Sentences for each column: what the report's choice of layers reached and whether that is more than noise, what
    validation chooses, how accuracy moves with the trained parameters, and distillation beside it."""
    out = []
    for here in columns(results, {}):
        settings = results.settings(role="transfer", **here)
        started = [where for where in settings if where["variant"] != SCRATCH]
        chosen = best_by_validation(results, started)
        if chosen is None:
            continue
        # A reader's sweep may leave the report's choice out; then validation's stands for transfer.
        main = {**here, "role": "transfer", "variant": REPORTED}
        main = main if results.cell(main).mean is not None else chosen
        scratch = next((w for w in settings if w["variant"] == SCRATCH and results.cell(w).mean is not None), None)
        out += _reached(results, main, scratch, lang)
        out += _choice(results, started, chosen, scratch, lang)
        out += _steps(results, here, lang)
        out += [line for other in results.beside.values() for line in _distillation(results, main, other, lang)]
    return _once(out, say("Fewer than three seeds cannot tell an effect from the noise between seeds.", lang))


def _once(lines: list[str], sentence: str) -> list[str]:
    """The lines with a sentence that several begin with kept in the first of them alone."""
    first = next((k for k, line in enumerate(lines) if line.startswith(sentence)), None)
    kept = [line if k == first else line.removeprefix(sentence).strip() for k, line in enumerate(lines)]
    return [line for line in kept if line]


def _first(results: Results, where: dict):
    """The first converged record of a setting that has one."""
    return next(record for _, record in results.select(**where) if not record.diverged)


def _begun(record) -> str | None:
    """What a run's weights were before its training: the id of a source run, or the name of outside weights."""
    return (record.run.get("config", {}).get("weights") or {}).get("from")


def _recipe(results: Results, where: dict, lang: str) -> str:
    if len(names.recipes(results)) < 2:
        return ""
    return say(" ({recipe})", lang, recipe=names.label(results.study, where["recipe"], lang))


def _reached(results: Results, main: dict, scratch: dict | None, lang: str) -> list[str]:
    """What transfer reached, against the same network from scratch, and what that difference is worth."""
    cell, against = results.cell(main), say("; there is no run from scratch to compare with", lang)
    if scratch:
        points = numbers.rounded(100 * difference(cell, results.cell(scratch)).mean, 2)
        key = "tie" if points == 0 else "better" if points > 0 else "worse"
        said = {"points": numbers.decimal(abs(points), 2, lang)}
        said["scratch"] = numbers.percent(results.cell(scratch).mean, 2, lang)
        against = say(BOOK[key], lang, **said)
    said = {"model": names.label(results.study, main["model"], lang), "recipe": _recipe(results, main, lang)}
    said |= {"variant": layers(main["variant"], lang, results.study), "accuracy": accuracy(cell, lang)}
    out = [
        say(
            "Transfer to {model}{recipe}, open: {variant}. Test accuracy {accuracy}{against}.",
            lang,
            against=against,
            **said,
        )
    ]
    if scratch:
        sides = (say("transfer", lang), say("training from scratch", lang))
        worth = _worth(results, main, scratch, sides, lang)
        begun = {_begun(record) for _, record in results.select(**main)}
        if cell.n > 1 and len(begun) == 1 and begun <= set(results.records):
            worth += " " + say("All seeds start from one source model, whose own spread is not in this.", lang)
        out.append(worth)
    return out


def _worth(results, one: dict, other: dict, sides: tuple[str, str], lang: str, beside=None) -> str:
    """What the difference between two settings is worth: over seeds, or with one seed over the test images."""
    points = difference(results.cell(one), (beside or results).cell(other))
    if results.cell(one).n != (beside or results).cell(other).n and points.interval is None:
        return say("One side has a single seed: whether this is more than the noise between seeds is not known.", lang)
    if points.interval is None:
        return " ".join(
            filter(
                None,
                [
                    say("Fewer than three seeds cannot tell an effect from the noise between seeds.", lang),
                    image_noise(results, one, other, lang, beside),
                ],
            )
        )
    low, high = points.interval
    verdict = "up" if low > 0 else "down" if high < 0 else "open"
    return say(
        "Over {n} seeds the difference is {difference} points with a 95% t-interval of {interval}. {verdict}",
        lang,
        n=points.n,
        difference=numbers.signed(100 * points.mean, 2, lang),
        interval=numbers.interval(100 * low, 100 * high, 2, lang),
        verdict=say(BOOK[verdict], lang, first=sides[0], second=sides[1]),
    )


def _choice(results, started: list[dict], chosen: dict, scratch: dict | None, lang: str) -> list[str]:
    """Which layers validation would open, where there is a choice."""
    if len(started) < 2:
        return []
    validation = results.cell(chosen, "val_accuracy").mean
    said = {"count": len(started), "recipe": _recipe(results, chosen, lang)}
    said |= {
        "variant": layers(chosen["variant"], lang, results.study),
        "accuracy": accuracy(results.cell(chosen), lang),
    }
    out = say(
        "Of {count} choices of open layers{recipe}, validation takes: {variant} (validation "
        "{validation}); its test accuracy is {accuracy}.",
        lang,
        validation=numbers.percent(validation, 2, lang),
        **said,
    )
    higher = results.cell(scratch, "val_accuracy").mean if scratch else None
    if higher is not None and higher > validation:
        out += " " + say(
            "From scratch, validation is higher still: {validation}.", lang, validation=numbers.percent(higher, 2, lang)
        )
    return [out]


def _steps(results, here: dict, lang: str) -> list[str]:
    """How accuracy moves from the fewest trained parameters to the most, and what that is worth."""
    wheres = by_parameters(results, here)
    if len(wheres) < 2:
        return []
    means = [results.cell(where).mean for where in wheres]
    called = [layers(where["variant"], lang, results.study) for where in wheres]
    steps = [
        say(
            "{variant} {accuracy} ({trainable} trainable)",
            lang,
            variant=name,
            accuracy=numbers.percent(mean, 2, lang),
            trainable=numbers.integer(trainable(results, where)[0], lang),
        )
        for where, mean, name in zip(wheres, means, called, strict=True)
    ]
    said = {"recipe": _recipe(results, here, lang), "steps": "; ".join(steps), "count": len(wheres) - 1}
    said["up"] = sum(later > earlier for earlier, later in pairwise(means))
    said["difference"] = numbers.signed(100 * (means[-1] - means[0]), 2, lang)
    sides = (say("the choice that trains most parameters", lang), say("the choice that trains fewest", lang))
    worth = _worth(results, wheres[-1], wheres[0], sides, lang)
    return [
        say(
            "Test accuracy as more parameters are trained{recipe}: {steps}. It rises at {up} of {count} "
            "steps; from the first to the last it changes by {difference} points.",
            lang,
            **said,
        ),
        worth,
    ]


def _distillation(results: Results, main: dict, other: Results, lang: str) -> list[str]:
    """Transfer beside the distilled students of the same column of another study, with the caveat of their costs."""
    out = []
    students = [w for w in other.settings(role="student") if w["recipe"] == main["recipe"]]
    for model in dict.fromkeys(where["model"] for where in students):
        best = best_by_validation(other, [where for where in students if where["model"] == model])
        if best is None:
            continue
        mine, theirs = _first(results, main), _first(other, best)
        said = {"study": other.study.name, "recipe": _recipe(results, main, lang)}
        if not same_images(mine, theirs):
            return [
                say(
                    "Transfer stands beside study {study}{recipe} without a difference: the two were not tested "
                    "on the same images.",
                    lang,
                    **said,
                )
            ]
        points = difference(results.cell(main), other.cell(best))
        teacher = other.records.get(theirs.run.get("config", {}).get("teacher"))
        said |= {"variant": layers(main["variant"], lang, results.study), "setting": names.setting(other, best, lang)}
        said |= {"student": names.label(other.study, model, lang), "teacher": _model(other, teacher, lang)}
        said |= {"transfer": accuracy(results.cell(main), lang), "distilled": accuracy(other.cell(best), lang)}
        said["difference"] = numbers.signed(100 * points.mean, 2, lang)
        out.append(
            say(
                "Beside distillation in study {study}{recipe}: transfer, open: {variant}, {transfer}; "
                "{student} distilled from {teacher} with {setting}, chosen by validation, {distilled}; "
                "transfer minus distillation {difference} points.",
                lang,
                **said,
            )
        )
        sides = (say("transfer", lang), say("distillation", lang))
        caveat = _caveat(mine, theirs, results.records.get(_begun(mine)), teacher, lang)
        out.append(f"{_worth(results, main, best, sides, lang, other)} {caveat}".strip())
    return out


def _model(results: Results, record, lang: str) -> str:
    for arm in results.arms:
        if record and arm.id == record.id:
            return names.label(results.study, arm.model, lang)
    return numbers.DASH


def _caveat(mine, theirs, source, teacher, lang: str) -> str:
    """How unequal the two are in arithmetic and epochs, as far as their records say."""
    ours, students = _flops(mine), _flops(theirs)
    if not (ours and students):
        return ""
    whole = ""
    if _flops(source) and _flops(teacher):
        ratio = (ours + _flops(source)) / (students + _flops(teacher))
        whole = say(
            "; with the training of the source task and of the teacher counted, {ratio} times",
            lang,
            ratio=numbers.decimal(ratio, 2, lang),
        )
    epochs = [(record.run["config"].get("recipe") or {}).get("epochs", numbers.DASH) for record in (mine, theirs)]
    said = {"ratio": numbers.decimal(ours / students, 2, lang), "whole": whole}
    return say(
        "The two are not equal in cost: the transfer model's own training took {ratio} times the "
        "arithmetic of the student's ({transfer_epochs} against {student_epochs} epochs){whole}.",
        lang,
        transfer_epochs=epochs[0],
        student_epochs=epochs[1],
        **said,
    )


def _flops(record) -> float | None:
    return record.run.get("train_flops") if record else None
