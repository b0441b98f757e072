"""What git keeps of a study: no weights, no folders of a machine, no pictures twice."""

import json

import numpy as np
import pytest
from small_study import small_plan

from kdlib.errors import UserError
from kdlib.studies import records, runner
from kdlib.studies.publish import HEAVY, publish


@pytest.fixture(scope="module")
def published(tiny, tmp_path_factory):
    root = tmp_path_factory.mktemp("outputs")
    made = small_plan(tiny)
    runner.execute(made, root / "smoke" / "runs", "cpu")
    folder = root / "smoke" / "cnn_grid"
    records.write_arms(folder, made.arms, {"study": "cnn_grid", "profile": "smoke"})
    notebook = {"metadata": {"papermill": {"parameters": {"data_root": "/home/someone/images"}}}}
    (folder / "notebook.en.ipynb").write_text(json.dumps(notebook))
    # "cG5n" and "b3RoZXI=" are "png" and "other" in base64.
    pictures = "".join(f'<img src="data:image/png;base64,{data}">' for data in ("cG5n", "b3RoZXI="))
    (folder / "notebook.en.html").write_text(f"<p>data_root = /home/someone/images</p>{pictures}")
    (folder / "figures").mkdir()
    for name, size in {"maps": HEAVY + 1, "alone": HEAVY + 1, "curves": 100}.items():
        (folder / "figures" / f"{name}.svg").write_bytes(b" " * size)
    (folder / "figures" / "maps.png").write_bytes(b"maps")
    (folder / "figures" / "curves.png").write_bytes(b"png")
    target = root / "published"
    copy, size = publish("cnn_grid", "smoke", root, target)
    return made, root, copy, size


def test_records_leave_their_weights_behind(published):
    made, root, copy, size = published
    for id in made.runs:
        files = {path.name for path in (copy.parent / "runs" / id).iterdir()}
        assert files == {"run.json", "history.csv", "predictions.npz"}
        ours, theirs = (records.read(folder, id) for folder in (copy.parent / "runs", root / "smoke" / "runs"))
        assert ours.metrics == theirs.metrics
        assert np.array_equal(ours.correct(), theirs.correct())
    assert size == sum(path.stat().st_size for path in copy.parent.rglob("*") if path.is_file())


def test_pages_name_no_folder(published):
    copy = published[2]
    assert (copy / "notebook.en.html").read_text().startswith("<p>data_root = images</p>")
    assert not list(copy.glob("*.ipynb"))


def test_a_page_links_to_the_figures_beside_it_and_keeps_its_other_pictures(published):
    page = (published[2] / "notebook.en.html").read_text()
    assert page.endswith('<img src="figures/curves.png"><img src="data:image/png;base64,b3RoZXI=">')


def test_a_heavy_svg_stays_behind_where_its_png_is_there(published):
    names = {path.name for path in (published[2] / "figures").iterdir()}
    assert names == {"maps.png", "alone.svg", "curves.svg", "curves.png"}


def test_a_study_that_was_not_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="run 'kdlib run tr_kd --profile reduced' first"):
        publish("tr_kd", "reduced", tmp_path, tmp_path / "published")
