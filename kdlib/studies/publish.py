"""Copy a study's results to where git keeps them: all but the weights."""

import shutil
from pathlib import Path

import numpy as np

from kdlib.errors import UserError
from kdlib.studies import records, schema


def publish(study: str, profile: str, source: Path, target: Path) -> tuple[Path, int]:
    """Copy records, tables, figures and the executed notebook as HTML to ``target/profile``.

    Records leave their weights behind, and their test logits for the predicted class (uint8), which is all that
    tables, figures and intervals need. Returns the study's folder there and the bytes of study and records.
    """
    schema.load(study)
    folder = source / profile / study
    if not folder.is_dir():
        raise UserError(f"{folder} is not there; run 'kdlib run {study} --profile {profile}' first")
    arms, _ = records.read_arms(folder)
    runs, copy = target / profile / "runs", target / profile / study
    for id in sorted({arm.id for arm in arms}):
        record = records.read(source / profile / "runs", id)
        if record is None:
            raise UserError(f"record {id} of {study} is not there; run the study again")
        _publish_record(record, runs / id)
    shutil.rmtree(copy, ignore_errors=True)
    hidden_or_half = shutil.ignore_patterns(".*", "*.failed.ipynb", "*.ipynb")
    shutil.copytree(folder, copy, ignore=hidden_or_half)
    ours = [copy, *(runs / arm.id for arm in arms)]
    return copy, sum(f.stat().st_size for p in set(ours) for f in p.rglob("*") if f.is_file())


def _publish_record(record: records.Record, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "history.csv"):
        shutil.copyfile(record.path / name, target / name)
    logits, labels = record.predictions()
    np.savez_compressed(
        target / "predictions.npz",
        top1=logits.argmax(axis=1).astype(np.uint8),
        labels=labels.astype(np.uint8),
    )
