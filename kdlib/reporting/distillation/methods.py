"""Ways of distilling one student side by side: what each adds to the student alone, and what its step costs."""

from __future__ import annotations

from dataclasses import dataclass

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.evidence import Difference, difference
from kdlib.reporting.core.i18n import N_, both, say, translations
from kdlib.reporting.core.results import Cell as Gathered
from kdlib.reporting.core.results import Estimate, Results, estimate
from kdlib.reporting.core.table import Cell, Row, Table, difference_cell

# What must agree before two durations are compared.
_PLACE = ("processor", "cores", "threads", "gpu")


BOOK = {
    "accuracy": N_("Test accuracy (%)"),
    "n": N_("Seeds"),
    "difference": N_("Against alone (points)"),
    "ratio": N_("Time, alone = 1"),
    "step": N_("Time a step (ms)"),
    "looks": N_("Looks at"),
    "time_note": N_(
        "Time: what a run took over its epochs, with its validation and its share of what the runs "
        "of its group have in common (images, the teacher's pass), divided by its training steps. "
        "Students that learn beside one another share the teacher's pass; one that learns by itself "
        "pays for all of it."
    ),
    "other_group": N_("‡ Not timed beside the student alone: it was trained in another group of runs."),
    "diverged": N_("† so many runs diverged; they enter no mean."),
}


@dataclass(frozen=True)
class Way:
    """One method with its settings: accuracy over seeds, minus the student alone, and the time of a step.

    ``ratio`` is the time of a step over that of the student alone, seed by seed, empty where there is nothing to
    compare with; ``apart`` says that some of these pairs were not trained in one group. ``looks``: None for logits,
    else the places in the networks, () where the method chose them.
    """

    where: dict
    cell: Gathered
    gap: Difference | None
    step: Estimate
    ratio: Estimate
    apart: bool
    looks: tuple[str, ...] | None


def comparisons(results: Results, filters: dict) -> list[dict]:
    """The (model, recipe) pairs distilled by some method other than softened logits, in the study's order."""
    if not results.has_methods:
        return []
    pairs = names.trained(results, filters)
    return [here for here in pairs if any(w["method"] for w in results.settings(role="student", **here))]


def ways(results: Results, here: dict) -> list[Way]:
    """The distilled settings of a model and recipe, in the study's order."""
    alone = {"role": "baseline", **here}
    beside = {condition.seed: record for condition, record in results.select(**alone) if not record.diverged}
    base, out = results.cell(alone), []
    for where in results.settings(role="student", **here):
        cell = results.cell(where)
        gap = None if cell.mean is None or base.mean is None else difference(cell, base)
        runs = {condition.seed: record for condition, record in results.select(**where) if not record.diverged}
        pairs = [(run, beside[seed]) for seed, run in runs.items() if seed in beside and _alike(run, beside[seed])]
        pairs = [(run, other) for run, other in pairs if step_ms(run) and step_ms(other)]
        steps = estimate(ms for run in runs.values() if (ms := step_ms(run)))
        ratio = estimate(step_ms(run) / step_ms(other) for run, other in pairs)
        apart = any(run.run.get("group") != other.run.get("group") for run, other in pairs)
        out.append(Way(where, cell, gap, steps, ratio, apart, _looks(results, where)))
    return out


def step_ms(record) -> float | None:
    """Milliseconds of a training step, validation included; None where the record does not say enough."""
    recipe, sizes = record.run["config"].get("recipe") or {}, (record.run.get("dataset") or {}).get("sizes") or {}
    seconds, batch = record.run.get("seconds"), recipe.get("batch_size")
    if not (seconds and batch and sizes.get("train")):
        return None
    steps = sizes["train"] // batch + (sizes["train"] % batch > 1)  # a last image by itself makes no batch
    return 1000 * seconds / (recipe["epochs"] * steps) if steps else None


def _alike(one, other) -> bool:
    """Whether two runs were timed on the same machine, in the same precision."""
    first, second = one.run.get("hardware") or {}, other.run.get("hardware") or {}
    same = all(first.get(key) == second.get(key) for key in _PLACE)
    return same and all(one.run.get(key) == other.run.get(key) for key in ("device", "precision"))


def _looks(results: Results, where: dict) -> tuple[str, ...] | None:
    for _, record in results.select(**where):
        loss = record.run["config"].get("loss") or {}
        if taps := record.run.get("taps"):  # where it looked in the end, as pairs
            return tuple(dict.fromkeys(ours if ours == theirs else f"{ours}:{theirs}" for ours, theirs in taps))
        if "layers" in loss:
            return tuple(loss["layers"] or ())
    return None


def sheets(results: Results) -> list[Table]:
    """The table of methods, ``methods``, one for each student and recipe; [] where there is one method only."""
    found = comparisons(results, {})
    return [_sheet(results, here, "methods" if len(found) == 1 else _id(here)) for here in found]


def _id(here: dict) -> str:
    return f"methods-{here['model']}-{here['recipe']}".replace(":", "-")


def _sheet(results: Results, here: dict, id: str) -> Table:
    base, shown = results.cell({"role": "baseline", **here}), ways(results, here)
    rows = [_alone(results, here, base)] if base.runs else []
    rows += [_row(results, way) for way in shown]
    several = max([base.n, *(way.cell.n for way in shown)]) > 1
    cells = [cell for row in rows for cell in row.cells if isinstance(cell, Cell)]
    marks = {"time_note": "", "other_group": "‡", "diverged": "†"}
    notes = [BOOK[key] for key, mark in marks.items() if any(mark in cell.mark for cell in cells)]
    notes.append(both(names.provenance, results))
    return Table(
        id,
        both(_title, results, here),
        [N_("Method"), N_("Setting")],
        [BOOK[key] for key in ("accuracy", "n", "difference", "ratio", "step", "looks")],
        rows,
        (
            N_(
                "Accuracy: mean ± standard deviation over seeds; against alone: difference paired by seed, "
                "with its 95% t-interval"
            )
            if several
            else N_("Accuracy of one seed; against alone: the difference of that seed, which has no interval")
        ),
        notes,
        study=results.study.name,
    )


def _alone(results: Results, here: dict, cell: Gathered) -> Row:
    runs = [record for _, record in results.select(role="baseline", **here) if not record.diverged]
    steps = estimate(ms for record in runs if (ms := step_ms(record)))
    unit = Cell(1.0 if steps.n else None, 2)
    cells = [_accuracy(cell), Cell(cell.n, kind="count"), Cell(), unit, Cell(steps.mean, 1), numbers.DASH]
    return Row([N_("Student alone"), ""], cells, group="alone")


def _row(results: Results, way: Way) -> Row:
    ratio = Cell(way.ratio.mean, 2, mark="‡" if way.apart else "")
    label = both(names.method, results.study, way.where["method"])
    bare = {key: value for key, value in way.where.items() if key != "method"}
    setting = both(names.setting, results, bare)
    looks = N_("logits") if way.looks is None else N_("features")
    if way.looks:
        looks = translations("features: {layers}", layers=", ".join(way.looks))
    cells = [
        _accuracy(way.cell),
        Cell(way.cell.n, kind="count"),
        difference_cell(way.gap),
        ratio,
        Cell(way.step.mean, 1),
        looks,
    ]
    return Row([label, setting], cells, group="distilled")


def _accuracy(cell: Gathered) -> Cell:
    mark = f" †{len(cell.diverged)}" if cell.diverged else ""
    number, sd = (None if value is None else 100 * value for value in (cell.mean, cell.sd))
    return Cell(number, 2, sd=sd, mark=mark)


def _title(results: Results, here: dict, lang: str) -> str:
    several = len(names.recipes(results)) > 1
    recipe = f" ({names.label(results.study, here['recipe'], lang)})" if several else ""
    model = names.label(results.study, here["model"], lang)
    return say("Methods side by side: {model}{recipe}", lang, model=model, recipe=recipe)
