"""The runs of a transfer study, by how many parameters they train."""

from __future__ import annotations

from kdlib.reporting.core.i18n import say
from kdlib.reporting.core.names import SCRATCH
from kdlib.reporting.core.results import Results


def columns(results: Results, filters: dict) -> list[dict]:
    """The (model, recipe) pairs that have transfer runs among the filtered ones, in the study's order."""
    wheres = results.settings(role="transfer", **filters)
    pairs = dict.fromkeys((where["model"], where["recipe"]) for where in wheres)
    return [{"model": model, "recipe": recipe} for model, recipe in pairs]


def trainable(results: Results, where: dict) -> tuple[int, int]:
    """(trainable, all) parameters of a setting."""
    found = first(results, where).metrics
    return int(found["trainable_params"]), int(found["params"])


def by_parameters(results: Results, here: dict) -> list[dict]:
    """The settings of a column that start from weights and converged, by how many parameters they train."""
    wheres = [where for where in results.settings(role="transfer", **here) if where["variant"] != SCRATCH]
    wheres = [where for where in wheres if results.cell(where).mean is not None]
    return sorted(wheres, key=lambda where: trainable(results, where)[0])


def outside(results: Results, lang: str) -> str:
    """Where transfer's weights come from when no run here made them."""
    # the id of a source run, or the name of outside weights
    started = [(record.run["config"].get("weights") or {}).get("from") for _, record in results.select(role="transfer")]
    found = list(dict.fromkeys(name for name in started if name and name not in results.records))
    if not found:
        return ""
    return say("Transfer starts from weights that were not trained here: {weights}.", lang, weights=", ".join(found))


def first(results: Results, where: dict):
    """The first converged record of a setting that has one."""
    return next(record for _, record in results.select(**where) if not record.diverged)
