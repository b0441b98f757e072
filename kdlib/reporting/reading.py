"""Open a study's folder, published or not, as results."""

from __future__ import annotations

from pathlib import Path

from kdlib.reporting.core.results import Results
from kdlib.studies import records, schema


def read(folder: str | Path) -> Results:
    """Return the results that ``outputs/<profile>/<study>`` lists, with their records from ``../runs``
    (published, from ``records.zip``).

    The studies that stand beside it come from the folders next to it, as far as they have been run. Raises UserError
    where there is no ``runs.json``.
    """
    folder = Path(folder)
    results = _one(folder)
    for name in results.study.beside:
        if (folder.parent / name / "runs.json").is_file():
            results.beside[name] = _one(folder.parent / name)  # without its own: two may name each other
    return results


def _one(folder: Path) -> Results:
    conditions, about = records.read_conditions(folder)
    runs = records.runs_of(folder)
    found = {one.id: record for one in conditions if (record := records.read(runs, one.id))}
    study, profile = schema.load(about["study"]), about["profile"]
    asked = {name: value for name, value in (about.get("parameters") or {}).items() if name in study.takes}
    called = study.with_(profile, asked)
    seeds = {"seeds": asked.pop("seeds")} if "seeds" in asked else {}  # how many is no other setting
    changed = sorted(asked) if called != study.with_(profile, seeds) else []
    # Of a study that prunes the call may have asked for another ratio or other criteria than the report's.
    return Results(called if study.timed else study, conditions, found, profile, folder, changed=changed)
