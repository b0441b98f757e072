"""Splits to the digit, seeds that do not touch each other, the fingerprint, and what `load` refuses."""

import json
from collections.abc import Iterator

import pytest
import torch

from kdlib.data import (
    SOURCES,
    Part,
    Parts,
    Request,
    Split,
    check_batch,
    fingerprint,
    hold_out,
    load,
    register,
    subset,
)
from kdlib.errors import UserError


def labels_of(*sizes: int) -> torch.Tensor:
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


def counts(labels: torch.Tensor, classes: int) -> list[int]:
    return torch.bincount(labels, minlength=classes).tolist()


@pytest.fixture
def toy() -> Iterator[str]:
    """A source of 60 + 12 random grey-coded images in three classes of 30, 20, 10 and 6, 4, 2."""
    generator = torch.Generator().manual_seed(1)

    @register("toy")
    def source(request: Request) -> Parts:
        parts = []
        for sizes in ((30, 20, 10), (6, 4, 2)):
            labels = labels_of(*sizes)
            generator.manual_seed(len(labels))
            images = torch.randint(0, 256, (len(labels), 3, 8, 8), dtype=torch.uint8, generator=generator)
            parts.append(Part(images, labels))
        return Parts(("a", "b", "c"), *parts)

    yield "toy"
    del SOURCES["toy"]


# --- stratification


def test_hold_out_of_equal_classes_is_exact():
    labels = labels_of(*[500] * 10)
    kept, held = hold_out(labels, 0.2, 0)
    assert counts(labels[held], 10) == [100] * 10
    assert counts(labels[kept], 10) == [400] * 10


@pytest.mark.parametrize(
    ("sizes", "fraction", "expected"),
    [
        ((1341, 3875), 0.2, [268, 775]),  # 268.2 and 775.0 of 1043 (5216 / 5 = 1043.2)
        ((10, 10, 10), 0.25, [3, 3, 2]),  # 2.5 each of 8 (7.5 rounds up): the first classes get the remainders
        ((100, 10, 1), 0.2, [20, 2, 0]),  # 19.8, 1.98, 0.198 of 22
        ((3, 1), 0.9, [2, 0]),  # one image of each class stays for training
    ],
)
def test_hold_out_to_the_digit(sizes, fraction, expected):
    labels = labels_of(*sizes)
    kept, held = hold_out(labels, fraction, 7)
    assert counts(labels[held], len(sizes)) == expected
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(len(labels)))
    assert torch.equal(held, held.sort().values)


def test_hold_out_of_nothing():
    kept, held = hold_out(labels_of(5, 5), 0, 0)
    assert torch.equal(kept, torch.arange(10))
    assert len(held) == 0


def test_hold_out_is_the_same_for_the_same_seed_and_in_every_version():
    labels = torch.arange(40) % 4
    assert torch.equal(hold_out(labels, 0.2, 3)[1], hold_out(labels, 0.2, 3)[1])
    assert not torch.equal(hold_out(labels, 0.2, 3)[1], hold_out(labels, 0.2, 4)[1])
    assert hold_out(labels, 0.2, 0)[1].tolist() == [0, 6, 9, 14, 23, 24, 25, 27]


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ((30, 20, 10), 12, [6, 4, 2]),
        ((30, 20, 10), 10, [5, 3, 2]),  # 5, 3.33, 1.67
        ((30, 20, 10), 60, [30, 20, 10]),
        ((97, 2, 1), 10, [8, 1, 1]),  # no class is lost
    ],
)
def test_subset_to_the_digit(sizes, count, expected):
    labels = labels_of(*sizes)
    chosen = subset(labels, count, 0)
    assert counts(labels[chosen], len(sizes)) == expected
    assert len(set(chosen.tolist())) == count


def test_a_smaller_subset_lies_within_a_larger_one():
    labels = labels_of(*[100] * 5)
    small, large = subset(labels, 50, 2), subset(labels, 200, 2)
    assert set(small.tolist()) < set(large.tolist())


def test_too_small_to_hold_out_is_an_error():
    with pytest.raises(UserError, match=r"too few training images \(3\) to hold 0.2 of them out"):
        hold_out(labels_of(1, 1, 1), 0.2, 0)


# --- load


def test_sizes_and_types(toy):
    data = load(toy)
    assert [counts(part.labels, 3) for part in (data.train, data.val, data.test)] == [
        [24, 16, 8],
        [6, 4, 2],
        [6, 4, 2],
    ]
    assert (data.num_classes, data.shape) == (3, (3, 8, 8))
    for part in (data.train, data.val, data.test):
        assert part.images.dtype == torch.uint8
        assert part.images.is_contiguous()
        assert part.labels.dtype == torch.int64
        assert len(part) == len(part.images) == len(part.labels)


def test_train_size_comes_before_the_hold_out(toy):
    data = load(toy, train_size=30, test_size=6)
    assert [counts(part.labels, 3) for part in (data.train, data.val, data.test)] == [
        [12, 8, 4],
        [3, 2, 1],
        [3, 2, 1],
    ]


def test_split_seed_moves_the_split_and_nothing_else(toy):
    first, second = load(toy, test_size=6), load(toy, test_size=6, split_seed=1)
    assert torch.equal(first.test.images, second.test.images)
    assert not torch.equal(first.val.images, second.val.images)
    assert counts(first.val.labels, 3) == counts(second.val.labels, 3)
    assert first.fingerprint != second.fingerprint


def test_the_split_does_not_touch_the_global_generators(toy):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load(toy, train_size=30)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(99)
    assert load(toy).fingerprint == load(toy).fingerprint


def test_first_classes_only(toy):
    data = load(toy, classes=2)
    assert data.classes == ("a", "b")
    assert counts(data.train.labels, 3) == [24, 16, 0]
    assert counts(data.test.labels, 3) == [6, 4, 0]


def test_mean_and_deviation_are_of_the_training_split(toy):
    data = load(toy)
    pixels = data.train.images.double() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), rel=1e-9)
    assert data.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), rel=1e-9)


def test_a_channel_without_variation_can_be_divided_by():
    images = torch.full((10, 1, 4, 4), 51, dtype=torch.uint8)
    part = Part(images, torch.arange(10) % 2)
    register("flat")(lambda request: Parts(("a", "b"), part, part))
    try:
        data = load("flat", grayscale=True)
    finally:
        del SOURCES["flat"]
    assert data.mean == (0.2,)
    assert data.std == (1 / 255,)


def test_gray_and_resized(toy):
    data = load(toy, grayscale=True, image_size=4)
    assert data.shape == (1, 4, 4)
    assert len(data.mean) == 1


def test_grey_is_the_usual_weighting():
    images = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)
    part = Part(images.view(4, 3, 1, 1), torch.arange(4) % 2)
    register("colours")(lambda request: Parts(("a", "b"), part, part))
    try:
        data = load("colours", grayscale=True, val_fraction=0)
    finally:
        del SOURCES["colours"]
    assert data.test.images.flatten().tolist() == [76, 150, 29, 255]  # 0.299, 0.587, 0.114 of 255


def test_describe_goes_into_json_and_back(toy):
    data = load(toy)
    told = json.loads(json.dumps(data.describe()))
    assert told == {
        "name": "toy",
        "classes": ["a", "b", "c"],
        "sizes": {"train": 48, "val": 12, "test": 12},
        "class_counts": {"train": [24, 16, 8], "val": [6, 4, 2], "test": [6, 4, 2]},
        "shape": [3, 8, 8],
        "fingerprint": data.fingerprint,
        "mean": list(data.mean),
        "std": list(data.std),
    }


def test_without_patients_there_is_no_word_of_them(toy):
    data = load(toy)
    assert "group_counts" not in data.describe()
    assert data.train.groups is data.val.groups is data.test.groups is None


# --- fingerprint


def test_fingerprint_is_stable_between_loads(toy):
    first = load(toy).fingerprint
    assert first == load(toy).fingerprint
    assert len(first) == 16
    assert set(first) <= set("0123456789abcdef")


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_fingerprint_sees_a_single_pixel_and_a_single_label(toy, part):
    data = load(toy)
    splits = {name: getattr(data, name) for name in ("train", "val", "test")}
    assert fingerprint(data.classes, splits) == data.fingerprint
    images = splits[part].images.clone()
    images[-1, -1, -1, -1] ^= 1
    changed = {**splits, part: Split(images, splits[part].labels)}
    assert fingerprint(data.classes, changed) != data.fingerprint
    labels = splits[part].labels.clone()
    labels[0] = (labels[0] + 1) % 3
    changed = {**splits, part: Split(splits[part].images, labels)}
    assert fingerprint(data.classes, changed) != data.fingerprint


def test_fingerprint_sees_class_names_and_where_an_image_is(toy):
    data = load(toy)
    splits = {name: getattr(data, name) for name in ("train", "val", "test")}
    assert fingerprint(("a", "b", "d"), splits) != data.fingerprint
    swapped = {**splits, "val": splits["test"], "test": splits["val"]}
    assert fingerprint(data.classes, swapped) != data.fingerprint


# --- what is refused


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train_size": 61}, "train_size is 61, but there are only 60 images"),
        ({"test_size": 13}, "test_size is 13, but there are only 12 images"),
        ({"train_size": 2}, "train_size is 2, but there are 3 classes: take one image of each at least"),
        ({"train_size": 0}, "train_size must be a whole number, 1 or more, not 0"),
        ({"train_size": 2.5}, "train_size must be a whole number, 1 or more, not 2.5"),
        ({"image_size": -1}, "image_size must be a whole number, 1 or more, not -1"),
        ({"classes": 4}, "classes must be at most 3 for data set 'toy', not 4"),
        ({"classes": 1}, "classes must be a whole number, 2 or more, not 1"),
        ({"val_fraction": 1.0}, "val_fraction must lie in 0..1, 1 excluded, not 1.0"),
        ({"val_fraction": -0.1}, "val_fraction must lie in 0..1, 1 excluded, not -0.1"),
        ({"split_seed": -1}, "split_seed must be a whole number, 0 or more, not -1"),
        ({"data_seed": -1}, "data_seed must be a whole number, 0 or more, not -1"),
    ],
)
def test_wrong_arguments_are_refused(toy, wrong, message):
    with pytest.raises(UserError) as caught:
        load(toy, **wrong)
    assert str(caught.value) == message


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown data set 'mnist': choose one of .*cifar10, folder, food101, .*sh"):
        load("mnist")


def test_a_class_that_a_source_leaves_without_images():
    part = Part(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 2, 2]))
    register("gap")(lambda request: Parts(("a", "b", "c"), part, part))
    try:
        with pytest.raises(UserError, match="class 'b' of data set 'gap' has no train images"):
            load("gap", val_fraction=0.5)
    finally:
        del SOURCES["gap"]


def test_fewer_images_than_a_batch(toy):
    data = load(toy)
    check_batch(data, 48)
    with pytest.raises(UserError) as caught:
        check_batch(data, 49)
    assert str(caught.value) == (
        "data set 'toy' has 48 training images, fewer than one batch of 49: use a batch size of at most 48"
    )


def test_a_user_error_is_one_line_in_a_notebook():
    assert UserError("no such folder: x")._render_traceback_() == ["UserError: no such folder: x"]
