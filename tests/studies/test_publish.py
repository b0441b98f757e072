"""What git keeps of a study: no weights, no page that can be made again, no figure twice, records in one file."""

import io
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from small_study import small_plan

from kdlib.errors import UserError
from kdlib.studies import records, runner
from kdlib.studies.publish import HEAVY, SMALL, _contents, publish, refresh


@pytest.fixture(scope="module")
def published(tiny, tmp_path_factory):
    root = tmp_path_factory.mktemp("outputs")
    made = small_plan(tiny)
    runner.execute(made, root / "smoke" / "runs", "cpu")
    folder = root / "smoke" / "cnn_grid"
    records.write_conditions(folder, made.conditions, {"study": "cnn_grid", "profile": "smoke"})
    for name in (
        "notebook.en.ipynb",
        "notebook.en.html",
        "findings.en.md",
        "tables/a.en.csv",
        "tables/a.en.md",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("words")
    (folder / "figures").mkdir()
    for name, size in {"maps": HEAVY + 1, "alone": HEAVY + 1, "curves": 100}.items():
        (folder / "figures" / f"{name}.svg").write_bytes(b" " * size)
    words = PngImagePlugin.PngInfo()
    words.add_itxt("Description", "Maps; ısı")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in ("maps", "curves"):
        Image.fromarray(noise).save(folder / "figures" / f"{name}.png", pnginfo=words, dpi=(150, 150))
    return made, root, *publish("cnn_grid", "smoke", root, root / "published")


def test_records_are_packed_without_their_weights(published):
    made, root, copy, size = published
    packed = records.runs_of(copy)
    for id in made.runs:
        assert {path.name for path in (packed / id).iterdir()} == {"run.json", "history.csv", "predictions.npz"}
        ours, theirs = records.read(packed, id), records.read(root / "smoke" / "runs", id)
        assert ours.metrics == theirs.metrics
        assert ours.history() == theirs.history()
        assert np.array_equal(ours.correct(), theirs.correct())
        with pytest.raises(UserError, match="published without its weights"):
            ours.weights()
    assert records.read(packed, "0" * 16) is None
    assert size == sum(path.stat().st_size for path in copy.rglob("*") if path.is_file())


def test_what_can_be_made_again_stays_behind(published):
    kept = {path.relative_to(published[2]).as_posix() for path in published[2].rglob("*") if path.is_file()}
    figures = {"figures/maps.png", "figures/alone.svg", "figures/curves.svg"}
    assert kept == {"runs.json", "records.zip", "findings.en.md", "tables/a.en.csv"} | figures


def test_a_heavy_figure_has_256_colours_and_its_words(published):
    with Image.open(published[2] / "figures" / "maps.png") as image:
        assert image.mode == "P"
        assert image.info["Description"] == "Maps; ısı"
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_the_same_records_give_the_same_bytes(published):
    _, root, copy, _ = published
    before = (copy / records.PACKED).read_bytes()
    again, _ = publish("cnn_grid", "smoke", root, root / "again")
    assert (again / records.PACKED).read_bytes() == before


def test_a_study_that_was_not_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="run 'kdlib run tr_kd --profile reduced' first"):
        publish("tr_kd", "reduced", tmp_path, tmp_path / "published")


def test_refreshing_puts_new_tables_in_place_and_keeps_the_records(published, tmp_path):
    copy, made = tmp_path / "smoke" / "cnn_grid", tmp_path / "made"
    shutil.copytree(published[2], copy)
    (made / "tables").mkdir(parents=True)
    (made / "tables" / "b.tr.csv").write_text("new")
    folder, size = refresh("cnn_grid", "smoke", made, tmp_path)
    kept = {path.relative_to(copy).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert kept == {"runs.json", "records.zip", "findings.en.md", "tables/b.tr.csv"}
    assert (copy / "records.zip").read_bytes() == (published[2] / "records.zip").read_bytes()
    assert size == sum(path.stat().st_size for path in copy.rglob("*") if path.is_file())


def test_classes_beyond_256_keep_their_numbers(tmp_path):
    labels = np.arange(400) % 300
    logits = np.eye(300, dtype=np.float32)[labels]
    (tmp_path / "history.csv").write_text("epoch")
    about = {"predictions": lambda: (logits, labels), "groups": lambda: None, "run": {}, "path": tmp_path}
    with np.load(io.BytesIO(_contents(SimpleNamespace(**about))["predictions.npz"])) as kept:
        assert logits.size > SMALL
        assert np.array_equal(kept["top1"], labels)
        assert np.array_equal(kept["labels"], labels)
