"""Files that are whole or not there."""

import os

import pytest

from kdlib.files import cache_folder, make_room, sealed, unsealed, whole, write_text


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with whole(path) as aside:
        aside.write_text("after")
        assert path.read_text() == "before"
        with whole(path) as another:
            assert another.name != aside.name
            another.write_text("between")
        assert path.read_text() == "between"
    assert path.read_text() == "after"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_block_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def half():
        with whole(path) as aside:
            aside.write_text("af")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_the_longest_unused_go_first(tmp_path):
    for i, name in enumerate(("old", "middle", "new")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "x.npy"
        file.write_bytes(b"0" * 100)
        os.utime(file, (i, i))
    assert make_room(tmp_path, "*.npy", 50, 350)
    assert make_room(tmp_path, "*.npy", 60, 350, spared=tmp_path / "old")
    assert sorted(file.parent.name for file in tmp_path.rglob("*.npy")) == ["new", "old"]
    assert not make_room(tmp_path, "*.npy", 1000, 350)
    assert len(list(tmp_path.rglob("*.npy"))) == 2


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "kdlib"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "kdlib"


def test_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    write_text(path, "öğrenci")
    assert path.read_text(encoding="utf-8") == "öğrenci"

    def fail(*_):
        raise OSError("gone")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="gone"):
        write_text(path, "half")
    assert path.read_text(encoding="utf-8") == "öğrenci"


def test_a_seal_tells_damage():
    text = sealed({"mean": [0.5, 0.25], "name": "öğrenci"})
    assert unsealed(text) == {"mean": [0.5, 0.25], "name": "öğrenci"}
    with pytest.raises(ValueError, match="its checksum does not hold"):
        unsealed(text.replace("0.25", "0.26"))
    assert unsealed('{"earlier": 1}') == {"earlier": 1}
