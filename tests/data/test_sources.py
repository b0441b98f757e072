"""Folders of every kind, torchvision's files, and each thing that can be wrong with them."""

import hashlib
import json
import os
import pickle
from pathlib import Path
from urllib.error import URLError
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image

from kdlib.data import load
from kdlib.errors import UserError

DATA = os.environ.get("KDLIB_DATA")


def picture(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB", seed: int = 0) -> None:
    """A random picture; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.PCG64(seed).random_raw(size[0] * size[1] * 4).astype(np.uint8)
    Image.fromarray(pixels.reshape(size[1], size[0], 4), "RGBA").convert(mode).save(path)


def tree(root: Path, parts=("train", "test"), classes=("cat", "dog"), count: int = 5) -> Path:
    for part in parts:
        for label in classes:
            for number in range(count):
                picture(root / part / label / f"{number}.png", seed=crc32(f"{part}/{label}/{number}".encode()))
    return root


# --- folder


def test_a_tree_is_read_in_sorted_order(tmp_path):
    for label, name, grey in (("b", "2.png", 40), ("a", "10.png", 10), ("a", "9.png", 20), ("b", "1.png", 30)):
        for part in ("train", "test"):
            path = tmp_path / part / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 6), (grey, grey + 1, grey + 2)).save(path)
    data = load("folder", data_root=tmp_path, val_fraction=0)
    assert data.classes == ("a", "b")
    assert data.shape == (3, 6, 4)
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert data.test.images[:, :, 0, 0].tolist() == [[10, 11, 12], [20, 21, 22], [30, 31, 32], [40, 41, 42]]
    assert len(data.val) == 0


def test_pixels_are_pillows(tmp_path):
    tree(tmp_path)
    data = load("folder", data_root=str(tmp_path))
    expected = np.asarray(Image.open(tmp_path / "test" / "dog" / "3.png"))
    assert np.array_equal(data.test.images[8].permute(1, 2, 0).numpy(), expected)
    assert load("folder", data_root=tmp_path).fingerprint == data.fingerprint


def test_one_changed_pixel_changes_the_fingerprint(tmp_path):
    tree(tmp_path)
    before = load("folder", data_root=tmp_path).fingerprint
    file = tmp_path / "test" / "cat" / "0.png"
    image = Image.open(file).convert("RGB")
    red, green, blue = image.getpixel((3, 3))
    image.putpixel((3, 3), (red ^ 1, green, blue))
    image.save(file)
    assert load("folder", data_root=tmp_path).fingerprint != before


def test_mixed_sizes_and_modes(tmp_path):
    tree(tmp_path)
    folder = tmp_path / "train" / "cat"
    for number, mode in enumerate(("L", "RGBA", "P", "1", "LA", "CMYK")):
        suffix = "tif" if mode == "CMYK" else "png"
        picture(folder / f"m{number}.{suffix}", (20 + number, 9), mode)
    picture(folder / "deep" / "er" / "photo.JPEG", (300, 200))
    (folder / "notes.txt").write_text("not an image, and not read")
    data = load("folder", data_root=tmp_path, image_size=16, val_fraction=0)
    assert data.train.images.shape == (5 + 6 + 1 + 5, 3, 16, 16)
    assert load("folder", data_root=tmp_path, image_size=16, grayscale=True).shape == (1, 16, 16)


def test_transparency_in_a_palette_is_silent(tmp_path, recwarn):
    tree(tmp_path)
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(tmp_path / "test" / "cat" / "0.png", transparency=b"\x00\x80")
    data = load("folder", data_root=tmp_path)
    assert data.test.images[0, :, 0, 0].tolist() == [227, 177, 152]  # half of it, and half white
    black = load("folder", data_root=tmp_path, background="black")
    assert black.test.images[0, :, 0, 0].tolist() == [100, 50, 25]
    assert not recwarn.list


def test_sixteen_bit_grey_keeps_its_shades(tmp_path):
    tree(tmp_path)
    levels = np.array([[0, 0x1234], [0x8000, 0xFFFF]], dtype=np.uint16).repeat(4, 0).repeat(4, 1)
    Image.fromarray(levels).save(tmp_path / "test" / "cat" / "0.png")
    data = load("folder", data_root=tmp_path)
    assert data.test.images[0, 0, ::4, ::4].tolist() == [[0, 0x12], [0x80, 0xFF]]


def test_resizing_takes_the_whole_picture(tmp_path):
    tree(tmp_path)
    wide = np.zeros((8, 32, 3), np.uint8)
    wide[:, 16:] = 200
    Image.fromarray(wide).save(tmp_path / "test" / "cat" / "0.png")
    image = load("folder", data_root=tmp_path, image_size=8).test.images[0, 0]
    assert image[:, :3].eq(0).all()
    assert image[:, -3:].eq(200).all()


def test_a_large_jpeg_resizes_to_what_it_shows(tmp_path):
    tree(tmp_path)
    slope = np.linspace(0, 255, 640).astype(np.uint8)
    Image.fromarray(np.broadcast_to(slope[None, :, None], (480, 640, 3)).copy()).save(
        tmp_path / "test" / "cat" / "0.jpg", quality=95
    )
    image = load("folder", data_root=tmp_path, image_size=16).test.images[0].float()
    expected = torch.from_numpy(slope.reshape(16, 40).mean(1)).float()
    assert (image - expected).abs().max() < 4


def test_val_folder_is_used_and_nothing_is_held_out(tmp_path):
    tree(tmp_path, parts=("train", "val", "test"))
    data = load("folder", data_root=tmp_path)
    assert (len(data.train), len(data.val), len(data.test)) == (10, 10, 10)
    expected = np.asarray(Image.open(tmp_path / "val" / "cat" / "0.png"))
    assert np.array_equal(data.val.images[0].permute(1, 2, 0).numpy(), expected)
    smaller = load("folder", data_root=tmp_path, train_size=4)
    assert (len(smaller.train), len(smaller.val)) == (4, 10)


def test_a_subset_reads_only_what_it_takes(tmp_path):
    tree(tmp_path)
    whole = load("folder", data_root=tmp_path, train_size=4, val_fraction=0)
    kept = {image.numpy().tobytes() for image in whole.train.images}
    spoilt = 0
    for file in (tmp_path / "train").rglob("*.png"):
        if np.asarray(Image.open(file)).transpose(2, 0, 1).tobytes() not in kept:
            file.write_bytes(b"spoilt")
            spoilt += 1
    assert spoilt == 6
    assert load("folder", data_root=tmp_path, train_size=4, val_fraction=0).fingerprint == whole.fingerprint


# --- what is wrong with a folder


def refused(match: str, name: str = "folder", **arguments) -> None:
    with pytest.raises(UserError, match=match) as caught:
        load(name, **arguments)
    assert "\n" not in str(caught.value)


def test_no_such_folder(tmp_path):
    refused("data set 'folder' needs --data-root DIR, a folder that holds train/", data_root=None)
    refused(f"no such folder: {tmp_path}/nowhere ", data_root=tmp_path / "nowhere")


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_part_is_missing(tmp_path, missing):
    tree(tmp_path, parts=[part for part in ("train", "test") if part != missing])
    refused(f"no such folder: {tmp_path}/{missing} ", data_root=tmp_path)


def test_no_classes(tmp_path):
    tree(tmp_path, parts=("train",))
    picture(tmp_path / "test" / "loose.png")
    refused(f"no class folders in {tmp_path}/test", data_root=tmp_path)


def test_empty_class(tmp_path):
    tree(tmp_path)
    (tmp_path / "train" / "emu").mkdir()
    refused(f"class 'emu' has no images: {tmp_path}/train/emu", data_root=tmp_path)


def test_one_class(tmp_path):
    tree(tmp_path, classes=("cat",))
    refused("data set 'folder' has one class, 'cat': two are needed at least", data_root=tmp_path)


@pytest.mark.parametrize("part", ["test", "val"])
def test_classes_differ(tmp_path, part):
    tree(tmp_path, parts=("train", "val", "test"))
    (tmp_path / part / "dog").rename(tmp_path / part / "wolf")
    refused(
        f"train and {part} classes differ in {tmp_path}: only in train: dog; only in {part}: wolf$",
        data_root=tmp_path,
    )


def test_unreadable_and_truncated_images_are_named(tmp_path):
    tree(tmp_path)
    for bad, content in (("test/cat/2.png", None), ("train/dog/3.png", b"this is no picture")):
        file = tmp_path / bad
        file.write_bytes(content or file.read_bytes()[:-60])
        refused(f"cannot read image {file} ", data_root=tmp_path)


def test_the_first_unreadable_image_is_named_whatever_the_threads_do(tmp_path):
    tree(tmp_path, count=200)
    for number in range(199, 0, -20):
        (tmp_path / "test" / "dog" / f"{number}.png").write_bytes(b"")
    for _ in range(3):
        refused("test/dog/119.png", data_root=tmp_path)


@pytest.mark.parametrize("part", ["train", "test"])
def test_sizes_differ(tmp_path, part):
    tree(tmp_path)
    picture(tmp_path / part / "dog" / "4.png", (9, 7))
    refused(
        f"images differ in size: .* is 8x8, {tmp_path}/{part}/dog/4.png is 9x7; give image_size",
        data_root=tmp_path,
        val_fraction=0,
    )


def test_sizes_differ_between_the_parts(tmp_path):
    tree(tmp_path, parts=("train",))
    for label in ("cat", "dog"):
        picture(tmp_path / "test" / label / "0.png", (12, 8))
    refused("images differ in size: train is 8x8, test is 12x8; give image_size", data_root=tmp_path)


# --- cifar10


@pytest.fixture
def batches(tmp_path, monkeypatch) -> Path:
    """A miniature in the format of CIFAR-10's own files, with torchvision told its checksums."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: dict) -> str:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    def batch(count: int, seed: int) -> dict:
        pixels = np.random.PCG64(seed).random_raw(count * 3072).astype(np.uint8).reshape(count, 3072)
        return {"data": pixels, "labels": [i % 10 for i in range(count)]}

    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    train = [[f"data_batch_{i}", write(f"data_batch_{i}", batch(20, i))] for i in (1, 2)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", write("test_batch", batch(10, 9))]])
    meta = {**CIFAR10.meta, "md5": write("batches.meta", {"label_names": names})}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return tmp_path


def test_cifar10_from_torchvisions_files(batches):
    data = load("cifar10", data_root=batches, val_fraction=0.25)
    assert (len(data.train), len(data.val), len(data.test)) == (30, 10, 10)
    assert data.classes[:2] == ("airplane", "automobile")
    raw = pickle.loads((batches / "cifar-10-batches-py" / "test_batch").read_bytes())["data"]
    assert np.array_equal(data.test.images.numpy(), raw.reshape(10, 3, 32, 32))


def test_cifar10_damaged(batches):
    (batches / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    refused("cannot get the data set in .*corrupted.*pass --data-root DIR", "cifar10", data_root=batches)


def test_cifar10_takes_a_folder_tree(tmp_path):
    tree(tmp_path)
    data = load("cifar10", data_root=tmp_path)
    assert data.name == "cifar10"
    assert data.fingerprint == load("folder", data_root=tmp_path).fingerprint


HOW = r"pass --data-root DIR holding cifar-10-batches-py or train/ and test/ folders, or --set download=true$"


def test_cifar10_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    refused(f"data set 'cifar10' is not in {tmp_path}: {HOW}", "cifar10", data_root=tmp_path)
    refused(f"data set 'cifar10' is not in {tmp_path}/cache/kdlib: {HOW}", "cifar10")
    refused(f"no such folder: {tmp_path}/nowhere ", "cifar10", data_root=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_cifar10_download_without_a_network(tmp_path, monkeypatch):
    import torchvision.datasets.cifar

    def unreachable(*_args, **_kwargs):
        raise URLError("no route\nto host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", unreachable)
    refused(
        f"cannot get the data set in {tmp_path} .*no route to host.*: pass --data-root DIR of a complete copy",
        "cifar10",
        data_root=tmp_path,
        download=True,
    )


@pytest.mark.skipif(
    not (DATA and Path(DATA, "cifar10-jpeg").is_dir()),
    reason="set KDLIB_DATA to a folder that holds cifar10-jpeg to test on real images",
)
def test_real_cifar10():
    data = load("cifar10", data_root=Path(DATA, "cifar10-jpeg"), train_size=1000, test_size=200)
    assert (len(data.train), len(data.val), len(data.test)) == (800, 200, 200)
    assert data.shape == (3, 32, 32)
    assert torch.bincount(data.train.labels).tolist() == [80] * 10
    # The known statistics of CIFAR-10: 0.491, 0.482, 0.447 and 0.247, 0.243, 0.262.
    assert data.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.02)
    assert data.std == pytest.approx((0.247, 0.243, 0.262), abs=0.02)


# --- food101


@pytest.fixture
def food(tmp_path) -> Path:
    base = tmp_path / "food-101"
    (base / "meta").mkdir(parents=True)
    for part, count in (("train", 4), ("test", 2)):
        listed = {label: [f"{label}/{part}{i}" for i in range(count)] for label in ("waffles", "apple_pie")}
        (base / "meta" / f"{part}.json").write_text(json.dumps(listed))
        for number, name in enumerate(name for names in listed.values() for name in names):
            picture(base / "images" / f"{name}.jpg", (90 + number, 70), seed=number)
    return tmp_path


def test_food101_as_torchvision_has_it(food):
    from torchvision.datasets import Food101

    data = load("food101", data_root=food, val_fraction=0.25)
    assert (len(data.train), len(data.val), len(data.test)) == (6, 2, 4)
    assert data.classes == tuple(Food101(food).classes) == ("apple_pie", "waffles")
    assert data.shape == (3, 64, 64)
    assert load("food101", data_root=food, image_size=32).shape == (3, 32, 32)
    assert load("food101", data_root=food / "food-101", val_fraction=0.25).fingerprint == data.fingerprint


def test_food101_wrong(food, tmp_path):
    refused("data set 'food101' is not in .*: pass --data-root DIR holding food-101", "food101", data_root="/")
    gone = food / "food-101" / "images" / "waffles" / "train0.jpg"
    gone.unlink()
    refused(rf"cannot read image {gone} \(no such file\)", "food101", data_root=food)
    (food / "food-101" / "meta" / "test.json").write_text("{")
    refused(r"cannot read .*test\.json", "food101", data_root=food)
