"""Images that do not fit into memory: the same pixels from disk, written a few at a time, whole or not at all."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from trees import two_classes

from kdlib.data import dataset, load, read_ahead, store
from kdlib.errors import UserError

SIZE = 40 * 3 * 8 * 8  # bytes of the tree's images at 8×8


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(store.STORAGE, raising=False)
    return tmp_path / "cache" / "kdlib" / "streamed"


@pytest.fixture
def tree(tmp_path):
    """Two classes, 12 + 12 training and 8 + 8 test images of 12×10 pixels."""
    return two_classes(tmp_path / "data", train=12, test=8)


def read(tree, storage=None, **options):
    return load("folder", data_root=tree, storage=storage, **{"image_size": 8, **options})


def assert_same(a, b) -> None:
    assert (a.fingerprint, a.mean, a.std, a.notes) == (b.fingerprint, b.mean, b.std, b.notes)
    for part in ("train", "val", "test"):
        for what in ("images", "labels"):
            assert torch.equal(getattr(getattr(a, part), what), getattr(getattr(b, part), what))


@pytest.mark.parametrize("options", [{}, {"image_size": None}, {"grayscale": True}, {"val_fraction": 0.0}])
def test_the_images_are_the_same_and_only_the_storage_is_told(tree, cache, options):
    for number in range(5):  # a note is made of those that are not held out
        shutil.copy(tree / "train" / "a" / f"{number}.png", tree / "test" / "a" / f"{number}.png")
    memory, disk = (read(tree, storage, **options) for storage in ("memory", "disk"))
    assert_same(memory, disk)
    assert disk.notes
    assert disk.describe() == memory.describe() | {"storage": "disk"}
    assert len(list(cache.glob("*.npy"))) == sum(len(split) > 0 for split in (disk.train, disk.val, disk.test))
    assert_same(memory, read(tree, "disk", **options))  # from what is there


def test_what_is_known_of_the_images_is_kept_beside_them(tree, cache, monkeypatch):
    first = read(tree, "disk")
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "fingerprint", None)  # asked of nobody
        assert_same(read(tree, "disk"), first)
    (kept,) = cache.glob("*.json")
    for damaged in ("{", kept.read_text().replace(first.fingerprint, "0" * 16)):
        kept.write_text(damaged)
        assert_same(read(tree, "disk"), first)
    other = read(tree, "disk", split_seed=1)
    assert other.fingerprint == read(tree, "memory", split_seed=1).fingerprint != first.fingerprint


def test_deep_images_are_scaled_alike_and_not_kept(tree, cache):
    for part, number in (("train", 3), ("test", 2)):
        values = np.arange(120, dtype=np.uint16).reshape(10, 12) * (30 if part == "train" else 9)
        Image.fromarray(values).save(tree / part / "a" / f"{number}.png")
    assert_same(read(tree, "memory"), read(tree, "disk"))
    assert not list(cache.glob("*"))


def test_disk_is_chosen_where_half_of_the_memory_is_not_enough(tree, cache, monkeypatch):
    for available, storage in ((2 * SIZE, "memory"), (2 * SIZE - 2, "disk")):
        monkeypatch.setattr(store, "available_memory", lambda available=available: available)
        assert read(tree).storage == storage
    assert read(tree, "memory").storage == "memory"
    monkeypatch.setenv(store.STORAGE, "memory")
    assert read(tree).storage == "memory"
    monkeypatch.setenv(store.STORAGE, "disk")
    assert load("shapes10", train_size=20, test_size=10).storage == "memory"  # no files
    monkeypatch.setenv(store.STORAGE, "tape")
    with pytest.raises(UserError, match="storage must be auto, memory or disk, not 'tape'"):
        read(tree)


def test_nothing_is_left_where_nothing_is_to_be_kept(tree, cache, monkeypatch):
    monkeypatch.setenv(store.OFF, "1")
    assert_same(read(tree, "disk"), read(tree, "memory"))
    assert not list(cache.iterdir())


def test_a_full_disk_is_told_before_anything_is_written(tree, cache, monkeypatch):
    usage = shutil.disk_usage(tree)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=SIZE - 1))
    with pytest.raises(UserError, match=r"^the images need 0.0 GB in \S+/streamed, where 0.0 GB are free: make room"):
        read(tree, "disk")
    assert not list(cache.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=SIZE))
    first = read(tree, "disk")
    # The longest unused collections go where that helps, never those of the data set itself.
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=0))
    for file in cache.glob("*.npy"):
        os.utime(file, (1, 1))
    assert read(tree, "disk", grayscale=True, train_size=12, test_size=8).storage == "disk"
    assert_same(read(tree, "memory"), first)  # what is mapped stays readable


def test_a_folder_that_cannot_be_written_is_told(tree, cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("")
    with pytest.raises(UserError, match=r"^the images cannot be written to \S+/streamed: "):
        read(tree, "disk")


KILLED = """
import os, signal, sys
from kdlib.data import images, load
images.CHUNK = 4, 10**6
decode, left = images._decode, iter(range(10))
def dying(*words):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(*words)
images._decode = dying
load("folder", data_root=sys.argv[1], image_size=8, storage="disk")
"""


def test_a_kill_leaves_nothing_that_looks_complete(tree, cache):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tree)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(cache.iterdir())) == 1
    assert not list(cache.glob("*.npy"))
    assert_same(read(tree, "disk"), read(tree, "memory"))
    os.utime(next(cache.glob(".*")), (1, 1))  # an hour later what it left goes
    read(tree, "disk", grayscale=True)
    assert not list(cache.glob(".*"))


BOUNDED = """
import sys, threading
import torch
from kdlib.data import load, read_ahead
def taken():  # memory that is the process's own; the system can take back what is mapped from a file
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
before, done, peaks = taken(), threading.Event(), []
def watch():
    while not done.wait(0.005):
        peaks.append(taken())
watcher = threading.Thread(target=watch)
watcher.start()
data = load("folder", data_root=sys.argv[1], image_size=512, storage=sys.argv[2], val_fraction=0.25)
order = torch.randperm(len(data.train)).split(8)
assert sum(len(images) for images in read_ahead(data.train.images, order)) == len(data.train)
done.set()
watcher.join()
print(max(peaks) - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="asks Linux how much memory is taken")
def test_writing_and_reading_take_little_memory(tmp_path, cache):
    for part, count in (("train", 260), ("test", 2)):
        for name, colour in (("a", 50), ("b", 200)):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), (colour, 0, 0)).save(folder / "0.png")
            for i in range(1, count):
                os.link(folder / "0.png", folder / f"{i}.png")
    environment = {**os.environ, store.OFF: "1", "OMP_NUM_THREADS": "2"}
    environment |= {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back: what is counted is in use
    images = 524 * 3 * 512 * 512  # bytes
    for storage, low, high in (("disk", 0, images / 2), ("memory", images, 2 * images)):
        command = [sys.executable, "-c", BOUNDED, str(tmp_path / "data"), storage]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert low < int(done.stdout) < high


def test_batches_are_read_ahead_in_their_order():
    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0)).split(6)
    assert [batch.flatten().tolist() for batch in read_ahead(images, order)] == [batch.tolist() for batch in order]
    assert not list(read_ahead(images, []))
    next(read_ahead(images, order))  # what is left halfway ends


@pytest.mark.parametrize("version", [1, 2])
def test_memory_is_what_the_control_group_leaves(tmp_path, version):
    inner = tmp_path / ("memory/outer/inner" if version == 1 else "outer/inner")
    inner.mkdir(parents=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    for folder, limit in ((inner, "max"), (inner.parent, "1000")):
        for name, value in zip(names, (limit, "700"), strict=True):
            (folder / name).write_text(f"{value}\n")
        (folder / "memory.stat").write_text("anon 400\ninactive_file 200\nactive_file 100\n")
    groups = tmp_path / "groups"
    groups.write_text("5:cpu,cpuacct:/\n4:memory:/outer/inner\n" if version == 1 else "0::/outer/inner\n")
    assert list(store._left_to_groups(tmp_path, groups)) == [1000 - 700 + 300]
    assert list(store._left_to_groups(tmp_path, tmp_path / "none")) == []
    assert store.available_memory() > 0
