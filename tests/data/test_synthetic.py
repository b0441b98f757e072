"""Embedded images: the same everywhere, balanced, nested, told apart by outline or by what lies in the lungs alone."""

import hashlib

import numpy as np
import pytest
import torch

from kdlib.data import load
from kdlib.data.synthetic import (
    BLOCK,
    FILM,
    FINDINGS,
    MOST_FILMS,
    OUTLINES,
    SHAPES,
    SIDE,
    Stream,
    clouds,
    cover,
    grid,
    make,
    outlines10,
    phantom,
    shapes10,
    wave,
)

LINE = np.linspace(-1.3, 1.3, 400, dtype=np.float32)
V, U = np.meshgrid(LINE, LINE, indexing="ij")
CELL = (LINE[1] - LINE[0]) ** 2

Films = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.numpy()).hexdigest()[:16]


@pytest.fixture(scope="module")
def shapes() -> tuple[torch.Tensor, torch.Tensor]:
    return shapes10(1500)


@pytest.fixture(scope="module")
def films() -> Films:
    return phantom(1000)


@pytest.fixture(scope="module")
def held() -> Films:
    return phantom(300, "test")


# --- what they are drawn with


def test_a_stream_is_these_numbers_in_every_version():
    assert Stream(0, 1).uniform(0, 1, 3).tolist() == [0.8897387385368347, 0.5571380257606506, 0.8009080290794373]
    assert Stream(0, 1).uniform(0, 1, 3).tolist() != Stream(0, 2).uniform(0, 1, 3).tolist()
    assert Stream(0, 1).uniform(0, 1, 3).dtype == np.float32


def test_a_stream_goes_on_and_stays_between_its_ends():
    stream = Stream(3)
    first, second = stream.uniform(-2, 5, 1000), stream.uniform(-2, 5, 1000)
    assert not np.array_equal(first, second)
    assert -2 <= first.min() < -1.9
    assert 4.9 < first.max() <= 5


def test_a_frame_turns_but_does_not_stretch():
    u, v = grid(8)
    x, y = Stream(2).turned(u, v, 1)
    # A pixel is a quarter wide at a side of 8, and as wide in the turned frame.
    assert np.hypot(x[:, 0, 1] - x[:, 0, 0], y[:, 0, 1] - y[:, 0, 0]) == pytest.approx(0.25, abs=1e-6)
    assert (u[0, 0, 0], v[0, -1, 0]) == (-0.875, 0.875)
    angles = np.arctan2(y[:, 0, 1] - y[:, 0, 0], x[:, 0, 1] - x[:, 0, 0])
    assert np.abs(angles).max() <= np.pi / 2 + 1e-6
    assert np.abs(angles).max() > 1.4


def test_wave_clouds_and_cover_by_hand():
    assert wave(np.array([0.0, 0.25, 0.5, 0.75, 1.0, -0.25], np.float32)).tolist() == [1.0, 0.5, 0.0, 0.5, 1.0, 0.5]
    made = clouds(Stream(4), 5)
    assert made.shape == (BLOCK, FILM, FILM)
    assert 0 <= made.min() < 0.1 < 0.9 < made.max() <= 1
    assert np.abs(np.diff(made, axis=2)).max() < 0.3  # a cell is 6.4 pixels wide; the steepest step is 1.5 / 6.4
    covered = cover(np.zeros(3, np.float32), np.array([-1, 0, 1], np.float32), np.float32(0.8), 0.5)
    assert covered == pytest.approx([0.8, 0.4, 0])


def test_noise_has_the_deviation_asked_for():
    assert Stream(5).noise(np.float32(0.1), 200, 30, 30).std() == pytest.approx(0.1, abs=0.002)


def test_bytes_are_rounded_half_up_and_cut_off():
    values = np.array([-0.1, 0.5 / 255, 0.49 / 255, 1.7], np.float32)

    def draw(stream: Stream, labels: np.ndarray) -> np.ndarray:
        return values[labels].reshape(BLOCK, 1, 1, 1)

    assert make(draw, (0,), np.array([0, 1, 2, 3])).flatten().tolist() == [0, 1, 0, 255]


def test_an_error_in_a_block_is_not_lost():
    with pytest.raises(ZeroDivisionError):
        make(lambda stream, labels: 1 // 0, (0,), np.zeros(3, np.int64))


# --- outlines


@pytest.mark.parametrize("name", [*SHAPES, *OUTLINES])
def test_an_outline_lies_within_its_radius_and_fills_a_good_part(name):
    distance = {**SHAPES, **OUTLINES}[name](U, V)
    inside = distance < 0
    assert distance.dtype == np.float32
    assert np.isfinite(distance).all()
    assert 0.8 < np.hypot(U, V)[inside].max() < 1.25
    assert 0.8 < inside.sum() * CELL < 2.6


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("disc", np.pi * 0.9**2),
        ("ring", np.pi * (0.92**2 - 0.48**2)),
        ("cross", 2 * 0.6 * 1.9 - 0.6**2),
        ("frame", 1.64**2 - 0.84**2),
        ("bars", 2 * 1.8 * 0.52),
        ("L", 0.5 * 1.7 + 0.8 * 0.5),
        ("T", 1.6 * 0.48 + 0.48 * 1.12),
        ("pentagon", 5 * 0.72**2 * np.tan(np.pi / 5)),
        ("half disc", np.pi * 0.95**2 / 2),
    ],
)
def test_areas_by_hand(name, area):
    assert ({**SHAPES, **OUTLINES}[name](U, V) < 0).sum() * CELL == pytest.approx(area, rel=0.02)


def test_no_two_outlines_are_alike():
    shapes = [outline(U, V) < 0 for outline in (SHAPES | OUTLINES).values()]
    for i, first in enumerate(shapes):
        for second in shapes[:i]:
            assert (first & second).sum() / (first | second).sum() < 0.9


# --- shapes10 and outlines10


def test_the_images_are_these_on_every_machine(shapes):
    assert digest(shapes[0][:300]) == "d945328a8e0626b9"
    assert digest(shapes10(300, "test")[0]) == "f26b3da7c213b4b4"
    assert digest(outlines10(300)[0]) == "a9888e63156fccf1"
    assert digest(outlines10(300, "test")[0]) == "789fb40bdf63d175"


def test_shape_type_and_balance(shapes):
    images, labels = shapes
    assert images.shape == (1500, 3, SIDE, SIDE)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.bincount(labels).tolist() == [150] * 10


@pytest.mark.parametrize("count", [1, BLOCK, BLOCK + 1])
def test_a_smaller_set_is_the_beginning_of_a_larger_one(count, shapes, films):
    for small, large in zip((*shapes10(count), *phantom(count)), (*shapes, *films), strict=True):
        assert torch.equal(small, large[:count])


def test_no_image_occurs_twice(shapes, films, held):
    images = torch.cat([shapes[0], shapes10(500, "test")[0], shapes10(20, seed=1)[0]])
    assert len({image.numpy().tobytes() for image in images}) == 2020
    images = torch.cat([films[0], held[0], phantom(100, seed=1)[0]])
    assert len({image.numpy().tobytes() for image in images}) == 1400


def test_outlines10_has_other_classes_and_streams_of_its_own(shapes):
    assert not set(OUTLINES) & set(SHAPES)
    images, labels = outlines10(1500)
    assert torch.equal(labels, shapes[1])
    # With the same streams the grounds would be alike to the bit around most shapes.
    assert (images == shapes[0]).float().mean() < 0.03


@pytest.mark.parametrize("draw", [shapes10, outlines10])
def test_colour_does_not_tell_the_class(draw):
    # Nearest class mean of the colour means and deviations: chance is 10 %; what a shape's area adds is little.
    images, labels = draw(1500)
    pixels = images.float().flatten(2)
    features = torch.cat([pixels.mean(2), pixels.std(2)], 1)
    features = (features - features.mean(0)) / features.std(0)
    centres = torch.stack([features[:1000][labels[:1000] == c].mean(0) for c in range(10)])
    guessed = torch.cdist(features[1000:], centres).argmin(1)
    assert (guessed == labels[1000:]).float().mean() < 0.25


def test_load_makes_as_many_as_asked_for():
    data = load("shapes10", train_size=200, test_size=50)
    assert (len(data.train), len(data.val), len(data.test)) == (160, 40, 50)
    assert torch.equal(data.test.images, shapes10(50, "test")[0])
    assert data.classes == tuple(SHAPES)
    assert data.fingerprint == "a75718f72ac29cb5"
    other = load("outlines10", train_size=200, test_size=50)
    assert other.classes == tuple(OUTLINES)
    assert other.fingerprint == "9dfd15af97d4d10f"


@pytest.mark.parametrize(("name", "classes"), [("shapes10", SHAPES), ("outlines10", OUTLINES)])
def test_load_of_the_first_classes_has_the_sizes_asked_for(name, classes):
    data = load(name, train_size=100, test_size=20, classes=3)
    assert (len(data.train), len(data.val), len(data.test)) == (80, 20, 20)
    assert data.classes == tuple(classes)[:3]
    assert sorted(set(data.train.labels.tolist())) == [0, 1, 2]


def test_default_sizes(monkeypatch):
    def blank(count: int, part: str, seed: int) -> tuple[torch.Tensor, ...]:
        return torch.zeros(count, 3, 2, 2, dtype=torch.uint8), torch.arange(count) % 10

    def blank_films(count: int, part: str, seed: int) -> Films:
        return torch.zeros(count, 3, 2, 2, dtype=torch.uint8), torch.arange(count) % 2, torch.arange(count)

    monkeypatch.setattr("kdlib.data.sources.draw_shapes", blank)
    monkeypatch.setattr("kdlib.data.sources.draw_phantom", blank_films)
    data = load("shapes10")
    assert (len(data.train), len(data.val), len(data.test)) == (4000, 1000, 1000)
    data = load("phantom")
    assert (len(data.train), len(data.val), len(data.test)) == (1200, 300, 300)


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


# --- phantom


def test_the_films_are_these_on_every_machine(films, held):
    assert [digest(t[:300]) for t in films[:2]] == ["96695a96f1a803bf", "50c6a729571c8223"]
    assert [digest(t) for t in held] == ["1daabe56d8ed66db", "2321f4d597d81165", "128b19ebd47c55c9"]


def test_film_shape_and_type(films):
    images, labels, patients = films
    assert images.shape == (1000, 3, FILM, FILM)
    assert images.dtype == torch.uint8
    assert images.is_contiguous()
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])
    assert labels.dtype == patients.dtype == torch.int64


def test_classes_are_as_unequal_as_in_the_release(films, held):
    assert films[1].float().mean().item() == pytest.approx(3875 / 5216, abs=0.015)
    assert held[1].float().mean().item() == pytest.approx(390 / 624, abs=0.015)


def test_a_patient_has_a_few_films_in_a_row_and_one_label(films):
    _, labels, patients = films
    sizes = torch.bincount(patients)
    assert sizes.min() >= 1
    assert sizes.max() == MOST_FILMS
    assert torch.equal(patients, patients.sort().values)
    assert torch.equal(patients.unique(), torch.arange(len(sizes)))
    for number in range(len(sizes)):
        assert len(labels[patients == number].unique()) == 1


def test_films_of_one_patient_are_more_alike_than_of_two(films):
    images, _, patients = films
    flat = images[:, 0].float().flatten(1)
    flat = (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)
    alike = flat @ flat.T / flat.shape[1]
    same = (patients[:, None] == patients[None]) & ~torch.eye(1000, dtype=torch.bool)
    assert alike[same].mean() > alike[patients[:, None] != patients[None]].mean() + 0.03


def auroc(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of pairs, one of each class, in which the opacity scores higher."""
    return (scores[labels == 1][:, None] > scores[labels == 0][None]).float().mean().item()


def test_brightness_does_not_tell_the_class(films, held):
    for images, labels, _ in (films, held):
        film = images[:, 0].float()
        for score in (film.mean((1, 2)), film.amax((1, 2)), film.amin((1, 2))):
            assert 0.35 < auroc(score, labels) < 0.65


def test_lungs_are_darker_than_what_lies_around_them_and_opacities_brighten_them(films):
    images, labels, _ = films
    film = images[:, 0].float()
    normal, opacity = (film[labels == label].mean(0) for label in (0, 1))
    left, right, belly = (slice(8, 14), slice(6, 10)), (slice(8, 14), slice(22, 26)), slice(28, 32)
    assert max(normal[left].mean(), normal[right].mean()) + 25 < min(normal[4:28, 15:17].mean(), normal[belly].mean())
    # The heart lies mostly to the reader's right.
    assert normal[17:21, 18:21].mean() > normal[17:21, 11:14].mean() + 20
    for lung in (left, right):
        assert (opacity - normal)[lung].mean() > (opacity - normal)[belly].mean() + 5


def test_load_keeps_patients_apart():
    data = load("phantom", train_size=200, test_size=80)
    assert (len(data.train) + len(data.val), len(data.test)) == (200, 80)
    assert abs(len(data.val) - 40) <= 3
    sets = [set(part.groups.tolist()) for part in (data.train, data.val, data.test)]
    assert sets[0] & sets[1] == sets[0] & sets[2] == sets[1] & sets[2] == set()
    assert data.classes == FINDINGS
    told = data.describe()
    assert told["group_counts"] == dict(zip(("train", "val", "test"), map(len, sets), strict=True))
    assert load("phantom", train_size=200, test_size=80, image_size=40, grayscale=True).shape == (1, 40, 40)


def test_fingerprint_and_seeds_of_films():
    data = load("phantom", train_size=100, test_size=50)
    assert data.fingerprint == "9b336c4e0253a7ad"
    other = load("phantom", train_size=100, test_size=50, split_seed=1)
    assert torch.equal(data.test.images, other.test.images)
    assert load("phantom", train_size=100, test_size=50, data_seed=1).fingerprint != data.fingerprint
