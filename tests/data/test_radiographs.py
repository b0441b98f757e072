"""chest_xray: the release's names and folders, patients kept apart, and what can be wrong with a copy."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from kdlib.data import load, patient_of
from kdlib.errors import UserError

REAL = os.environ.get("KDLIB_CHEST_XRAY")


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person12_virus_46.jpeg", "person12"),
        ("person12_bacteria_3.jpeg", "person12"),
        ("person1_virus_6_2.jpeg", "person1"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("IM-0666-0001-0002.jpeg", "IM-0666"),
        ("NORMAL2-IM-0115-0001.jpeg", "NORMAL2-IM-0115"),
        ("BACTERIA-1008087-0001.jpeg", "1008087"),
        ("VIRUS-1008087-0002.jpeg", "1008087"),
        ("person12.jpeg", "person12.jpeg"),
        ("my IM-0115-0001.jpeg", "my IM-0115-0001.jpeg"),
    ],
)
def test_patients_are_read_from_the_releases_names(name, patient):
    assert patient_of(name) == patient


def film(path: Path, shade: int, mode: str = "L", size: tuple[int, int] = (30, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, shade if mode == "L" else (shade,) * 3).save(path, quality=95)


@pytest.fixture
def release(tmp_path) -> Path:
    """40 + 60 training, 2 + 2 validation and 3 + 5 test films; every film of a patient has the patient's shade."""
    for i in range(40):
        prefix = "" if i < 20 else "NORMAL2-"
        film(tmp_path / f"train/NORMAL/{prefix}IM-{i // 2:04}-000{i % 2 + 1}.jpeg", i // 2 * 2)
    for i in range(60):
        kind, mode = ("virus" if i % 2 else "bacteria"), ("RGB" if i % 5 == 0 else "L")
        film(tmp_path / f"train/PNEUMONIA/person{i // 3}_{kind}_{i}.jpeg", 100 + i // 3 * 2, mode, (25 + i, 40))
    for i in range(2):
        film(tmp_path / f"val/NORMAL/NORMAL2-IM-9{i}00-0001.jpeg", 60 + 2 * i)
        film(tmp_path / f"val/PNEUMONIA/person19{i}0_bacteria_1.jpeg", 180 + 2 * i)
    for i in range(3):
        film(tmp_path / f"test/NORMAL/IM-0{i}00-0001.jpeg", 200 + 2 * i)
    for i in range(5):
        film(tmp_path / f"test/PNEUMONIA/person{i // 2}_virus_{i}.jpeg", 220 + i // 2 * 2)
    (tmp_path / "train/NORMAL/.DS_Store").write_bytes(b"mac")
    (tmp_path / "train/NORMAL/._IM-0000-0001.jpeg").write_bytes(b"mac")
    for part in ("", "train/", "test/"):
        (tmp_path / f"{part}__MACOSX").mkdir()
    return tmp_path


def test_train_and_val_are_pooled_and_divided_by_patient(release):
    data = load("chest_xray", data_root=release)
    assert data.classes == ("NORMAL", "PNEUMONIA")
    assert (len(data.train) + len(data.val), len(data.test)) == (104, 8)
    told = data.describe()
    assert [a + b for a, b in zip(told["class_counts"]["train"], told["class_counts"]["val"], strict=True)] == [42, 62]
    assert told["class_counts"]["test"] == [3, 5]
    assert abs(len(data.val) - 21) <= 2
    assert told["group_counts"]["train"] + told["group_counts"]["val"] == 20 + 20 + 2 + 2
    assert told["group_counts"]["test"] == 3 + 3


@pytest.mark.parametrize("seed", range(4))
def test_no_patient_is_in_two_splits(release, seed):
    data = load("chest_xray", data_root=release, image_size=8, split_seed=seed)
    splits = (data.train, data.val, data.test)
    numbers = [set(part.groups.tolist()) for part in splits]
    assert numbers[0] & numbers[1] == numbers[0] & numbers[2] == numbers[1] & numbers[2] == set()
    # The same by what the films show: the shade is the patient's (a JPEG may be off by one).
    shades = [{(shade + 1) // 2 for shade in part.images[:, 0, 4, 4].tolist()} for part in splits]
    assert shades[0] & shades[1] == shades[0] & shades[2] == shades[1] & shades[2] == set()
    for part, of_shade, of_number in zip(splits, shades, numbers, strict=True):
        assert len(of_shade) == len(of_number)
        assert len(part.groups) == len(part)


def test_test_patients_are_others_than_training_patients_of_the_same_number(release):
    data = load("chest_xray", data_root=release, image_size=8)
    assert data.test.groups.min() > max(data.train.groups.max(), data.val.groups.max())


def test_films_are_squares_of_224_unless_said_in_three_channels_unless_grey(release):
    assert load("chest_xray", data_root=release).shape == (3, 224, 224)
    assert load("chest_xray", data_root=release, image_size=16, grayscale=True).shape == (1, 16, 16)
    images = load("chest_xray", data_root=release, image_size=16).train.images
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_the_release_may_lie_in_a_folder_of_its_name(release, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    (outer / "chest_xray").symlink_to(release)
    inner = load("chest_xray", data_root=release, image_size=8)
    assert load("chest_xray", data_root=outer, image_size=8).fingerprint == inner.fingerprint


def test_a_copy_without_val_is_read_too(release):
    (release / "val").rename(release / "elsewhere")
    data = load("chest_xray", data_root=release, image_size=8)
    assert len(data.train) + len(data.val) == 100


def refused(match: str, **arguments) -> None:
    with pytest.raises(UserError, match=match) as caught:
        load("chest_xray", **arguments)
    assert "\n" not in str(caught.value)


def test_what_is_wrong_with_a_copy(release, tmp_path_factory):
    refused("data set 'chest_xray' needs --data-root DIR, a folder holding train/ and test/")
    refused("no such folder: .*/nowhere ", data_root=release / "nowhere")
    empty = tmp_path_factory.mktemp("empty")
    refused(f"data set 'chest_xray' is not in {empty}: pass --data-root DIR holding train/", data_root=empty)
    bad = release / "test/NORMAL/IM-0000-0001.jpeg"
    bad.write_bytes(b"no picture")
    refused(f"cannot read image {bad} ", data_root=release)
    (release / "test/PNEUMONIA").rename(release / "test/COVID")
    refused("the class folders of .*/test must be NORMAL and PNEUMONIA, not COVID, NORMAL$", data_root=release)
    (release / "val/EMPTY").mkdir()
    bad.unlink()
    (release / "test/COVID").rename(release / "test/PNEUMONIA")
    refused("class 'EMPTY' has no images: .*/val/EMPTY", data_root=release)


@pytest.mark.skipif(
    not (REAL and Path(REAL).is_dir()),
    reason="set KDLIB_CHEST_XRAY to a folder that holds the chest X-ray release to test on it",
)
def test_the_real_release():
    told = load("chest_xray", data_root=REAL, image_size=32).describe()
    assert told["class_counts"] == {"train": [1079, 3107], "val": [270, 776], "test": [234, 390]}
    assert told["group_counts"]["train"] + told["group_counts"]["val"] == 2846 + 15
    assert told["group_counts"]["test"] == 427
