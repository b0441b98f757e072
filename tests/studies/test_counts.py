"""Counts that are kept: the same answer, made once, and anew when kdlib or the model's code changes."""

import pytest

from kdlib import models
from kdlib.files import cache_folder
from kdlib.studies import counts


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(counts, "_here", {})


def counting(name, num_classes, in_channels, *asked):
    counting.calls.append((name, num_classes, in_channels, *asked))
    return {"answer": len(counting.calls)}


@pytest.fixture(autouse=True)
def calls():
    counting.calls = []
    return counting.calls


def test_counted_once_by_what_is_asked(calls):
    assert counts.kept(counting, "cnn2", 10, 3, 32) == {"answer": 1}
    assert counts.kept(counting, "cnn2", 10, 3, 32) == {"answer": 1}
    assert counts.kept(counting, "cnn2", 10, 3, 64) == {"answer": 2}
    assert calls == [("cnn2", 10, 3, 32), ("cnn2", 10, 3, 64)]


def test_another_process_reads_what_was_counted(calls):
    counts.kept(counting, "cnn2", 10, 3)
    counts._here.clear()
    assert counts.kept(counting, "cnn2", 10, 3) == {"answer": 1}
    (file,) = (cache_folder() / "counts").iterdir()
    assert file.read_text().endswith(' {"answer": 1}')


def test_half_a_file_is_counted_again():
    counts.kept(counting, "cnn2", 10, 3)
    (file,) = (cache_folder() / "counts").iterdir()
    file.write_text(file.read_text()[:-1])
    counts._here.clear()
    assert counts.kept(counting, "cnn2", 10, 3) == {"answer": 2}


def test_the_store_can_be_off(monkeypatch):
    monkeypatch.setenv("KDLIB_NO_STORE", "1")
    assert counts.kept(counting, "cnn2", 10, 3) == {"answer": 1}
    assert not (cache_folder() / "counts").exists()


def test_a_model_registered_anew_is_counted_anew(monkeypatch):
    from torch import nn

    monkeypatch.setattr(models.registry, "_BUILDERS", dict(models.registry._BUILDERS))
    models.register("mine", lambda num_classes, in_channels: nn.Sequential(nn.Flatten(), nn.Linear(4, num_classes)))
    counts.kept(counting, "mine", 2, 1)
    models.register("mine", lambda num_classes, in_channels: nn.Sequential(nn.Flatten(), nn.Linear(9, num_classes)))
    assert counts.kept(counting, "mine", 2, 1) == {"answer": 2}


def test_the_source_is_that_of_kdlibs_files(tmp_path, monkeypatch):
    for text in ("a = 1", "a = 2"):
        (tmp_path / text).mkdir()
        (tmp_path / text / "a.py").write_text(text)
    first, second = (counts._hash(tmp_path / text) for text in ("a = 1", "a = 2"))
    assert first != second
    counts.kept(counting, "cnn2", 10, 3)
    monkeypatch.setattr(counts, "source", lambda: "changed")
    assert counts.kept(counting, "cnn2", 10, 3) == {"answer": 2}
