"""Shared by all tests: one thread, no progress bars, and datasets small enough to train on in milliseconds."""

import pytest
import torch

from kdlib.data import Dataset, Split, fingerprint

torch.set_num_threads(1)


def make_dataset(
    train: int = 48,
    val: int = 16,
    test: int = 16,
    *,
    classes: int = 4,
    size: int = 8,
    channels: int = 3,
    seed: int = 0,
    name: str = "tiny",
) -> Dataset:
    """Noise with one bright row a class: learnable in a few epochs, uint8 (N, channels, size, size)."""
    chance = torch.Generator().manual_seed(seed)
    splits = {}
    for part, count in (("train", train), ("val", val), ("test", test)):
        labels = torch.arange(count) % classes
        images = torch.randint(0, 160, (count, channels, size, size), generator=chance)
        images[torch.arange(count), :, labels % size] += 95
        splits[part] = Split(images.to(torch.uint8), labels)
    names = tuple(f"class{i}" for i in range(classes))
    pixels = splits["train"].images.double() / 255
    mean, std = tuple(pixels.mean((0, 2, 3)).tolist()), tuple(pixels.std((0, 2, 3)).tolist())
    return Dataset(name, names, **splits, fingerprint=fingerprint(names, splits), mean=mean, std=std)


@pytest.fixture(scope="session")
def _cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch, _cache):
    # Bars that never refresh, and plain text: widgets would need IPython. The user's cache is left alone.
    monkeypatch.setenv("KDLIB_TEXT_PROGRESS", "1000")
    monkeypatch.setenv("XDG_CACHE_HOME", str(_cache))


@pytest.fixture(scope="session")
def make_tiny():
    """The factory ``make_dataset``."""
    return make_dataset


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """48 + 16 + 16 images of 3×8×8, 4 classes; tests must not change it."""
    return make_dataset()


@pytest.fixture
def one_line(capsys):
    """Assert that the last command said no more than one line on stderr, beside notes and bars, and return it."""

    def read() -> str:
        lines = [line for line in capsys.readouterr().err.splitlines() if line.strip() and "elapsed" not in line]
        assert len(lines) == 1, lines
        assert lines[0].startswith("kdlib: ")
        return lines[0]

    return read
