"""Copy a study's results to where git keeps them: what a reader opens, and all that it can be made of again."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from kdlib.errors import UserError
from kdlib.files import sealed
from kdlib.studies import records, schema

SMALL = 50_000  # logits of a test set; ROC curves and calibration need them
HEAVY = 500_000  # bytes of an SVG that holds pictures; its PNG is published in its place
KEPT = ("*.json", "*.npz", "findings.*.md", "tables/*.csv", "tables/*.tex", "figures/*.svg", "figures/*.json")


def publish(study: str, profile: str, source: Path, target: Path) -> tuple[Path, int]:
    """Copy tables (CSV, LaTeX), figures, findings and records to ``target/profile/study``.

    A figure is published once, as SVG, or as PNG where that would be heavy. Records are packed into one file: without
    their weights, and test logits beyond ``SMALL`` numbers left out for the predicted class (uint8), which is all that
    tables, figures and intervals of accuracy need. Other forms of tables and the notebook's page can be made from them
    again. Returns the study's folder there and its bytes.
    """
    schema.load(study)
    folder = source / profile / study
    if not folder.is_dir():
        raise UserError(f"{folder} is not there; run 'kdlib run {study} --profile {profile}' first")
    conditions, _ = records.read_conditions(folder)
    runs, copy = records.runs_of(folder), target / profile / study
    found = {id: records.read(runs, id) for id in sorted({condition.id for condition in conditions})}
    for id, record in found.items():
        if record is None:
            raise UserError(f"record {id} of {study} is not there; run the study again")
    aside = _aside(copy)
    _copy(folder, aside)
    with zipfile.ZipFile(aside / records.PACKED, "w", zipfile.ZIP_DEFLATED) as packed:
        for record in found.values():
            for name, content in _contents(record).items():
                # Without a date the same records give the same bytes.
                packed.writestr(zipfile.ZipInfo(f"{record.id}/{name}"), content, zipfile.ZIP_DEFLATED)
    return _in_place(aside, copy)


def refresh(study: str, profile: str, made: Path, target: Path) -> tuple[Path, int]:
    """Put tables, figures and findings that lie in ``made`` in the place of a published study's; its records stay.

    Returns the study's folder there and its bytes.
    """
    copy = target / profile / study
    aside = _aside(copy)
    _copy(made, aside)
    for path in (path for path in copy.iterdir() if path.is_file() and not (aside / path.name).exists()):
        shutil.copyfile(path, aside / path.name)
    return _in_place(aside, copy)


def _aside(copy: Path) -> Path:
    aside = copy.with_name(f".half-{copy.name}")
    shutil.rmtree(aside, ignore_errors=True)
    return aside


def _copy(folder: Path, aside: Path) -> None:
    for path in (path for pattern in KEPT for path in sorted(folder.glob(pattern))):
        (aside / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".svg" and path.stat().st_size > HEAVY and path.with_suffix(".png").is_file():
            _in_few_colours(path.with_suffix(".png"), aside / path.relative_to(folder).with_suffix(".png"))
        else:
            shutil.copyfile(path, aside / path.relative_to(folder))


def _in_place(aside: Path, copy: Path) -> tuple[Path, int]:
    shutil.rmtree(copy, ignore_errors=True)
    aside.rename(copy)
    return copy, sum(file.stat().st_size for file in copy.rglob("*") if file.is_file())


def _contents(record: records.Record) -> dict[str, bytes]:
    logits, labels = record.predictions()
    number = np.min_scalar_type(logits.shape[1] - 1)  # of a class
    kept = {"logits": logits} if logits.size <= SMALL else {"top1": logits.argmax(axis=1).astype(number)}
    groups = record.groups()
    if groups is not None:
        kept["groups"] = groups.astype(np.int32)
    arrays = io.BytesIO()
    np.savez_compressed(arrays, labels=labels.astype(number), **kept)
    # The files' checksums are of what is not packed, or not as it was; a ZIP has its own.
    run = {key: value for key, value in record.run.items() if key != "files"}
    texts = {"run.json": sealed(run).encode(), "history.csv": (record.path / "history.csv").read_bytes()}
    return {**texts, "predictions.npz": arrays.getvalue()}


def _in_few_colours(source: Path, target: Path) -> None:
    """Copy a PNG in a palette of 256 colours, a third of its bytes, its words kept."""
    with Image.open(source) as image:
        words = PngImagePlugin.PngInfo()
        for key, text in image.info.items():
            if isinstance(text, str):
                words.add_itxt(key, text)
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(target, pnginfo=words, dpi=image.info.get("dpi"), optimize=True)
