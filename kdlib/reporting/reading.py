"""Open a study's folder, published or not, as results."""

from __future__ import annotations

from pathlib import Path

from kdlib.reporting.results import Results
from kdlib.studies import records, schema


def read(folder: str | Path) -> Results:
    """Return the results that ``outputs/<profile>/<study>`` lists, with their records from ``../runs``.

    Raises UserError where there is no ``runs.json``.
    """
    folder = Path(folder)
    arms, about = records.read_arms(folder)
    found = {arm.id: records.read(folder.parent / "runs", arm.id) for arm in arms}
    return Results(schema.load(about["study"]), arms, {id: r for id, r in found.items() if r}, about["profile"])
