"""Ways of distilling one student side by side: what each adds to the student alone, and what its step costs."""

from __future__ import annotations

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.evidence import compare
from kdlib.reporting.core.i18n import N_, both, say, translations
from kdlib.reporting.core.results import Results, estimate
from kdlib.reporting.core.table import Cell, Row, Table, Text, accuracy_cell, difference_cell

# What must agree before two durations are compared.
_PLACE = ("processor", "cores", "threads", "gpu")

# By the mark in a cell that asks for it; the first stands in every table.
NOTES = {
    "": N_(
        "Time: what a run took over its epochs, with its validation and its share of what the runs "
        "of its group have in common (images, the teacher's pass), divided by its training steps. "
        "Students that learn beside one another share the teacher's pass; one that learns by itself "
        "pays for all of it."
    ),
    "‡": N_("‡ Not timed beside the student alone: it was trained in another group of runs."),
    "†": N_("† so many runs diverged; they enter no mean."),
}


def comparisons(results: Results, filters: dict) -> list[dict]:
    """The (model, recipe) pairs distilled by some method other than softened logits, in the study's order."""
    if not results.has_methods:
        return []
    pairs = names.trained(results, filters)
    return [here for here in pairs if any(w["method"] for w in results.settings(role="student", **here))]


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


def sheets(results: Results) -> list[Table]:
    """The table of methods, ``methods``, one for each student and recipe; [] where there is one method only."""
    found = comparisons(results, {})
    ids = ["methods"] if len(found) == 1 else [f"methods-{one['model']}-{one['recipe']}" for one in found]
    return [_sheet(results, here, id.replace(":", "-")) for here, id in zip(found, ids, strict=True)]


def _sheet(results: Results, here: dict, id: str) -> Table:
    alone = {"role": "baseline", **here}
    wheres = [*([alone] if results.cell(alone).runs else []), *results.settings(role="student", **here)]
    rows = [_row(results, where, alone) for where in wheres]
    cells = [cell for row in rows for cell in row.cells if isinstance(cell, Cell)]
    notes = [note for mark, note in NOTES.items() if any(mark in cell.mark for cell in cells)]
    columns = [N_("Test accuracy (%)"), N_("Seeds"), N_("Against alone (points)"), N_("Time, alone = 1")]
    columns += [N_("Time a step (ms)"), N_("Looks at")]
    legend = N_(
        "Accuracy: mean ± standard deviation over seeds; against alone: difference of the seeds that both have, with "
        "its 95% interval over them, of fewer than three over their test images"
    )
    notes.append(both(names.provenance, results))
    title, head = both(_title, results, here), [N_("Method"), N_("Setting")]
    return Table(id, title, head, columns, rows, legend, notes, results.study.name)


def _row(results: Results, where: dict, alone: dict) -> Row:
    """A way of distilling, or the student ``alone``: accuracy over seeds, what it adds to that, the time of a step.

    Times are compared seed by seed, on one machine; ‡ says that some of these pairs were not trained in one group.
    """
    cell = results.cell(where)
    runs, beside = (
        {condition.seed: record for condition, record in results.select(**one) if not record.diverged}
        for one in (where, alone)
    )
    pairs = [(run, beside[seed]) for seed, run in runs.items() if seed in beside and _alike(run, beside[seed])]
    pairs = [(run, other) for run, other in pairs if step_ms(run) and step_ms(other)]
    ratio = estimate(step_ms(run) / step_ms(other) for run, other in pairs)
    apart = any(run.run.get("group") != other.run.get("group") for run, other in pairs)
    gap = None if where is alone else compare(results, where, results, alone)
    cells = [
        accuracy_cell(cell),
        Cell(cell.n, kind="count"),
        difference_cell(gap),
        Cell(ratio.mean, 2, mark="‡" if apart else ""),
        Cell(estimate(ms for run in runs.values() if (ms := step_ms(run))).mean, 1),
        numbers.DASH if where is alone else _looks(results, where),
    ]
    if where is alone:
        return Row([N_("Student alone"), ""], cells, group="alone")
    bare = {key: value for key, value in where.items() if key != "method"}
    labels = [both(names.method, results.study, where["method"]), both(names.setting, results, bare)]
    return Row(labels, cells, group="distilled")


def _looks(results: Results, where: dict) -> Text:
    """Logits or features; of features the places in the networks, where the records say them."""
    for _, record in results.select(**where):
        loss = record.run["config"].get("loss") or {}
        if taps := record.run.get("taps"):  # where it looked in the end, as pairs
            places = list(dict.fromkeys(ours if ours == theirs else f"{ours}:{theirs}" for ours, theirs in taps))
        elif "layers" in loss:
            places = loss["layers"]
        else:
            continue
        return translations("features: {layers}", layers=", ".join(places)) if places else N_("features")
    return N_("logits")


def _title(results: Results, here: dict, lang: str) -> str:
    several = len(names.recipes(results)) > 1
    recipe = f" ({names.label(results.study, here['recipe'], lang)})" if several else ""
    model = names.label(results.study, here["model"], lang)
    return say("Methods side by side: {model}{recipe}", lang, model=model, recipe=recipe)
