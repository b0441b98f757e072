"""shapes10 and outlines10: the same images everywhere, balanced, nested, and told apart by outline only."""

import hashlib

import pytest
import torch

from kdlib.data import load
from kdlib.data.shapes import BLOCK, CLASSES, OTHER_CLASSES, outlines10, shapes10


def digest(images: torch.Tensor) -> str:
    return hashlib.sha256(images.numpy()).hexdigest()[:16]


@pytest.fixture(scope="module")
def train() -> tuple[torch.Tensor, torch.Tensor]:
    return shapes10(1500)


@pytest.fixture(scope="module")
def held() -> tuple[torch.Tensor, torch.Tensor]:
    return shapes10(500, "test")


def test_the_images_are_these_on_every_machine(train, held):
    assert digest(train[0][:300]) == "ad4319dc900311f0"
    assert digest(held[0][:300]) == "b5b8f7e7b4e4fb92"


def test_shape_type_and_balance(train):
    images, labels = train
    assert images.shape == (1500, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.bincount(labels).tolist() == [150] * 10
    assert len(CLASSES) == 10


@pytest.mark.parametrize("count", [1, BLOCK, BLOCK + 1])
def test_a_smaller_set_is_the_beginning_of_a_larger_one(count, train):
    larger, larger_labels = train
    images, labels = shapes10(count)
    assert torch.equal(images, larger[:count])
    assert torch.equal(labels, larger_labels[:count])


def test_no_image_occurs_twice_in_train_and_test(train, held):
    images = torch.cat([train[0], held[0]])
    assert len({image.numpy().tobytes() for image in images}) == 2000


def test_another_seed_gives_other_images(train):
    other = shapes10(20, seed=1)[0]
    assert not any(torch.equal(a, b) for a, b in zip(train[0][:20], other, strict=True))


def test_colour_does_not_tell_the_class(train):
    # Nearest class mean of the colour means and deviations: chance is 10 %; what a shape's area adds is little.
    images, labels = train
    pixels = images.float().flatten(2)
    features = torch.cat([pixels.mean(2), pixels.std(2)], 1)
    features = (features - features.mean(0)) / features.std(0)
    centres = torch.stack([features[:1000][labels[:1000] == c].mean(0) for c in range(10)])
    guessed = torch.cdist(features[1000:], centres).argmin(1)
    assert (guessed == labels[1000:]).float().mean() < 0.25


def blank(count: int, part: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(count, 3, 32, 32, dtype=torch.uint8), torch.arange(count) % 10


def test_load_makes_as_many_as_asked_for(held):
    data = load("shapes10", train_size=200, test_size=50)
    assert (len(data.train), len(data.val), len(data.test)) == (160, 40, 50)
    assert torch.equal(data.test.images, held[0][:50])
    assert torch.equal(data.test.labels, held[1][:50])
    assert data.classes == CLASSES


def test_load_of_the_first_classes_has_the_sizes_asked_for():
    data = load("shapes10", train_size=100, test_size=20, classes=3)
    assert (len(data.train), len(data.val), len(data.test)) == (80, 20, 20)
    assert data.classes == CLASSES[:3]
    assert sorted(set(data.train.labels.tolist())) == [0, 1, 2]


def test_default_sizes(monkeypatch):
    monkeypatch.setattr("kdlib.data.sources.draw_shapes", blank)
    data = load("shapes10")
    assert (len(data.train), len(data.val), len(data.test)) == (4000, 1000, 1000)


def test_data_seed_and_split_seed_are_apart():
    base = load("shapes10", train_size=100, test_size=20)
    other_split = load("shapes10", train_size=100, test_size=20, split_seed=1)
    other_data = load("shapes10", train_size=100, test_size=20, data_seed=1)
    assert torch.equal(base.test.images, other_split.test.images)
    assert not torch.equal(base.val.images, other_split.val.images)
    assert not torch.equal(base.test.images, other_data.test.images)
    # The same ten images of each class, dealt out differently.
    pool = {image.numpy().tobytes() for part in (base.train, base.val) for image in part.images}
    assert pool == {i.numpy().tobytes() for part in (other_split.train, other_split.val) for i in part.images}


# --- outlines10


@pytest.fixture(scope="module")
def others() -> tuple[torch.Tensor, torch.Tensor]:
    return outlines10(1500)


def test_outlines10_is_this_on_every_machine(others):
    assert digest(others[0][:300]) == "0cf47e8d45b24c72"
    assert digest(outlines10(300, "test")[0]) == "a67dd6ab0a1684d9"


def test_outlines10_has_other_classes_and_streams_of_its_own(train, others):
    assert len(OTHER_CLASSES) == 10
    assert not set(OTHER_CLASSES) & set(CLASSES)
    assert torch.equal(others[1], train[1])
    # With the same streams the grounds would be alike to the bit around most shapes.
    assert (others[0] == train[0]).float().mean() < 0.02


def test_colour_does_not_tell_the_outline(others):
    test_colour_does_not_tell_the_class(others)


def test_load_outlines10():
    data = load("outlines10", train_size=200, test_size=50)
    assert (len(data.train), len(data.val), len(data.test)) == (160, 40, 50)
    assert data.classes == OTHER_CLASSES
    assert data.fingerprint == "c9fd96cb35e66250"
    assert load("shapes10", train_size=200, test_size=50).fingerprint == "b0ac0adedf387a11"
    some = load("outlines10", train_size=100, test_size=20, classes=3)
    assert (len(some.train), len(some.val), len(some.test)) == (80, 20, 20)
