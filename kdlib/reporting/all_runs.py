"""The table a report does not have: every setting that was run, whatever a reader swept."""

from __future__ import annotations

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.i18n import N_, Message, both, translations
from kdlib.reporting.core.names import ROLES, layers
from kdlib.reporting.core.results import SETTING, Results, setting
from kdlib.studies.schema import Column, Row, Table

_BOTTLENECKS = {None: "", True: N_("spared"), False: N_("pruned")}

_HEADS = {
    "model": N_("Model"),
    "role": N_("Training"),
    "recipe": N_("Recipe"),
    "method": N_("Method"),
    **{"T": "T", "alpha": "α", "lam": "λ"},
    "variant": N_("Open layers"),
    "criterion": N_("Criterion"),
    "ratio": N_("Channels to leave"),
    "macs": N_("MACs to stay"),
    "protect_se": N_("Squeeze-excite"),
}


def spec(results: Results) -> Table:
    """One row a setting (role, model, recipe, method, T, α, λ, open layers, pruning), with its test accuracy.

    Bold is the best of each model on the same task; a column is there where some condition has what it is of.
    """
    settings = dict.fromkeys(map(setting, results.conditions))
    wheres = [dict(zip(SETTING, values, strict=True)) for values in settings]
    # Squeeze-excite only where it was done in both ways: else there may be no such bottlenecks to spare.
    least = dict.fromkeys(_HEADS, 1) | {"protect_se": 2}
    kept = [key for key in _HEADS if len({where[key] for where in wheres} - {None}) >= least[key]]
    rows = []
    for where in wheres:
        group = f"{where['model']}, source" if where["role"] == "source" else where["model"]
        rows.append(Row(label=_labels(results, where, kept), where=where, group=group))
    return Table(
        id="all_runs",
        title=translations("Every setting that was run: test accuracy (%)"),
        unit="percent",
        head=[translations(_HEADS[key]) for key in kept],
        columns=[Column(label=translations("Test accuracy"))],
        rows=rows,
        best="column",
    )


def _labels(results: Results, where: dict, kept: list[str]) -> list:
    def label(key: str) -> dict:
        return both(names.label, results.study, where[key])

    def number(key: str) -> dict | str:
        value = where[key]
        return "" if value is None else both(numbers.short, value)

    out = {key: number(key) for key in ("T", "alpha", "lam", "ratio", "macs")}
    out["criterion"] = label("criterion") if where["criterion"] else ""
    out["protect_se"] = _BOTTLENECKS[where["protect_se"]]
    out |= {"model": label("model"), "role": ROLES[where["role"]], "method": ""}
    if where["role"] in ("student", "distilled"):
        out["method"] = both(names.method, results.study, where["method"])
    out["recipe"] = both(names.recipe, results.study, where["recipe"])
    out["variant"] = both(lambda lang: layers(results.study, where["variant"], lang))
    return [translations(out[key]) if isinstance(out[key], Message) else out[key] for key in kept]
