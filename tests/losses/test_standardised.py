"""Distillation on standardised logits: the value by hand, and that range and shift are not seen."""

import numpy as np
import pytest
from cases import build, chance, kl, softmax, tensor
from cases import soft as soft_term

from kdlib.losses import LogitStd

STUDENT, TEACHER = (chance(seed).normal(size=(6, 5)) * 2 for seed in (0, 1))


def soft(loss, student=STUDENT, teacher=TEACHER):
    return soft_term(loss, tensor(student), tensor(teacher))


def z(logits):
    return (logits - logits.mean(axis=1, keepdims=True)) / logits.std(axis=1, keepdims=True)


@pytest.mark.parametrize("T", [1, 2, 4])
def test_value(T):
    expected = T**2 * kl(softmax(z(TEACHER), T), softmax(z(STUDENT), T))
    assert soft(LogitStd(T, beta=1)) == pytest.approx(expected, rel=1e-10)
    assert soft(build("kd_std", T)) == pytest.approx(9 * expected, rel=1e-10)


def test_shift_and_positive_scale_of_each_image_leave_it():
    loss = build("kd_std", 2)
    scale, shift = np.array([[0.1], [2], [3], [4], [5], [60]]), np.array([[1.0], [-2], [3], [40], [5], [6]])
    assert soft(loss, scale * STUDENT + shift) == pytest.approx(soft(loss), rel=1e-9)
    assert soft(loss, STUDENT, scale * STUDENT + shift) == pytest.approx(0, abs=1e-12)
    assert soft(loss, -STUDENT, STUDENT) > 1


def test_equal_logits_are_the_uniform_distribution():
    flat = np.full((6, 5), 0.3)
    expected = kl(softmax(z(TEACHER), 2), np.full((6, 5), 0.2))
    assert soft(LogitStd(2, beta=1), flat) == pytest.approx(4 * expected, rel=1e-10)
