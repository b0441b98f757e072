"""Augmentation against its definition, sample by sample; normalisation against values worked out by hand."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from kdlib.data import Augmentation, affine, augment, draws, normalise
from kdlib.errors import UserError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(seed))


EVERYTHING = Augmentation(pad=2, flip=True, rotate=10, scale=0.1, brightness=0.2, contrast=0.2)


def test_nothing_to_do_is_identity():
    images = noise(8, 3, 12, 10)
    assert not Augmentation().active
    assert torch.equal(augment(images, Augmentation(pad=0, flip=False, rotate=0.0), draws(len(images), 0)), images)


def windows(image: torch.Tensor, pad: int) -> dict[tuple[int, int], np.ndarray]:
    """Every window of the padded image, by its offset, as numpy pads it."""
    height, width = image.shape[1:]
    padded = np.pad(image.numpy(), ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    return {(y, x): padded[:, y : y + height, x : x + width] for y in range(2 * pad + 1) for x in range(2 * pad + 1)}


def test_each_sample_is_a_window_of_its_padded_self():
    images = noise(64, 3, 9, 11)
    out = augment(images, Augmentation(pad=2), draws(len(images), 0))
    seen = set()
    for before, after in zip(images, out, strict=True):
        hits = [at for at, window in windows(before, 2).items() if np.array_equal(window, after.numpy())]
        assert len(hits) == 1
        seen.update(hits)
    assert len(seen) > 15  # of 25 offsets, 64 draws: each sample has an offset of its own
    assert {y for y, _ in seen} == {x for _, x in seen} == set(range(5))


def test_flip_mirrors_about_half_and_leaves_the_rest():
    images = noise(400, 1, 4, 5)
    out = augment(images, Augmentation(flip=True), draws(len(images), 0))
    mirrored = [torch.equal(b.flip(2), a) for b, a in zip(images, out, strict=True)]
    kept = [torch.equal(b, a) for b, a in zip(images, out, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 160 < sum(mirrored) < 240


def test_crop_and_flip_together_mirror_the_window():
    images = noise(50, 2, 8, 8)
    out = augment(images, Augmentation(pad=3, flip=True), draws(50, 3))
    for before, after in zip(images, out, strict=True):
        found = [
            flipped
            for window in windows(before, 3).values()
            for flipped in (False, True)
            if np.array_equal(window[..., ::-1] if flipped else window, after.numpy())
        ]
        assert len(found) == 1


@pytest.mark.parametrize("pad", [8, 20])
def test_pad_as_large_as_the_image_is_refused(pad):
    with pytest.raises(UserError, match=rf"pad {pad} must be smaller than the image \(8x9\)"):
        augment(noise(1, 1, 8, 9), Augmentation(pad=pad), draws(1, 0))


def test_the_seed_decides():
    images = noise(16, 3, 16, 16)
    first = augment(images, EVERYTHING, draws(16, 5))
    assert torch.equal(first, augment(images, EVERYTHING, draws(16, 5)))
    assert not torch.equal(first, augment(images, EVERYTHING, draws(16, 6)))


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 999])
def test_an_images_numbers_do_not_depend_on_how_many_there_are(count):
    assert torch.equal(draws(count, 3), draws(1000, 3)[:count])
    assert draws(count, 3).unique().numel() == 7 * count


@pytest.mark.parametrize("size", [(12, 10), (32, 32), (17, 23)])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_augmented_the_same_in_any_batch_and_order(size, channels):
    images, numbers = noise(131, channels, *size), draws(131, 0)
    whole = augment(images, EVERYTHING, numbers)
    order = torch.randperm(131, generator=seeded(1))
    for batch in (1, 2, 13, 64):
        for index in order.split(batch):
            assert torch.equal(augment(images[index], EVERYTHING, numbers[index]), whole[index])


def test_a_part_does_the_same_whatever_the_other_parts_do():
    images, numbers = noise(64, 3, 9, 9), draws(64, 0)
    flipped = (augment(images, Augmentation(flip=True), numbers) != images).flatten(1).any(1)
    both = augment(images, Augmentation(pad=2, flip=True), numbers)
    cropped = augment(images, Augmentation(pad=2), numbers)
    assert torch.equal(both, torch.where(flipped.view(-1, 1, 1, 1), cropped.flip(3), cropped))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_type_and_shape_are_kept_and_the_input_is_not_touched(dtype, channels):
    images = noise(6, channels, 12, 10)
    images = images if dtype == torch.uint8 else (images / 255).to(dtype)
    before = images.clone()
    out = augment(images, EVERYTHING, draws(len(images), 0))
    assert out.dtype == dtype
    assert out.shape == images.shape
    assert torch.equal(images, before)
    assert not torch.equal(images, out)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_sees_the_same_crops():
    images = noise(32, 3, 32, 32)
    aug = Augmentation(pad=4, flip=True)
    assert torch.equal(augment(images, aug, draws(len(images), 0)), augment(images.cuda(), aug, draws(32, 0)).cpu())


def test_rotation_by_zero_is_exact():
    images = noise(4, 3, 17, 20)
    assert torch.equal(affine(images, torch.zeros(4), torch.ones(4)), images)


def test_positive_angles_turn_counter_clockwise():
    images = noise(4, 3, 15, 15)
    angles = torch.tensor([90.0, 180.0, -90.0, 0.0])
    out = affine(images, angles, torch.ones(4))
    for index, turns in enumerate([1, 2, 3, 0]):
        assert torch.equal(out[index], torch.rot90(images[index], turns, (1, 2)))


def test_a_dot_on_the_right_moves_up_by_the_sine_of_the_angle():
    image = torch.zeros(1, 1, 41, 61)
    image[0, 0, 20, 30 + 18] = 1.0  # 18 pixels to the right of the centre of a picture that is not square
    out = affine(image, torch.tensor([30.0]), torch.ones(1))[0, 0]
    rows, columns = torch.arange(41.0), torch.arange(61.0)
    row = (out.sum(1) * rows).sum() / out.sum()
    column = (out.sum(0) * columns).sum() / out.sum()
    assert row.item() == pytest.approx(20 - 18 * 0.5, abs=0.2)
    assert column.item() == pytest.approx(30 + 18 * 0.8660, abs=0.2)


def test_magnification_moves_a_dot_outwards():
    image = torch.zeros(1, 1, 41, 41)
    image[0, 0, 20, 30] = 1.0
    out = affine(image, torch.zeros(1), torch.tensor([1.5]))[0, 0]
    column = (out.sum(0) * torch.arange(41.0)).sum() / out.sum()
    assert column.item() == pytest.approx(20 + 15, abs=0.3)


def test_random_rotation_stays_within_its_angle():
    image = torch.zeros(200, 1, 41, 41)
    image[:, 0, 20, 38] = 1.0
    out = augment(image, Augmentation(rotate=20), draws(len(image), 0))[:, 0]
    row = (out.sum(2) * torch.arange(41.0)).sum(1) / out.sum((1, 2))
    column = (out.sum(1) * torch.arange(41.0)).sum(1) / out.sum((1, 2))
    angle = torch.rad2deg(torch.atan2(20 - row, column - 20))
    assert angle.abs().max() < 21.5
    assert angle.min() < -17
    assert angle.max() > 17


def test_brightness_adds_one_amount_an_image_within_its_bounds():
    images = torch.full((300, 3, 4, 4), 100, dtype=torch.uint8)
    added = augment(images, Augmentation(brightness=0.2), draws(len(images), 0)).int() - 100
    assert torch.equal(added.amin((1, 2, 3)), added.amax((1, 2, 3)))
    assert -51 <= added.min() <= -45  # 0.2 * 255 = 51
    assert 45 <= added.max() <= 51


def test_brightness_stays_in_range():
    white, black = torch.full((50, 1, 2, 2), 250, dtype=torch.uint8), torch.zeros(50, 1, 2, 2)
    bright = augment(white, Augmentation(brightness=0.5), draws(len(white), 0))
    assert bright.max() == 255
    assert bright.min() >= 122  # 250 - 127.5, and nothing has wrapped around
    assert augment(black, Augmentation(brightness=0.5), draws(len(black), 0)).min() == 0


def test_contrast_stretches_about_the_mean():
    images = torch.tensor([80, 120], dtype=torch.uint8).view(1, 1, 1, 2).repeat(300, 1, 1, 1)
    out = augment(images, Augmentation(contrast=0.5), draws(len(images), 0)).int().view(300, 2)
    assert (out.sum(1) - 200).abs().max() <= 1  # the mean stays 100
    half = (out[:, 1] - out[:, 0]).float() / 2
    assert 10 <= half.min() < 12
    assert 28 < half.max() <= 30


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pad": -1}, "pad must be a whole number of pixels, 0 or more, not -1"),
        ({"pad": 1.5}, "pad must be a whole number of pixels, 0 or more, not 1.5"),
        ({"rotate": -5}, "rotate must lie in 0..180, not -5"),
        ({"rotate": float("nan")}, "rotate must lie in 0..180, not nan"),
        ({"scale": 1.0}, "scale must lie in 0..0.9, not 1.0"),
        ({"brightness": 2}, "brightness must lie in 0..1, not 2"),
        ({"contrast": "high"}, "contrast must lie in 0..1, not 'high'"),
    ],
)
def test_wrong_values_are_refused(wrong, message):
    with pytest.raises(UserError) as caught:
        Augmentation(**wrong)
    assert str(caught.value) == f"augmentation: {message}"


def test_augmentation_is_a_key_and_a_dictionary():
    assert {Augmentation(pad=4): 1}[Augmentation(pad=4)] == 1
    assert Augmentation(**asdict(EVERYTHING)) == EVERYTHING
    assert EVERYTHING.active


def test_normalise_by_hand():
    images = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).view(1, 2, 1, 2)
    out = normalise(images, mean=(0.2, 0.5), std=(0.1, 0.25))
    # (0 - 0.2) / 0.1, (0.2 - 0.2) / 0.1, (0.4 - 0.5) / 0.25, (1 - 0.5) / 0.25
    assert out.flatten().tolist() == pytest.approx([-2.0, 0.0, -0.4, 2.0], abs=1e-6)


def test_normalise_layout_and_type():
    images = noise(4, 3, 8, 6)
    out = normalise(images, (0.5,) * 3, (0.25,) * 3)
    assert out.dtype == torch.float32
    assert out.shape == images.shape
    assert out.is_contiguous(memory_format=torch.channels_last)
