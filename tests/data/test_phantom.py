"""phantom: the same films everywhere, patients with one label each, and no way round looking at the lungs."""

import hashlib

import pytest
import torch

from kdlib.data import load
from kdlib.data.phantom import BLOCK, CLASSES, MOST_FILMS, SIDE, phantom

Films = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.numpy()).hexdigest()[:16]


@pytest.fixture(scope="module")
def train() -> Films:
    return phantom(1000)


@pytest.fixture(scope="module")
def held() -> Films:
    return phantom(300, "test")


def test_the_films_are_these_on_every_machine(train, held):
    assert [digest(t[:300]) for t in train[:2]] == ["a2ed9f1d10192267", "279f98a7b07212e0"]
    assert [digest(t) for t in held] == ["739f05067a4542bb", "ad6ed9fb91effd38", "489f9558f0f04451"]


def test_shape_and_type(train):
    images, labels, patients = train
    assert images.shape == (1000, 3, SIDE, SIDE)
    assert images.dtype == torch.uint8
    assert images.is_contiguous()
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])
    assert labels.dtype == patients.dtype == torch.int64
    assert CLASSES == ("normal", "opacity")


def test_classes_are_as_unequal_as_in_the_release(train, held):
    assert train[1].float().mean().item() == pytest.approx(3875 / 5216, abs=0.015)
    assert held[1].float().mean().item() == pytest.approx(390 / 624, abs=0.015)


def test_a_patient_has_one_to_four_films_in_a_row_and_one_label(train):
    _, labels, patients = train
    sizes = torch.bincount(patients)
    assert sizes.min() >= 1
    assert sizes.max() == MOST_FILMS
    assert torch.equal(patients, patients.sort().values)
    assert torch.equal(patients.unique(), torch.arange(len(sizes)))
    for number in range(len(sizes)):
        assert len(labels[patients == number].unique()) == 1


@pytest.mark.parametrize("count", [1, BLOCK, BLOCK + 3])
def test_a_smaller_set_is_the_beginning_of_a_larger_one(count, train):
    for small, large in zip(phantom(count), train, strict=True):
        assert torch.equal(small, large[:count])


def test_no_film_occurs_twice_and_seeds_differ(train, held):
    films = torch.cat([train[0], held[0], phantom(100, seed=1)[0]])[:, 0]
    assert len({film.numpy().tobytes() for film in films}) == len(films)


def test_films_of_one_patient_are_more_alike_than_of_two(train):
    images, _, patients = train
    films = images[:, 0].float().flatten(1)
    films = (films - films.mean(1, keepdim=True)) / films.std(1, keepdim=True)
    alike = films @ films.T / films.shape[1]
    same = (patients[:, None] == patients[None]) & ~torch.eye(1000, dtype=torch.bool)
    assert alike[same].mean() > alike[patients[:, None] != patients[None]].mean() + 0.03


def auroc(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of pairs, one of each class, in which the opacity scores higher."""
    return (scores[labels == 1][:, None] > scores[labels == 0][None]).float().mean().item()


@pytest.mark.parametrize("region", [slice(0, SIDE), slice(12, 50)])
def test_brightness_does_not_tell_the_class(train, held, region):
    for images, labels, _ in (train, held):
        film = images[:, 0, region, region].float()
        for score in (film.mean((1, 2)), film.amax((1, 2)), film.amin((1, 2))):
            assert 0.35 < auroc(score, labels) < 0.65


def test_lungs_are_darker_than_what_lies_around_them(train):
    mean = train[0][:, 0].float().mean(0)
    left, right = mean[20:32, 14:22].mean(), mean[20:32, 42:50].mean()
    spine, belly = mean[20:44, 30:34].mean(), mean[56:, 20:44].mean()
    assert max(left, right) + 25 < min(spine, belly)
    # The heart lies mostly to the reader's right.
    assert mean[34:42, 36:44].mean() > mean[34:42, 20:28].mean() + 20


def test_opacities_brighten_the_lungs_somewhere(train):
    images, labels, _ = train
    film = images[:, 0].float()
    mean = [film[labels == label].mean(0) for label in (0, 1)]
    lungs = (mean[1] - mean[0])[18:42]
    belly = (mean[1] - mean[0])[56:, 20:44].mean()
    assert torch.cat([lungs[:, 12:24], lungs[:, 42:54]], 1).mean() > belly + 5


def test_load_keeps_patients_apart():
    data = load("phantom", train_size=200, test_size=80)
    assert (len(data.train) + len(data.val), len(data.test)) == (200, 80)
    assert abs(len(data.val) - 40) <= 3
    sets = [set(part.groups.tolist()) for part in (data.train, data.val, data.test)]
    assert sets[0] & sets[1] == sets[0] & sets[2] == sets[1] & sets[2] == set()
    assert data.classes == CLASSES
    told = data.describe()
    assert told["group_counts"] == dict(zip(("train", "val", "test"), map(len, sets), strict=True))
    assert load("phantom", train_size=200, test_size=80, image_size=32, grayscale=True).shape == (1, 32, 32)


def test_fingerprint_and_seeds():
    data = load("phantom", train_size=100, test_size=50)
    assert data.fingerprint == "6d350c9baffba78c"
    other = load("phantom", train_size=100, test_size=50, split_seed=1)
    assert torch.equal(data.test.images, other.test.images)
    assert not torch.equal(data.val.images, other.val.images)
    assert load("phantom", train_size=100, test_size=50, data_seed=1).fingerprint != data.fingerprint


def test_default_sizes(monkeypatch):
    def blank(count: int, part: str, seed: int) -> Films:
        return torch.zeros(count, 3, 2, 2, dtype=torch.uint8), torch.arange(count) % 2, torch.arange(count)

    monkeypatch.setattr("kdlib.data.sources.draw_phantom", blank)
    data = load("phantom")
    assert (len(data.train), len(data.val), len(data.test)) == (1200, 300, 300)
