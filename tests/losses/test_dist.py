"""DIST: the value by hand, and that correlations do not see shift or scale."""

import numpy as np
import pytest
import torch
from cases import build, chance, softmax, tensor
from cases import soft as soft_term

from kdlib.losses import DIST
from kdlib.losses.logits import _apart

STUDENT, TEACHER = (chance(seed).normal(size=(6, 5)) * 2 for seed in (0, 1))


def soft(loss, student=STUDENT, teacher=TEACHER):
    return soft_term(loss, tensor(student), tensor(teacher))


def by_hand(T):
    """Huang et al. 2022: 1 - Pearson over the classes of each image, and over the images of each class."""
    ours, theirs = softmax(STUDENT, T), softmax(TEACHER, T)
    inter = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs, strict=True)])
    intra = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(ours.T, theirs.T, strict=True)])
    return inter, intra


@pytest.mark.parametrize("T", [1, 4])
def test_value(T):
    inter, intra = by_hand(T)
    assert soft(build("dist", T)) == pytest.approx(T**2 * 2 * (inter + intra), rel=1e-10)
    assert soft(DIST(T, inter=1, intra=0)) == pytest.approx(T**2 * inter, rel=1e-10)
    assert soft(DIST(T, inter=0, intra=1)) == pytest.approx(T**2 * intra, rel=1e-10)


def test_shift_and_positive_scale_of_the_rows_leave_it():
    x, y = tensor(STUDENT), tensor(TEACHER)
    scale, shift = tensor([[0.1], [2], [3], [4], [5], [60]]), tensor([[1.0], [-2], [3], [40], [5], [6]])
    assert _apart(scale * x + shift, y).item() == pytest.approx(_apart(x, y).item(), rel=1e-9)
    assert _apart(scale * x + shift, x).item() == pytest.approx(0, abs=1e-12)
    assert _apart(-x, x).item() == pytest.approx(2, rel=1e-12)


def test_a_shift_of_the_logits_leaves_it():
    assert soft(build("dist"), STUDENT + np.arange(6)[:, None]) == pytest.approx(soft(build("dist")), rel=1e-9)


def test_a_batch_of_one_has_nothing_within_a_class():
    student = tensor(STUDENT[:1], grad=True)
    term, _ = DIST(1, inter=0, intra=1).terms(student, tensor(TEACHER[:1]), torch.tensor([0]))
    assert term.item() == 1
    term.backward()
    assert not student.grad.any()
