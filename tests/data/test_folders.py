"""Folders as people have them: usual names, system files, links, odd formats, depths, orientation, patients."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from kdlib.data import load
from kdlib.errors import UserError


def picture(path, grey=90, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(path)


def tree(root, parts=("train", "test"), count=5, suffix="png"):
    for p, part in enumerate(parts):
        for c, label in enumerate(("cat", "dog")):
            for i in range(count):
                picture(root / part / label / f"{i}.{suffix}", 100 * c + 10 * p + i)
    return root


def arrays(root, array, name="0.png"):
    """The first image of `cat` in the test part becomes this array."""
    Image.fromarray(array).save(root / "test" / "cat" / name)


def refused(match, root, **options):
    with pytest.raises(UserError, match=match) as caught:
        load("folder", data_root=root, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        (("Train", "TEST"), (8, 2, 10)),
        (("training", "valid", "testing"), (10, 10, 10)),
        (("train", "dev", "test"), (10, 10, 10)),
        (("train", "eval", "test"), (10, 10, 10)),
        (("train", "eval"), (8, 2, 10)),
    ],
)
def test_parts_by_any_usual_name(tmp_path, parts, sizes):
    data = load("folder", data_root=tree(tmp_path, parts))
    assert (len(data.train), len(data.val), len(data.test)) == sizes


def test_two_candidates_are_refused(tmp_path):
    refused("has val/ and valid/, and each could be val: keep one", tree(tmp_path, ("train", "val", "valid", "test")))


def test_one_folder_under_two_names_is_refused(tmp_path):
    tree(tmp_path)
    (tmp_path / "val").symlink_to("test")
    refused("are one folder: a part needs images of its own", tmp_path)


def test_hidden_and_system_files_are_skipped_at_every_level(tmp_path):
    expected = load("folder", data_root=tree(tmp_path)).fingerprint
    for place in ("__MACOSX", "train/.ipynb_checkpoints", "train/@eaDir", "train/cat/.ipynb_checkpoints/deep"):
        picture(tmp_path / place / "0.png")
    (tmp_path / "train" / "cat" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "train" / "cat" / "._0.png").write_bytes(b"")
    assert load("folder", data_root=tmp_path).fingerprint == expected


def test_what_is_skipped_is_counted_and_said_once(tmp_path, capsys):
    tree(tmp_path)
    for name in ("a.txt", "b.txt", "c.json"):
        (tmp_path / "train" / "cat" / name).write_text("")
    picture(tmp_path / "test" / "loose.png")
    (tmp_path / "train" / "cat" / "above").symlink_to("..")
    for _ in range(2):
        assert len(load("folder", data_root=tmp_path).test) == 10
    said = capsys.readouterr().err.strip().splitlines()
    assert said == [
        f"kdlib: skipped in {tmp_path}: 3 files that are no images (.txt 2, .json 1), 1 images outside the class "
        f"folders, 1 links to folders that are there already ({tmp_path}/train/cat/above)"
    ]


def test_a_link_to_another_class_is_refused(tmp_path):
    tree(tmp_path)
    (tmp_path / "train" / "emu").symlink_to("cat")
    refused("emu is a link to .*cat: an image can be of one class alone", tmp_path)


def test_every_format_of_pillow_is_read(tmp_path):
    tree(tmp_path, suffix="jpg")
    for suffix in ("jfif", "tga", "qoi", "jp2"):
        file = tmp_path / "train" / "cat" / f"x.{suffix}"
        picture(file)
    assert len(load("folder", data_root=tmp_path, val_fraction=0).train) == 14


def test_a_class_of_unreadable_files_says_which(tmp_path):
    tree(tmp_path)
    for file in (tmp_path / "train" / "cat").iterdir():
        file.rename(file.with_suffix(".dcm"))
    refused(r"holds files of other kinds \(5 .dcm\); convert them to PNG or JPEG", tmp_path)


def test_two_normal_forms_are_one_name(tmp_path):
    tree(tmp_path)
    (tmp_path / "train" / "cat").rename(tmp_path / "train" / "café")
    other = unicodedata.normalize("NFD", "café")
    (tmp_path / "test" / "cat").rename(tmp_path / "test" / other)
    assert load("folder", data_root=tmp_path).classes == ("café", "dog")
    picture(tmp_path / "train" / other / "0.png")
    refused("two folders named 'café'", tmp_path)


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("array", "name"),
    [
        (RAMP.astype(np.float32), "0.tif"),
        ((RAMP * 255).astype(np.float32), "0.tif"),
        ((RAMP * 255).astype(np.int32), "0.tif"),
        ((RAMP * 1.02).astype(np.float32), "0.tif"),
        ((RAMP * 5.5).astype(np.float32), "0.tif"),
        (np.rint(RAMP * 4095).astype(np.float32), "0.tif"),
        ((RAMP * 1023).astype(np.uint16), "0.png"),
        ((RAMP * 4095).astype(np.uint16), "0.png"),
        ((RAMP * 65535).astype(np.uint16), "0.tif"),
        ((RAMP * 2000 - 1000).astype(np.int32), "0.tif"),
    ],
)
def test_deep_images_fill_the_range(tmp_path, array, name):
    tree(tmp_path)
    (tmp_path / "test" / "cat" / "0.png").unlink()
    arrays(tmp_path, array, name)
    found = load("folder", data_root=tmp_path).test.images[0, 0].numpy()
    assert np.abs(found - RAMP * 255).max() <= 1.5


def test_deep_images_of_a_folder_share_one_scale(tmp_path):
    tree(tmp_path)
    arrays(tmp_path, np.full((8, 8), 4095, np.uint16), "1.png")
    arrays(tmp_path, np.full((8, 8), 200, np.uint16))  # alone it would look like eight bits
    for file in (tmp_path / "train").rglob("*.png"):
        Image.fromarray(np.full((8, 8), 100, np.uint16)).save(file)
    data = load("folder", data_root=tmp_path)
    assert data.test.images[:2, 0, 0, 0].tolist() == [12, 255]
    assert data.train.images.unique().tolist() == [6]


def test_orientation_is_applied(tmp_path):
    tree(tmp_path)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90)
    for name, options in (("0.png", {}), ("0.tif", {})):
        lying.save(tmp_path / "test" / "cat" / name, exif=exif, **options)
    found = load("folder", data_root=tmp_path).test.images
    assert found[0, 0, :, 0].tolist() == [200] * 4 + [0] * 4
    assert (found[1] == found[0]).all()


def test_crop_keeps_the_middle(tmp_path):
    tree(tmp_path)
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    arrays(tmp_path, wide)
    assert load("folder", data_root=tmp_path, image_size=8, resize="crop").test.images[0].eq(200).all()
    refused("resize=crop needs image_size", tmp_path, resize="crop")
    refused("resize must be squash or crop, not 'stretch'", tmp_path, resize="stretch")


def test_a_very_large_image_is_named(tmp_path, monkeypatch, capsys, recwarn):
    tree(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80)
    picture(tmp_path / "test" / "cat" / "0.png", size=(10, 9))
    load("folder", data_root=tmp_path, image_size=8)
    assert f"{tmp_path}/test/cat/0.png is a very large image (10x9)" in capsys.readouterr().err
    assert not recwarn.list
    picture(tmp_path / "test" / "cat" / "0.png", size=(20, 9))
    refused("cannot read image .*0.png .*bomb", tmp_path, image_size=8)


def patients(root, pattern="p{}_{}.png"):
    for p, part in enumerate(("train", "test")):
        for label in ("cat", "dog"):
            for i in range(8):
                picture(root / part / label / pattern.format(f"{p}{label}{i // 4}", i), i)
    return root


def test_groups_by_pattern_are_held_out_whole(tmp_path):
    data = load("folder", data_root=patients(tmp_path), groups=r"p(\w+)_", val_fraction=0.5)
    assert data.describe()["group_counts"] == {"train": 2, "val": 2, "test": 4}
    assert not set(data.train.groups.tolist()) & set(data.val.groups.tolist())
    assert not any("patients" in line for line in data.notes)


def test_groups_that_find_nobody_are_said(tmp_path, capsys):
    data = load("folder", data_root=patients(tmp_path), groups=r"q(\d+)_", val_fraction=0.5)
    assert "finds no patient in any of 32 file names" in data.notes[0]
    assert data.describe()["notes"] == list(data.notes)
    assert data.notes[0] in capsys.readouterr().err
    refused(r"groups=\( is no regular expression", tmp_path, groups="(")
    with pytest.raises(UserError, match="groups does nothing for data set 'shapes10'"):
        load("shapes10", groups="x")


def test_a_patient_in_train_and_test_is_said(tmp_path):
    data = load("folder", data_root=patients(tmp_path), groups=r"p\d(\w+)_", val_fraction=0.5)
    assert data.notes[0] == "4 patients are in train and in test: test is not of patients never seen"


def test_test_images_that_were_trained_on_are_counted(tmp_path, capsys):
    pictures = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    for part, first in (("train", 0), ("test", 7)):
        for k in range(8 if part == "train" else 4):
            folder = tmp_path / part / f"c{k % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures[first + k]).save(folder / f"{part}{k}.png")
    data = load("folder", data_root=tmp_path, image_size=8)
    assert data.notes[-1] == "1 of 4 test images are in train too, pixel for pixel: test accuracy flatters"
    assert data.notes[-1] in capsys.readouterr().err
