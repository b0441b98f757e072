"""The tools of the embedded data sets: numbers pinned, directions of length one, waves and clouds in range."""

import numpy as np
import pytest

from kdlib.data.procedural import clouds, direction, each, frame, grid, in_blocks, noise, smooth, stream, to_bytes, wave


def test_a_stream_is_these_numbers_in_every_version():
    assert stream(0, 1)(0, 1, 3).tolist() == [0.8897387385368347, 0.5571380257606506, 0.8009080290794373]
    assert stream(0, 1)(0, 1, 3).tolist() != stream(0, 2)(0, 1, 3).tolist()
    assert stream(0, 1)(0, 1, 3).dtype == np.float32


def test_a_stream_goes_on_and_stays_between_its_ends():
    uniform = stream(3)
    first, second = uniform(-2, 5, 1000), uniform(-2, 5, 1000)
    assert not np.array_equal(first, second)
    assert -2 <= first.min() < -1.9
    assert 4.9 < first.max() <= 5


def test_directions_have_length_one_and_go_everywhere():
    cos, sin = direction(stream(1), 1000)
    assert np.abs(cos * cos + sin * sin - 1).max() < 1e-6
    octants = {(c > 0, s > 0, abs(c) > abs(s)) for c, s in zip(cos.tolist(), sin.tolist(), strict=True)}
    assert len(octants) == 8


def test_a_frame_turns_and_shifts_but_does_not_stretch():
    u, v = frame(stream(2), 5, 8, 3.0)
    assert u.shape == v.shape == (5, 8, 8)
    # One pixel along a row is one pixel in the frame.
    assert np.hypot(u[:, 0, 1] - u[:, 0, 0], v[:, 0, 1] - v[:, 0, 0]) == pytest.approx(1, abs=1e-5)
    y, x = grid(8)
    assert (float(y[0, 0, 0]), float(x[0, 0, -1])) == (-3.5, 3.5)


def test_wave_and_smooth_by_hand():
    positions = np.array([0.0, 0.25, 0.5, 0.75, 1.0, -0.25], np.float32)
    assert wave(positions).tolist() == [1.0, 0.5, 0.0, 0.5, 1.0, 0.5]
    assert smooth(np.array([0.0, 0.5, 1.0, 0.25])).tolist() == [0.0, 0.5, 1.0, 0.15625]


def test_clouds_are_smooth_and_in_range():
    made = clouds(stream(4), 20, 30, 5)
    assert made.shape == (20, 30, 30)
    assert made.min() >= 0
    assert made.max() <= 1
    assert np.abs(np.diff(made, axis=2)).max() < 0.3  # a cell is six pixels wide; the steepest step is 1.5 / 6


def test_noise_has_each_images_own_deviation():
    made = noise(stream(5), (0.02, 0.10), 200, 30, 30)
    deviations = made.reshape(200, -1).std(1)
    assert deviations.min() == pytest.approx(0.02, abs=0.004)
    assert deviations.max() == pytest.approx(0.10, abs=0.008)
    assert abs(made.mean()) < 0.002


def test_bytes_are_rounded_half_up_and_cut_off():
    values = np.array([-0.1, 0.0, 0.5 / 255, 0.49 / 255, 1.0, 1.7], np.float32)
    assert to_bytes(values).tolist() == [0, 0, 1, 0, 255, 255]
    assert to_bytes(values).dtype == np.uint8


def test_blocks_cover_the_count():
    starts = []
    in_blocks(501, 250, starts.append)
    assert sorted(starts) == [0, 250, 500]
    assert each(np.zeros(4)).shape == (4, 1, 1)


def test_an_error_in_a_block_is_not_lost():
    with pytest.raises(ZeroDivisionError):
        in_blocks(10, 5, lambda start: 1 / (start - 5))
