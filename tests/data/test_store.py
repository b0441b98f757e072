"""Decoded images on disk: the same pixels, no second decoding, and nothing where it is not wanted."""

import os

import pytest
import torch
from PIL import Image
from trees import two_classes

from kdlib.data import load, store
from kdlib.data.images import Files


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_WORTH", 10)
    return tmp_path / "cache" / "kdlib" / "images"


@pytest.fixture
def tree(tmp_path):
    """Two classes, 15 + 15 training and 10 + 10 test images of 12×10 pixels."""
    return two_classes(tmp_path / "data", train=15, test=10)


@pytest.fixture
def decoded(monkeypatch):
    """How many files each decoding was of."""
    calls, inner = [], Files.decode
    monkeypatch.setattr(Files, "decode", lambda files, take: (calls.append(len(files)), inner(files, take))[1])
    return calls


def read(tree, **options):
    return load("folder", data_root=tree, image_size=8, **options)


def same(a, b) -> bool:
    splits = [(getattr(a, part), getattr(b, part)) for part in ("train", "val", "test")]
    return a.fingerprint == b.fingerprint and all(torch.equal(x.images, y.images) for x, y in splits)


def test_the_second_time_nothing_is_decoded_and_the_pixels_are_the_same(tree, cache, decoded, capsys):
    first = read(tree)
    assert decoded == [24, 6, 20]
    assert len(list(cache.glob("*.npy"))) == 2  # six images are not worth it
    line = capsys.readouterr().err.strip().splitlines()[0]
    assert line == f"kdlib: decoded images kept in {cache} (0 MB; --no-store: not)"
    assert same(read(tree), first)
    assert decoded == [24, 6, 20, 6]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["pixels", "size", "grey", "subset"])
def test_what_changed_is_decoded_anew(tree, cache, decoded, change):
    first = read(tree)
    decoded.clear()
    if change == "pixels":
        file = tree / "test" / "a" / "3.png"
        Image.new("RGB", (12, 10)).save(file)
        os.utime(file, (1, 1))
        assert not same(read(tree), first)
        assert decoded == [6, 20]
    elif change == "size":
        assert load("folder", data_root=tree, image_size=9).shape == (3, 9, 9)
    elif change == "grey":
        assert read(tree, grayscale=True).shape == (1, 8, 8)
    else:
        read(tree, train_size=20)
        assert decoded == [16, 4]  # of the test images nothing


def test_a_damaged_file_is_decoded_anew(tree, cache, decoded):
    first = read(tree)
    for file in cache.glob("*.npy"):
        pixels = file.read_bytes()
        file.unlink()  # what `first` has mapped stays
        file.write_bytes(pixels[:-30])
    assert same(read(tree), first)
    assert decoded == [24, 6, 20] * 2
    assert same(read(tree), first)
    assert decoded == [*[24, 6, 20] * 2, 6]


def test_it_can_be_turned_off_and_needs_no_folder(tree, cache, decoded, monkeypatch, tmp_path):
    monkeypatch.setenv(store.OFF, "1")
    first = read(tree)
    assert not cache.exists()
    monkeypatch.delenv(store.OFF)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert same(read(tree), first)
    assert decoded == [24, 6, 20] * 2


def test_it_stays_within_its_bounds(tree, cache, monkeypatch):
    monkeypatch.setattr(store, "LIMIT", 24 * 3 * 8 * 8 + 200)
    read(tree)
    assert sum(file.stat().st_size for file in cache.glob("*.npy")) <= store.LIMIT
    assert len(list(cache.glob("*.npy"))) == 1


def test_what_is_mapped_can_be_written_to_without_changing_the_file(tree, cache):
    read(tree)
    images = read(tree).train.images
    before = images.clone()
    images.zero_()
    assert torch.equal(read(tree).train.images, before)
