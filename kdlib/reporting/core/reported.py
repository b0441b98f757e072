"""The accuracies that a study's report gives, cell by cell, and what each adds to the student alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kdlib.reporting.core import numbers
from kdlib.reporting.core.i18n import LANGS, both, text


class Given(NamedTuple):
    """A reported accuracy: how its table calls it, the runs it is of, the number, and its scale (1 or 100)."""

    label: dict[str, str]
    where: dict
    number: float
    scale: float


def given(study) -> dict[tuple, Given]:
    """Every accuracy in the study's own tables, once, by `key`; rows of other studies are theirs."""
    found: dict[tuple, Given] = {}
    for one in _cells(study):
        found.setdefault(key(one.where), one)  # two tables may give one cell
    return found


def _cells(study) -> Iterable[Given]:
    for table in study.tables:
        scale = 100.0 if table.unit == "percent" else 1.0
        for row in table.rows:
            if row.study or table.metric != "test_accuracy":
                continue
            for column, number in zip(table.columns, row.reported, strict=False):
                if number is not None:
                    labels = [*row.label, column.label] if len(table.columns) > 1 else row.label
                    where = {**row.where, **column.where}
                    yield Given(joined([localised(label) for label in labels]), where, number, scale)


def alone(found: dict[tuple, Given], where: dict) -> Given | None:
    """What the report gives for the same student without its teacher."""
    base = {k: where[k] for k in ("model", "recipe") if where.get(k) is not None}
    return found.get(key({**base, "role": "baseline"})) or found.get(key({"model": where["model"], "role": "baseline"}))


def key(where: dict) -> tuple:
    """What tells the runs of one `where` from those of another; numbers as numbers, unset ones left out."""
    role = where.get("role")
    where = {**where, "role": role[0] if isinstance(role, list) else role}
    said = {k: float(v) if isinstance(v, (int, float)) else v for k, v in where.items() if v is not None}
    return tuple(sorted((k, str(v)) for k, v in said.items()))


def localised(label) -> dict[str, str]:
    """A label in every language, plain numbers with the language's decimal mark."""
    return both(lambda lang: numbers.localised(text(label, lang), lang))


def joined(labels: list[dict[str, str]]) -> dict[str, str]:
    """Labels of a row and its column as one."""
    return {lang: " · ".join(label[lang] for label in labels) for lang in LANGS}
