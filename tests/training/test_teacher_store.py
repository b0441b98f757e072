"""The teacher's logits on disk: no number depends on them, they stay within their bounds, and a teacher rests."""

import contextlib
import dataclasses
import multiprocessing
import os
import shutil
import time

import numpy as np
import pytest
import torch
from small import Pixels, assert_same, batchnorm, mlp, trained_statistics

from kdlib import losses
from kdlib.data import Augmentation
from kdlib.training import Job, Recipe, TeacherStore, distill
from kdlib.training.teacher import Teacher

CPU = torch.device("cpu")
ACTIVE = Augmentation(pad=2, flip=True, rotate=10.0, brightness=0.1)
RECIPE = Recipe(lr=0.01, batch_size=16, epochs=3, augmentation=ACTIVE)
EPOCH = 48 * 4 * 4 + 128  # bytes of an epoch: images, classes, float32, and numpy's head


def jobs(recipe: Recipe = RECIPE, Ts=(2.0, 5.0)) -> list[Job]:
    return [Job(batchnorm, recipe, seed=3, loss=losses.weighted_kl(T, 0.7)) for T in Ts]


def run(tiny, store, recipe: Recipe = RECIPE, teacher=None, **options) -> list:
    teacher = teacher or trained_statistics()
    return distill(teacher, jobs(recipe), tiny, precision="fp32", teacher_store=store, **options)


def store_in(folder, limit: int = 10**9, teacher: str = "t") -> TeacherStore:
    return TeacherStore(folder / "teachers", teacher, limit)


def files(folder) -> list:
    return sorted((folder / "teachers").rglob("*.npy"))


class Forgetful(TeacherStore):
    """Everything it holds is deleted while it is in use."""

    def read(self, path, shape):
        found = super().read(path, shape)
        shutil.rmtree(self.folder, ignore_errors=True)
        return found


@pytest.mark.parametrize("augmentation", [Augmentation(), ACTIVE], ids=["plain", "augmented"])
def test_full_empty_deleted_or_none_the_bits_are_the_same(tiny, tmp_path, augmentation):
    recipe = dataclasses.replace(RECIPE, augmentation=augmentation)
    without = run(tiny, None, recipe)
    store = store_in(tmp_path)
    empty = run(tiny, store, recipe)
    assert len(files(tmp_path)) == (3 if augmentation.active else 1)
    full = run(tiny, store, recipe)
    forgetful = Forgetful(store.folder, "t", store.limit)
    deleted = run(tiny, forgetful, recipe)
    for others in zip(without, empty, full, deleted, strict=True):
        for other in others[1:]:
            assert_same(others[0], other)


def test_what_another_batch_size_needs_is_there_already(tiny, tmp_path):
    run(tiny, store_in(tmp_path), teacher=Pixels())
    before = {file: file.read_bytes() for file in files(tmp_path)}
    Pixels.images = 0
    wider = dataclasses.replace(RECIPE, batch_size=8, optimizer="sgd")
    run(tiny, store_in(tmp_path), wider, teacher=Pixels())
    assert Pixels.images == 1  # its classes were checked
    assert {file: file.read_bytes() for file in files(tmp_path)} == before


@pytest.mark.parametrize(
    "other", [{"order_seed": 1}, {"recipe": dataclasses.replace(RECIPE, augmentation=Augmentation(pad=1))}]
)
def test_other_images_are_other_files(tiny, tmp_path, other):
    run(tiny, store_in(tmp_path))
    first = files(tmp_path)
    run(tiny, store_in(tmp_path), **other)
    assert len(files(tmp_path)) == 2 * len(first) == 6


def test_images_that_never_change_have_one_file_whatever_the_seed(tiny, tmp_path):
    plain = dataclasses.replace(RECIPE, augmentation=Augmentation())
    for seed in (0, 1):
        run(tiny, store_in(tmp_path), plain, order_seed=seed)
    assert [file.name.split(".")[0] for file in files(tmp_path)] == ["plain"]


def test_a_teacher_reads_what_it_wrote_and_no_other_does(tiny, tmp_path):
    teacher = Teacher(trained_statistics(), tiny, CPU, "fp32", store_in(tmp_path))
    logits = teacher.epoch_logits(ACTIVE, 0, 2)
    (file,) = files(tmp_path)
    assert np.array_equal(np.load(file), logits.numpy())
    again = Teacher(trained_statistics(), tiny, CPU, "fp32", store_in(tmp_path))
    again.answer = None  # it is not asked
    assert torch.equal(again.epoch_logits(ACTIVE, 0, 2), logits)
    del again.answer
    for other in (Teacher(trained_statistics(), tiny, CPU, "fp32", store_in(tmp_path, teacher="u")), again):
        before = files(tmp_path)
        other.epoch_logits(ACTIVE, 0, 3)
        assert len(files(tmp_path)) == len(before) + 1


def test_a_teacher_trained_anew_under_its_old_id_is_another(tiny, tmp_path):
    first = Teacher(trained_statistics(), tiny, CPU, "fp32", store_in(tmp_path)).epoch_logits(ACTIVE, 0, 2)
    model = trained_statistics()
    with torch.no_grad():
        model[7].weight.mul_(2)
    assert not torch.equal(Teacher(model, tiny, CPU, "fp32", store_in(tmp_path)).epoch_logits(ACTIVE, 0, 2), first)


@pytest.mark.parametrize("damage", [b"", b"no numbers", "cut", "bits"], ids=["empty", "foreign", "cut short", "zeros"])
def test_a_damaged_file_is_computed_anew(tiny, tmp_path, damage):
    without = run(tiny, None)
    run(tiny, store_in(tmp_path))
    file = files(tmp_path)[1]
    whole = file.read_bytes()
    damaged = {"cut": whole[:-40], "bits": whole[:-80] + bytes(40) + whole[-40:]}
    file.write_bytes(damaged.get(damage, damage))
    assert_same(run(tiny, store_in(tmp_path))[0], without[0])
    assert file.read_bytes() == whole


def test_it_stays_within_its_bounds_and_lets_the_longest_unused_go(tiny, tmp_path):
    def ask(seed: int, epoch: int, limit: float = 3.5) -> None:
        store = store_in(tmp_path, int(limit * (EPOCH + 128)))
        Teacher(trained_statistics(), tiny, CPU, "fp32", store).epoch_logits(ACTIVE, seed, epoch)

    ask(0, 0)
    ask(1, 0)
    ask(1, 1)
    oldest = files(tmp_path)
    ask(0, 0)  # used again: now those of seed 1 are the longest unused
    ask(2, 0)
    assert len(files(tmp_path)) == 3
    assert len(set(files(tmp_path)) & set(oldest)) == 2
    assert {file.parent for file in files(tmp_path)} > {file.parent for file in oldest if file.name.startswith("1.")}


def test_a_training_does_not_push_out_its_own(tiny, tmp_path):
    store = store_in(tmp_path, int(2.5 * (EPOCH + 128)))
    teacher = Teacher(trained_statistics(), tiny, CPU, "fp32", store)
    for epoch in range(4):
        teacher.epoch_logits(ACTIVE, 0, epoch)
    assert [file.name.split(".")[0] for file in files(tmp_path)] == ["0", "1"]


def other_process(work) -> multiprocessing.Process:
    """It may compute nothing with torch, whose threads a fork has not."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "no room"])
def test_what_another_process_is_computing_is_waited_for_and_the_next_epoch_computed(tiny, tmp_path, kept):
    expected = Teacher(trained_statistics(), tiny, CPU, "fp32", store_in(tmp_path / "theirs")).epoch_logits(
        ACTIVE, 0, 0
    )
    (theirs,) = files(tmp_path / "theirs")
    ours = tmp_path / theirs.relative_to(tmp_path / "theirs")

    def compute_the_first() -> None:
        with store_in(tmp_path).claim(ours, 0) as claimed:
            (tmp_path / "claimed").touch()
            while not (tmp_path / "go").exists():
                time.sleep(0.01)
            if kept:
                shutil.copy(theirs, ours)
        os._exit(0 if claimed else 1)

    other = other_process(compute_the_first)
    while not (tmp_path / "claimed").exists():
        time.sleep(0.01)
    teacher = Teacher(trained_statistics(), tiny, CPU, "fp32", store_in(tmp_path, 10**9 if kept else 100))
    asked, computed = [], teacher._computed

    def watched(augmentation, seed, epoch, between):
        asked.append(epoch)
        (tmp_path / "go").touch()
        return computed(augmentation, seed, epoch, between)

    teacher._computed = watched
    assert torch.equal(teacher.epoch_logits(ACTIVE, 0, 0, epochs=2), expected)
    other.join()
    assert other.exitcode == 0
    assert asked == ([1] if kept else [1, 0])
    assert [file.name[0] for file in files(tmp_path)] == (["0", "1"] if kept else [])


@contextlib.contextmanager
def claimed_elsewhere(store, path, epoch, until):
    """Another process is at an epoch until that file is there."""
    told = until.with_name("claimed")

    def hold() -> None:
        with store.claim(path, epoch):
            told.touch()
            while not until.exists():
                time.sleep(0.01)
        os._exit(0)

    other = other_process(hold)
    try:
        while not told.exists():
            time.sleep(0.01)
        yield
    finally:
        until.touch()
        other.join()


def watched(teacher) -> list:
    """The epochs that it computes from now on."""
    asked, computed = [], teacher._computed

    def watch(augmentation, seed, epoch, between):
        asked.append(epoch)
        return computed(augmentation, seed, epoch, between)

    teacher._computed = watch
    return asked


def test_where_there_is_no_room_nobody_waits_and_no_later_epoch_is_computed(tiny, tmp_path):
    kept = Teacher(trained_statistics(), tiny, CPU, "fp32", store_in(tmp_path / "kept"))
    kept.epoch_logits(ACTIVE, 0, 0)
    path = tmp_path / files(tmp_path / "kept")[0].relative_to(tmp_path / "kept")
    store = store_in(tmp_path, 100)
    teacher = Teacher(trained_statistics(), tiny, CPU, "fp32", store)
    asked = watched(teacher)
    teacher.epoch_logits(ACTIVE, 0, 0, epochs=3)
    with claimed_elsewhere(store, path, 1, tmp_path / "go"):
        teacher.epoch_logits(ACTIVE, 0, 1, epochs=3)
    assert asked == [0, 1]


def test_who_waits_looks_at_what_is_there_once(tiny, tmp_path):
    store = store_in(tmp_path)
    teacher = Teacher(trained_statistics(), tiny, CPU, "fp32", store)
    expected, *_ = (teacher.epoch_logits(ACTIVE, 0, epoch) for epoch in range(3))
    (first,) = [file for file in files(tmp_path) if file.name.startswith("0.")]
    hidden, asked, seen, read = first.rename(tmp_path / "hidden"), watched(teacher), [], store.read
    store.read = lambda path, shape: (seen.append(path.name), read(path, shape))[1]

    def between() -> None:
        if len(seen) > 12:
            hidden.rename(first)

    with claimed_elsewhere(store, first, 0, tmp_path / "go"):
        assert torch.equal(teacher.epoch_logits(ACTIVE, 0, 0, 3, between), expected)
    assert asked == []
    assert (seen.count("1"), seen.count("2")) == (1, 1)


def test_who_dies_over_an_epoch_keeps_nobody_waiting(tiny, tmp_path):
    teacher = Teacher(trained_statistics(), tiny, CPU, "fp32", store_in(tmp_path))
    teacher.epoch_logits(ACTIVE, 0, 0)
    (file,) = files(tmp_path)

    def die() -> None:
        with store_in(tmp_path).claim(file, 1) as claimed:
            os._exit(9 if claimed else 0)

    other = other_process(die)
    other.join()
    assert other.exitcode == 9
    teacher.epoch_logits(ACTIVE, 0, 1)
    assert [file.name[0] for file in files(tmp_path)] == ["0", "1"]


def test_what_is_larger_than_the_store_is_not_kept(tiny, tmp_path):
    outcomes = run(tiny, store_in(tmp_path, 100))
    assert files(tmp_path) == []
    assert_same(outcomes[0], run(tiny, None)[0])


def test_a_folder_that_cannot_be_written_is_no_obstacle(tiny, tmp_path):
    (tmp_path / "teachers").write_text("a file")
    assert_same(run(tiny, store_in(tmp_path))[0], run(tiny, None)[0])


def test_losses_on_maps_alone_ask_for_no_logits(tiny, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=1)
    sp = Job(batchnorm, recipe, loss=losses.preset("sp", None, 1.0, 1.0, ["2:2"]))
    alone = distill(trained_statistics(), [sp], tiny, precision="fp32", teacher_store=store_in(tmp_path))[0]
    assert files(tmp_path) == []
    both = distill(
        trained_statistics(), [sp, Job(mlp, recipe, loss=losses.weighted_kl(2, 0.5))], tiny, precision="fp32"
    )
    assert_same(alone, both[0])
