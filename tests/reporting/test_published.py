"""Every table in outputs/published comes out of the committed records again, cell by cell, in both languages."""

import csv
import io
from pathlib import Path

import pytest

from kdlib import reporting

PUBLISHED = Path(__file__).resolve().parents[2] / "outputs" / "published"
STUDIES = sorted(path.parent for path in PUBLISHED.glob("*/*/runs.json"))


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))


def test_there_is_something_published():
    assert len(STUDIES) >= 12


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_every_table_is_what_its_records_say(folder):
    committed = {path.name: path for path in (folder / "tables").glob("*.csv")}
    made = {}
    for table in reporting.tables(reporting.read(folder)):
        for lang in ("en", "tr"):
            made[f"{table.id}.{lang}.csv"] = table.csv(lang)
    assert set(made) == set(committed)
    for name, text in made.items():
        assert cells(text) == cells(committed[name].read_text(encoding="utf-8")), name
