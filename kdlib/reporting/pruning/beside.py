"""Tables that set a pruning study beside others, and the counts of the architecture beside the report's."""

from __future__ import annotations

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.i18n import LANGS, N_, say, translations
from kdlib.reporting.core.table import Cell, Row, Table
from kdlib.reporting.pruning.cells import accuracy, as_reported, beside, change, named, provenance, spread
from kdlib.reporting.pruning.runs import Pruning, percent, read
from kdlib.reporting.pruning.text import BOOK


def neighbours(study: Pruning) -> list[Pruning]:
    """The pruning studies beside this one that have runs at the report's setting."""
    found = [read(results) for results in study.results.beside.values()]
    return [one for one in found if one and one.criteria("report")]


def strategies(study: Pruning) -> Table | None:
    """Layer-wise beside global, and one network beside the other: accuracy, its change, and the change of size."""
    others = neighbours(study)
    if not others or not study.criteria("report"):
        return None
    rows = []
    for criterion in study.criteria("report"):
        for one in (study, *others):
            if criterion in one.criteria("report"):
                labels = [
                    named(study, criterion),
                    named(one, one.spec.model),
                    {lang: one.scope(lang) for lang in LANGS},
                ]
                rows.append(Row(labels, _beside(one, criterion), criterion))
    head = [BOOK[key] for key in ("criterion", "model", "scope")]
    columns = [BOOK[key] for key in ("accuracy", "accuracy_loss", "size_change")]
    notes = [
        N_("Accuracy change is against each network's own original."),
        *(_from(one) for one in (study, *others)),
        *_missing(study),
    ]
    return Table(
        "strategies",
        N_("Strategies and networks beside each other, after fine-tuning"),
        head,
        columns,
        rows,
        spread(study),
        notes,
        study.study.name,
    )


def _beside(one: Pruning, criterion: str) -> list[Cell]:
    cell = one.cell("finetuned", criterion, "report")
    lost = None if one.original.mean is None else 100 * (cell.mean - one.original.mean)
    cells = {"accuracy": accuracy(cell), "loss": Cell(lost, 2, "signed")}
    cells["size_change"] = change(one.left("size_bytes", criterion, "report"))
    return [beside(cell, one.reported(criterion, key)) for key, cell in cells.items()]


def _from(one: Pruning) -> dict[str, str]:
    name = one.study.name
    return {
        lang: say("Study {study}. {provenance}", lang, study=name, provenance=provenance(one)[lang]) for lang in LANGS
    }


def _missing(study: Pruning) -> list[dict[str, str]]:
    profile = study.results.profile
    return [
        translations(
            "Not shown, for it has not been run in profile {profile}: study {study}. To run it: {command}",
            study=name,
            profile=profile,
            command=f"kdlib run {name} --profile {profile}",
        )
        for name in study.study.beside
        if name not in study.results.beside
    ]


def reference(study: Pruning) -> Table | None:
    """The architecture with the report's classes at its image size, unpruned and pruned layer by layer."""
    found = (study.measured or {}).get("reference") or []
    whole = next((one for one in found if one["scope"] is None), None)
    if whole is None:
        return None
    report = as_reported(study.study.name) or study.spec
    model = (study.measured["asked"].get("counted") or [study.spec.model])[0]
    given, rows, matching = layerwise_reported(study, model), [], []
    original = report.reported.get("original") if report.model == model else None
    for one in found:
        changed = None if one is whole else 100 * (one["size_mib"] / whole["size_mib"] - 1)
        size = Cell(one["size_mib"], 2)
        flops = Cell(one["macs_thop"] / 1e9, 2)
        cells = [size, Cell(changed, 2, "signed"), flops]
        if one is whole:
            cells = [beside(size, getattr(original, "size_mb", None)), Cell()]
            cells.append(beside(flops, getattr(original, "flops_g", None)))
        elif given is not None and one["ratio"] == report.ratio:
            cells[1] = Cell(changed, 2, "signed", reported=given, reported_digits=1)
            # As printed: -18.75 comes to a reported -18.8, whichever way its next decimals lean.
            if numbers.rounded(abs(changed - given), 2) <= 0.05:
                matching.append(one)
        rows.append(Row([{lang: _structure(one, lang) for lang in LANGS}], cells))
    said = {"model": lambda lang: names.label(study.study, model, lang)}
    said |= {"classes": study.spec.num_classes, "size": f"{study.spec.image_size}×{study.spec.image_size}"}
    notes = [
        N_(
            "Counted, not trained: layer by layer the same share leaves every layer, whatever the "
            "weights, so these numbers hold for any training and can be checked against the report's."
        )
    ]
    if len(matching) == 1:
        change_said, row = (lambda lang: numbers.signed(given, 1, lang)), (lambda lang: _structure(matching[0], lang))
        notes.append(
            translations(
                "One row comes to the report's change of size ({change}%): {row}.", change=change_said, row=row
            )
        )
    counted = ", ".join(f"{name} {number}" for name, number in study.measured["packages"].items())
    notes += [
        N_("Size counts parameters and buffers, in MiB (2²⁰ bytes)."),
        translations("Counted with {packages}.", packages=counted),
    ]
    columns = [BOOK[key] for key in ("size", "size_change", "flops")]
    title = translations("What the architecture itself gives: {model}, {classes} classes, {size}", **said)
    head = [N_("Structure")]
    return Table("reference", title, head, columns, rows, "", notes, study.study.name)


def layerwise_reported(study: Pruning, model: str) -> float | None:
    """The change of size (%) that a report gives for layer-wise pruning of a network; None where none gives it.

    Layer by layer every criterion removes as many channels, so one number stands for all.
    """
    for spec in (as_reported(study.study.name) or study.spec, *map(as_reported, study.study.beside)):
        if spec and spec.scope == "layerwise" and spec.model == model:
            given = {getattr(row, "size_change", None) for row in spec.reported.values()} - {None}
            if len(given) == 1:
                return given.pop()
    return None


def _structure(one: dict, lang: str) -> str:
    if one["scope"] is None:
        return say("unpruned", lang)
    se = (
        ""
        if one["protect_se"] is None
        else say(N_(", squeeze-excite protected") if one["protect_se"] else N_(", squeeze-excite open"), lang)
    )
    said = {"scope": say(BOOK[f"scope_{one['scope']}"], lang), "se": se}
    said["ratio"] = say("{ratio} of channels", lang, ratio=percent(one["ratio"], lang))
    return say("{scope}, {ratio}{se}", lang, **said)
