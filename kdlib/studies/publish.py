"""Copy a study's results to where git keeps them: all but the weights."""

import base64
import json
import shutil
from pathlib import Path

import numpy as np

from kdlib.errors import UserError
from kdlib.studies import records, schema

SMALL = 50_000  # logits of a test set; ROC curves and calibration need them
HEAVY = 500_000  # bytes of an SVG that holds pictures; its PNG is published alone


def publish(study: str, profile: str, source: Path, target: Path) -> tuple[Path, int]:
    """Copy records, tables, figures and the executed notebook as HTML to ``target/profile``.

    Records leave their weights behind, and test logits beyond ``SMALL`` numbers for the predicted class (uint8), which
    is all that tables, figures and intervals of accuracy need. Pages name no folder of this machine and link to the
    figures beside them. Returns the study's folder there and the bytes of study and records.
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
    for drawing in copy.rglob("*.svg"):
        if drawing.stat().st_size > HEAVY and drawing.with_suffix(".png").is_file():
            drawing.unlink()
    for page in copy.glob("notebook.*.html"):
        _forget_folders(page, folder / f"{page.stem}.ipynb")
        _link_figures(page)
    ours = [copy, *(runs / arm.id for arm in arms)]
    return copy, sum(f.stat().st_size for p in set(ours) for f in p.rglob("*") if f.is_file())


def _forget_folders(page: Path, notebook: Path) -> None:
    """Cut the folders that papermill was given, which its page shows, to their last part."""
    given = json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("papermill", {}).get("parameters", {})
    text = page.read_text(encoding="utf-8")
    for key in ("data_root", "source_root", "output_dir"):
        if given.get(key):
            text = text.replace(given[key], Path(given[key]).name)
    records.write_text(page, text)


def _link_figures(page: Path) -> None:
    """Have a page show the figures that lie beside it, in the place of its own copies: most of its bytes."""
    text = page.read_text(encoding="utf-8")
    for drawing in page.parent.glob("figures/*.png"):
        copied = f"data:image/png;base64,{base64.b64encode(drawing.read_bytes()).decode()}"
        text = text.replace(copied, f"figures/{drawing.name}")
    records.write_text(page, text)


def _publish_record(record: records.Record, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "history.csv"):
        shutil.copyfile(record.path / name, target / name)
    logits, labels = record.predictions()
    kept = {"logits": logits} if logits.size <= SMALL else {"top1": logits.argmax(axis=1).astype(np.uint8)}
    groups = record.groups()
    if groups is not None:
        kept["groups"] = groups.astype(np.int32)
    np.savez_compressed(target / "predictions.npz", labels=labels.astype(np.uint8), **kept)
