"""The table a report does not have: every setting that was run, whatever a reader swept."""

from __future__ import annotations

from kdlib.reporting import names, numbers
from kdlib.reporting.results import Results
from kdlib.studies.schema import LANGUAGES, Column, Row, Table

_ROLES = {
    "teacher": {"en": "teacher", "tr": "öğretmen"},
    "baseline": {"en": "alone", "tr": "tek başına"},
    "student": {"en": "distilled", "tr": "damıtılmış"},
}


def spec(results: Results) -> Table:
    """One row a setting (role, model, recipe, T, α, λ), with its test accuracy; best of each model in bold."""
    settings = dict.fromkeys((a.role, a.model, a.recipe, a.T, a.alpha, a.lam) for a in results.arms)
    keys = ("role", "model", "recipe", "T", "alpha", "lam")
    rows = []
    for setting in settings:
        where = dict(zip(keys, setting, strict=True))
        rows.append(Row(label=_labels(results, where), where=where, group=where["model"]))
    return Table(
        id="all_runs",
        title={
            "en": "Every setting that was run: test accuracy (%)",
            "tr": "Koşulan bütün ayarlar: test doğruluğu (%)",
        },
        unit="percent",
        head=[
            {"en": "Model", "tr": "Model"},
            {"en": "Training", "tr": "Eğitim"},
            {"en": "Recipe", "tr": "Reçete"},
            "T",
            "α",
            "λ",
        ],
        columns=[Column(label={"en": "Test accuracy", "tr": "Test doğruluğu"})],
        rows=rows,
        best="column",
    )


def _labels(results: Results, where: dict) -> list:
    def both(key: str) -> dict:
        return {lang: names.label(results.study, where[key], lang) for lang in LANGUAGES}

    def number(key: str) -> dict | str:
        value = where[key]
        return "" if value is None else {lang: numbers.short(value, lang) for lang in LANGUAGES}

    recipe = _ROLES["teacher"] if where["recipe"] == "teacher" else both("recipe")
    return [both("model"), _ROLES[where["role"]], recipe, number("T"), number("alpha"), number("lam")]
