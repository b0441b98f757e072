"""A pickle that would run code when it is loaded, wherever a file is loaded: it is refused, and nothing runs."""

import contextlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_study import small_plan

from kdlib import models, pruning
from kdlib.cli import main
from kdlib.data import store
from kdlib.data.images import Decoding, Depth, Files
from kdlib.errors import UserError
from kdlib.files import sealed
from kdlib.studies import artifacts, records, runner
from kdlib.training import Checkpoints, TeacherStore


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    """The file that must not appear; that loading would make it is shown first."""
    path = tmp_path / "owned"
    pickle.loads(pickle.dumps(Evil(path)))
    assert path.exists()
    path.unlink()
    yield path
    assert not path.exists()


def zipped(path: Path, content) -> Path:
    torch.save(content, path)
    return path


def legacy(path: Path, content) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def plain(path: Path, content) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def old_protocol(path: Path, content) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=0))
    return path


pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's, of what it then refuses
WRITERS = pytest.mark.parametrize("write", [zipped, legacy, plain, old_protocol])


@WRITERS
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_and_a_teacher_from_a_file(tmp_path, marker, one_line, write, suffix):
    state = models.build("cnn2", 10, 3).state_dict()
    for content in (Evil(marker), {"state_dict": {**state, "evil": Evil(marker)}}):
        path = write(tmp_path / f"teacher{suffix}", content)
        with pytest.raises(UserError, match="weights: "):
            models.checkpoint(path)
        asked = ["--dry-run", "--output-dir", str(tmp_path / "out"), "--set", f"weights={path}"]
        assert main(["run", "tr_kd", "--profile", "smoke", *asked]) == 2
        assert str(path) in one_line()


@WRITERS
def test_a_pruned_model(tmp_path, marker, write):
    content = {"format": "kdlib pruned model 1", "build": None, "history": [], "state_dict": {"a": Evil(marker)}}
    with pytest.raises(UserError, match="is no pruned model"):
        pruning.load(write(tmp_path / "pruned.pt", content))


@WRITERS
def test_a_checkpoint_of_a_training(tmp_path, marker, capsys, write):
    checkpoints = Checkpoints(tmp_path / "kept")
    checkpoints.folder.mkdir()
    state = {"format": "kdlib checkpoint 1", "runs": ["a"], "epoch": 1, "batch": 0, "learners": {"a": Evil(marker)}}
    write(checkpoints.path(["a"]), state)
    assert checkpoints.find(["a"]) == []
    assert "a checkpoint is damaged" in capsys.readouterr().err


@pytest.fixture(scope="module")
def executed(tiny, tmp_path_factory):
    runs = tmp_path_factory.mktemp("hostile") / "runs"
    plan = small_plan(tiny, T="1", alpha="0.1")
    runner.execute(plan, runs, "cpu")
    return plan, runs


def evil_array(marker: Path) -> np.ndarray:
    return np.array([Evil(marker)] * 16, dtype=object)


@pytest.mark.parametrize("checked", [False, True])
def test_a_record(executed, tmp_path, marker, one_line, checked):
    plan, runs = executed
    id = list(plan.runs)[-1]
    shutil.copytree(runs / id, tmp_path / id)
    if checked:  # whoever can write the files can write their checksums, or leave them out
        run = records.read(runs, id).run
        kept = {key: value for key, value in run.items() if key != "files"}
        (tmp_path / id / "run.json").write_text(sealed(kept))
    folder = tmp_path / id
    np.savez(
        folder / "predictions.npz", logits=evil_array(marker), labels=evil_array(marker), groups=evil_array(marker)
    )
    np.savez(folder / "scores.npz", conv=evil_array(marker))
    for name in ("model.safetensors", "cuts.json", "history.csv"):
        plain(folder / name, Evil(marker))
    found = records.read(tmp_path, id)
    for read in (found.predictions, found.correct, found.labels, found.groups, found.scores, found.weights, found.cuts):
        with pytest.raises(UserError, match="is damaged"):
            read()
    with contextlib.suppress(UserError):
        found.history()
    assert main(["export", str(folder), "--to", "safetensors", "--out", str(tmp_path / "x.safetensors")]) == 2
    one_line()


@WRITERS
def test_a_record_that_is_a_pickle(tmp_path, marker, write):
    (tmp_path / "abc").mkdir()
    write(tmp_path / "abc" / "run.json", Evil(marker))
    assert records.read(tmp_path, "abc") is None
    write(tmp_path / "runs.json", Evil(marker))
    with pytest.raises(UserError, match="is damaged"):
        records.read_conditions(tmp_path)
    write(tmp_path / records.PACKED, Evil(marker))
    with contextlib.suppress(UserError):
        assert records.read(records.runs_of(tmp_path), "abc") is None


@WRITERS
def test_a_file_to_predict_with(tmp_path, marker, one_line, write):
    path = write(tmp_path / "small.onnx", Evil(marker))
    assert main(["predict", str(path), str(tmp_path)]) == 2
    assert "is no ONNX file" in one_line()


def test_the_stores(tmp_path, marker, monkeypatch):
    logits = TeacherStore(tmp_path / "store", "teacher", 10**6)
    path = logits.path({}, 0)
    path.parent.mkdir(parents=True)
    np.save(path.with_name("0.00000000.npy"), evil_array(marker), allow_pickle=True)
    assert logits.read(path, (16, 1)) is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_WORTH", 1)
    image = tmp_path / "a.png"
    Image.new("RGB", (2, 2)).save(image)
    files = Files([image], Decoding(), "", Depth([image]))
    folder = tmp_path / "cache" / "kdlib" / "images"
    folder.mkdir(parents=True)
    for name in (f"{files.key}.00000000.npy", f"{files.key}.npy"):
        np.save(folder / name, evil_array(marker), allow_pickle=True)
    assert store.in_memory(files).tolist() == torch.zeros(1, 3, 2, 2).tolist()


def test_attention_maps(tmp_path, marker):
    np.savez(tmp_path / "attention.npz", asked=evil_array(marker), ids=evil_array(marker))
    with pytest.raises(UserError, match="is damaged"):
        artifacts.read(tmp_path / "attention.npz")
