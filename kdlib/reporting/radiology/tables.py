"""The tables a radiologist asks for: test performance with intervals, confusion matrices, and what the parts hold."""

from __future__ import annotations

from functools import partial

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.i18n import N_, both, say, translations
from kdlib.reporting.core.table import Cell, Row, Table, estimate_cell
from kdlib.reporting.radiology.metrics import RESAMPLES
from kdlib.reporting.radiology.study import ROLES, Model, RadiologyStudy, read

# Metric -> column, factor, decimals: shares in per cent as the reports have them, the rest as it is.
COLUMNS = {
    "accuracy": (N_("Accuracy (%)"), 100, 2),
    "auroc": (N_("AUROC"), 1, 3),
    "sensitivity": (N_("Sensitivity (%)"), 100, 1),
    "specificity": (N_("Specificity (%)"), 100, 1),
    "f1": (N_("F1"), 1, 3),
    "ece": (N_("ECE"), 1, 3),
}
PARTS = {"train": N_("Training"), "val": N_("Validation"), "test": N_("Test")}
WEIGHTS = {
    "none": N_("Imbalance: not corrected; the loss weighs every image alike."),
    "balanced": N_("Imbalance: the cross-entropy weighs each class by the inverse of its share of the training part."),
}


def sheets(results) -> list[Table]:
    """Tables of a radiology study: test performance, confusion matrices, parts; [] for a study that is none.

    The first two need data of two classes and test logits on record, the last records that count classes; where these
    lack they are left out.
    """
    study = read(results)
    if study is None:
        return []
    measured = [_performance(study), _confusion(study)] if study.first else []
    counted = [_parts(study)] if study.dataset.get("class_counts") else []
    return measured + counted


def _table(study: RadiologyStudy, id: str, title: str, head: list, columns: list, rows: list, legend, notes) -> Table:
    notes = [*notes, both(names.provenance, study.results)]
    return Table(id, title, head, columns, rows, legend, notes, study.study.name)


def _labels(study: RadiologyStudy, model: Model) -> list:
    """Role and network; the recipe and setting too where the study has several of that role."""
    return [ROLES[model.role], both(_network, study, model)]


def _network(study: RadiologyStudy, model: Model, lang: str) -> str:
    alike = [other.where for other in study.models if other.role == model.role]
    parts = [names.label(study.study, model.where["model"], lang)]
    if len({other["recipe"] for other in alike}) > 1:
        parts.append(names.label(study.study, model.where["recipe"], lang))
    if len({tuple(other[key] for key in ("method", "T", "alpha", "lam")) for other in alike}) > 1:
        parts.append(names.setting(study.results, model.where, lang))
    return ", ".join(parts)


def _performance(study: RadiologyStudy) -> Table:
    head, columns = [N_("Model"), N_("Network")], [label for label, _, _ in COLUMNS.values()]
    rows = [Row(_labels(study, model), [_cell(model, name) for name in COLUMNS]) for model in study.models]
    if reported := _reported(study):  # a column of its own: the report gives accuracies alone
        columns.insert(1, N_("Accuracy, reported (%)"))
        for model, row in zip(study.models, rows, strict=True):
            row.cells.insert(1, Cell(reported.get(model), digits=2))
    legend = translations(
        N_(
            "Mean ± standard deviation over seeds; brackets: 95% bootstrap interval of that mean over "
            "{units}, which does not hold the spread between seeds"
        )
        if study.several
        else N_("Brackets: 95% bootstrap interval over {units}"),
        units=study.units,
    )
    notes = [
        translations(
            "Positive class: {positive}; threshold 0.5. Sensitivity: share of the images of {positive} "
            "that are found; specificity: share of the images of {negative} that are called so. AUROC: "
            "over all thresholds. ECE: expected calibration error, 15 equal bins (Guo et al. 2017); its "
            "interval leans upward, for drawing anew adds chance gaps.",
            positive=partial(study.class_name, study.positive),
            negative=partial(study.class_name, 1 - study.positive),
        ),
        translations(
            N_(
                "Bootstrap: {draws} draws of single images, for the data name no patients; where a patient "
                "has several images the intervals are too narrow."
            )
            if study.patients is None
            else N_("Bootstrap: {draws} draws of whole patients, for images of one patient resemble each other."),
            draws=partial(numbers.integer, RESAMPLES),
        ),
        *_caveats(study),
    ]
    return _table(study, "clinical_test", N_("The three models on the test part"), head, columns, rows, legend, notes)


def _reported(study: RadiologyStudy) -> dict[Model, float]:
    """What the report gives, by the model it stands beside: those of the study's first case."""
    given = study.study.clinical.reported
    return {model: given[role] for case in study.cases[:1] for role, model in case.models.items() if role in given}


def _cell(model: Model, name: str) -> Cell:
    _, scale, digits = COLUMNS[name]
    interval = model.interval(name)
    interval = interval and (scale * interval[0], scale * interval[1])
    mark = f" †{model.diverged}" if model.diverged and name == "accuracy" else ""
    return estimate_cell(model.estimate(name), scale, digits, interval=interval, mark=mark)


def _caveats(study: RadiologyStudy) -> list[dict[str, str]]:
    out = []
    if not study.named:
        out.append(
            translations(
                "The data have no class “{asked}”, which the study names; {positive} is taken for the positive class.",
                asked=study.study.clinical.positive,
                positive=partial(study.class_name, study.positive),
            )
        )
    if any(model.diverged for model in study.models):
        out.append(N_("† n: so many runs diverged; they enter no number."))
    if unread := sum(model.unread for model in study.models):
        out.append(
            translations("Runs published without their test logits: {n}; they cannot be measured here.", n=unread)
        )
    return out


def _confusion(study: RadiologyStudy) -> Table:
    rows, order = [], (1 - study.positive, study.positive)
    for model in study.models:
        if not model.by_seed:
            continue
        counts = sum(of.counts for of in model.by_seed.values())
        for k, line in zip(order, counts, strict=True):
            cells = [both(_counted, count, line.sum()) for count in line]
            rows.append(Row([*_labels(study, model), both(study.class_name, k)], cells))
    legend = translations(
        N_("Images and, in parentheses, their share of the row; threshold 0.5; summed over {n} seeds")
        if study.several
        else N_("Images and, in parentheses, their share of the row; threshold 0.5"),
        n=max(len(model.by_seed) for model in study.models),
    )
    head, title = [N_("Model"), N_("Network"), N_("True class")], N_("Confusion matrices, test part")
    columns = [translations("Called {name}", name=partial(study.class_name, k)) for k in order]
    return _table(study, "clinical_confusion", title, head, columns, rows, legend, _caveats(study))


def _counted(count: int, of: int, lang: str) -> str:
    share = numbers.percent(count / of if of else None, 1, lang)
    return f"{numbers.integer(int(count), lang)} ({share})"


def _parts(study: RadiologyStudy) -> Table:
    """How many images of each class, and of how many patients, each part has."""
    data, positive = study.dataset, study.positive
    patients, rows = data.get("group_counts") or {}, []
    for part, label in PARTS.items():
        line = data["class_counts"][part]
        counts = [Cell(count, kind="count") for count in (sum(line), *line)]
        share = Cell(line[positive] / sum(line) if any(line) else None, digits=1, kind="percent")
        rows.append(Row([label], [*counts, share, Cell(patients.get(part), kind="count")]))
    share = translations("Share of {name}", name=partial(study.class_name, positive))
    classes = [both(study.class_name, k) for k in range(len(study.classes))]
    columns = [N_("Images"), *classes, share, N_("Patients")]
    notes = [
        _weights(study),
        N_("Validation is held out by patient: no patient is both in training and in validation.")
        if patients
        else N_("The data name no patients: images of one patient may lie in several parts."),
        *data.get("notes", ()),
    ]
    title, legend = N_("Images, classes and patients of each part"), N_("Numbers of images and of patients")
    return _table(study, "clinical_parts", title, [N_("Part")], columns, rows, legend, notes)


def _weights(study: RadiologyStudy) -> dict[str, str]:
    """How imbalance was handled, by the recipes of the runs."""
    found: dict[str, dict] = {}  # class weights -> the roles that have them, each once
    for role in ROLES:
        for _, record in study.results.select(role=role):
            used = (record.run.get("config", {}).get("recipe") or {}).get("class_weights", "none")
            found.setdefault(used, {})[role] = True
    if len(found) == 1:
        return translations(WEIGHTS[next(iter(found))])
    listed = {
        used: lambda lang, roles=roles: ", ".join(say(ROLES[role], lang) for role in roles)
        for used, roles in found.items()
    }
    return translations("Imbalance: class weights in the cross-entropy for {balanced}; none for {none}.", **listed)
