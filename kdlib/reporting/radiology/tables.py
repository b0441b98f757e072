"""The tables a radiologist asks for: test performance with intervals, confusion matrices, and what the parts hold."""

from __future__ import annotations

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.i18n import LANGS, N_, say, translations
from kdlib.reporting.core.table import Cell, Row, Table
from kdlib.reporting.radiology.findings import findings
from kdlib.reporting.radiology.metrics import RESAMPLES
from kdlib.reporting.radiology.models import ROLES, Clinic, Model, cases, gather, units
from kdlib.reporting.radiology.text import BOOK

__all__ = ["findings", "sheets"]

# Column -> what it is multiplied by, and its decimals: shares in per cent as the reports have them, the rest as it is.
COLUMNS = {
    "accuracy": (100, 2),
    "auroc": (1, 3),
    "sensitivity": (100, 1),
    "specificity": (100, 1),
    "f1": (1, 3),
    "ece": (1, 3),
}


def sheets(results) -> list[Table]:
    """Tables of a clinical study: test performance, confusion matrices, parts; [] for a study that is none.

    The first two need data of two classes and test logits on record; where these lack they are left out.
    """
    clinic = gather(results)
    if clinic is None:
        return []
    measured = [_performance(results, clinic), _confusion(results, clinic)] if clinic.first else []
    return [*measured, *_parts(results, clinic)]


def _labels(results, clinic: Clinic, model: Model) -> list:
    """Role and network; the recipe and setting too where the study has several of that role."""
    alike = [other.where for other in clinic.models if other.where["role"] == model.where["role"]]
    return [BOOK[model.where["role"]], {lang: _network(results, model.where, alike, lang) for lang in LANGS}]


def _network(results, where: dict, alike: list[dict], lang: str) -> str:
    parts = [names.label(results.study, where["model"], lang)]
    if len({other["recipe"] for other in alike}) > 1:
        parts.append(names.label(results.study, where["recipe"], lang))
    if len({tuple(other[key] for key in ("method", "T", "alpha", "lam")) for other in alike}) > 1:
        parts.append(names.setting(results, where, lang))
    return ", ".join(parts)


def _performance(results, clinic: Clinic) -> Table:
    reported = _reported(results)
    rows = []
    for model in clinic.models:
        cells = [_cell(model, name) for name in COLUMNS]
        if reported:  # a column of its own: the report gives accuracies alone
            cells.insert(1, Cell(reported.get(_key(model.where)), digits=2))
        rows.append(Row(_labels(results, clinic, model), cells))
    legend = translations(
        N_(
            "Mean ± standard deviation over seeds; brackets: 95% bootstrap interval of that mean over "
            "{units}, which does not hold the spread between seeds"
        )
        if clinic.several
        else N_("Brackets: 95% bootstrap interval over {units}"),
        units=lambda lang: units(clinic, lang),
    )
    notes = [
        translations(
            "Positive class: {positive}; threshold 0.5. Sensitivity: share of the images of {positive} "
            "that are found; specificity: share of the images of {negative} that are called so. AUROC: "
            "over all thresholds. ECE: expected calibration error, 15 equal bins (Guo et al. 2017); its "
            "interval leans upward, for drawing anew adds chance gaps.",
            positive=lambda lang: clinic.class_name(clinic.positive, lang),
            negative=lambda lang: clinic.class_name(1 - clinic.positive, lang),
        ),
        translations(
            N_(
                "Bootstrap: {draws} draws of single images, for the data name no patients; where a patient "
                "has several images the intervals are too narrow."
            )
            if clinic.patients is None
            else N_("Bootstrap: {draws} draws of whole patients, for images of one patient resemble each other."),
            draws=lambda lang: _draws(lang),
        ),
        *_caveats(clinic),
        _provenance(results),
    ]
    head, columns = [N_("Model"), N_("Network")], [BOOK[name] for name in COLUMNS]
    if reported:
        columns.insert(1, N_("Accuracy, reported (%)"))
    return Table(
        "clinical_test", N_("The three models on the test part"), head, columns, rows, legend, notes, results.study.name
    )


def _draws(lang: str) -> str:
    return numbers.integer(RESAMPLES, lang)


def _reported(results) -> dict[tuple, float]:
    """What the report gives, by the setting it stands beside: those of the study's first case."""
    given = results.study.clinical.reported
    first = next(iter(cases(results, {})), None)
    return {_key(where): given[role] for role, where in first.wheres.items() if role in given} if first else {}


def _key(where: dict) -> tuple:
    return tuple(where.items())


def _cell(model: Model, name: str) -> Cell:
    scale, digits = COLUMNS[name]
    found, interval = model.estimate(name), model.interval(name)
    return Cell(
        number=None if found.mean is None else scale * found.mean,
        digits=digits,
        sd=None if found.sd is None else scale * found.sd,
        interval=None if interval is None else (scale * interval[0], scale * interval[1]),
        mark=f" †{model.diverged}" if model.diverged and name == "accuracy" else "",
    )


def _caveats(clinic: Clinic) -> list[dict[str, str]]:
    out = []
    if not clinic.named:
        asked = clinic.study.clinical.positive
        out.append(
            translations(
                "The data have no class “{asked}”, which the study names; {positive} is taken for the positive class.",
                asked=asked,
                positive=lambda lang: clinic.class_name(clinic.positive, lang),
            )
        )
    if any(model.diverged for model in clinic.models):
        out.append(N_("† n: so many runs diverged; they enter no number."))
    if unread := sum(model.unread for model in clinic.models):
        out.append(
            translations("Runs published without their test logits: {n}; they cannot be measured here.", n=unread)
        )
    return out


def _provenance(results) -> dict[str, str]:
    return {lang: names.provenance(results, lang) for lang in LANGS}


def _confusion(results, clinic: Clinic) -> Table:
    rows = []
    order = (1 - clinic.positive, clinic.positive)
    for model in clinic.models:
        if not model.by_seed:
            continue
        counts = sum(of.counts for of in model.by_seed.values())
        label = _labels(results, clinic, model)
        for k, line in zip(order, counts, strict=True):
            cells = [{lang: _counted(count, line.sum(), lang) for lang in LANGS} for count in line]
            rows.append(Row([*label, _named(clinic, k)], cells))
    seeds = max(len(model.by_seed) for model in clinic.models)
    legend = (
        translations(
            "Images and, in parentheses, their share of the row; threshold 0.5; summed over {n} seeds", n=seeds
        )
        if seeds > 1
        else N_("Images and, in parentheses, their share of the row; threshold 0.5")
    )
    head = [N_("Model"), N_("Network"), N_("True class")]
    columns = [translations("Called {name}", name=lambda lang, k=k: clinic.class_name(k, lang)) for k in order]
    notes = [*_caveats(clinic), _provenance(results)]
    return Table(
        "clinical_confusion",
        N_("Confusion matrices, test part"),
        head,
        columns,
        rows,
        legend,
        notes,
        results.study.name,
    )


def _named(clinic: Clinic, k: int) -> dict[str, str]:
    return {lang: clinic.class_name(k, lang) for lang in LANGS}


def _counted(count: int, of: int, lang: str) -> str:
    share = numbers.percent(count / of if of else None, 1, lang)
    return f"{numbers.integer(int(count), lang)} ({share})"


def _parts(results, clinic: Clinic) -> list[Table]:
    """The table of class counts; [] where the records do not hold them, as older ones do not."""
    data = next(record for role in ROLES for _, record in results.select(role=role)).run["dataset"]
    if not (counts := data.get("class_counts")):
        return []
    patients = data.get("group_counts") or {}
    rows = []
    for part in ("train", "val", "test"):
        line, total = counts[part], sum(counts[part])
        cells = [Cell(total, kind="count"), *(Cell(count, kind="count") for count in line)]
        cells.append(Cell(line[clinic.positive] / total if total else None, digits=1, kind="percent"))
        rows.append(Row([BOOK[part]], [*cells, Cell(patients.get(part), kind="count")]))
    share = translations("Share of {name}", name=lambda lang: clinic.class_name(clinic.positive, lang))
    classes = [_named(clinic, k) for k in range(len(clinic.classes))]
    columns = [N_("Images"), *classes, share, N_("Patients")]
    said = [dict.fromkeys(LANGS, line) for line in data.get("notes", ())]
    notes = [
        *_weights(results),
        translations(
            N_("Validation is held out by patient: no patient is both in training and in validation.")
            if patients
            else N_("The data name no patients: images of one patient may lie in several parts.")
        ),
        *said,
        _provenance(results),
    ]
    title, legend = N_("Images, classes and patients of each part"), N_("Numbers of images and of patients")
    return [Table("clinical_parts", title, [N_("Part")], columns, rows, legend, notes, results.study.name)]


def _weights(results) -> list[dict[str, str]]:
    """How imbalance was handled, by the recipes of the runs."""
    found: dict[str, list[str]] = {}
    for role in ROLES:
        for _, record in results.select(role=role):
            used = (record.run.get("config", {}).get("recipe") or {}).get("class_weights", "none")
            if role not in found.setdefault(used, []):
                found[used].append(role)
    if len(found) == 1:
        return [translations(BOOK[f"weights_{next(iter(found))}"])]
    listed = {
        used: lambda lang, roles=roles: ", ".join(say(BOOK[r], lang) for r in roles) for used, roles in found.items()
    }
    return [translations("Imbalance: class weights in the cross-entropy for {balanced}; none for {none}.", **listed)]
