"""DKD distillation: the value by hand, and the identity that the two terms come from."""

import numpy as np
import pytest
import torch
from cases import chance, kl, softmax, tensor

from kdlib import losses
from kdlib.losses import DKD, ResponseLoss

STUDENT, TEACHER = (chance(seed).normal(size=(6, 5)) * 2 for seed in (0, 1))
LABELS = np.array([0, 4, 2, 3, 1, 0])


def by_hand(T, student=STUDENT, teacher=TEACHER, y=LABELS):
    """Zhao et al. 2022: TCKD and NCKD of each image."""
    parts = []
    for logits in (teacher, student):
        p = softmax(logits, T)
        sure = p[np.arange(len(y)), y]
        others = np.array([np.delete(row, label) for row, label in zip(p, y, strict=True)])
        parts.append((np.stack([sure, 1 - sure], axis=1), others / others.sum(axis=1, keepdims=True)))
    (teacher_b, teacher_hat), (student_b, student_hat) = parts
    tckd = (teacher_b * np.log(teacher_b / student_b)).sum(axis=1)
    nckd = (teacher_hat * np.log(teacher_hat / student_hat)).sum(axis=1)
    return tckd, nckd, teacher_b[:, 0]


def soft(loss, student=STUDENT, teacher=TEACHER, y=LABELS):
    return loss.terms(tensor(student), tensor(teacher), torch.tensor(y))[0].item()


@pytest.mark.parametrize("T", [1, 4])
def test_value(T):
    tckd, nckd, _ = by_hand(T)
    assert soft(DKD(T)) == pytest.approx(T**2 * (tckd.mean() + 8 * nckd.mean()), rel=1e-10)
    assert soft(DKD(T, target=2, rest=0)) == pytest.approx(T**2 * 2 * tckd.mean(), rel=1e-10)
    assert losses.preset("dkd", T, 1, 1) == DKD(T)


@pytest.mark.parametrize("T", [1, 4])
def test_kl_is_tckd_and_the_rest_of_nckd(T):
    tckd, nckd, sure = by_hand(T)
    assert (tckd + (1 - sure) * nckd).mean() == pytest.approx(kl(softmax(TEACHER, T), softmax(STUDENT, T)), rel=1e-10)
    # image by image, as 1 - p weighs each its own way
    for i in range(6):
        one = STUDENT[i : i + 1], TEACHER[i : i + 1], LABELS[i : i + 1]
        parts = soft(DKD(T, rest=0), *one) + (1 - sure[i]) * soft(DKD(T, target=0, rest=1), *one)
        whole = ResponseLoss(T, 1, 0).terms(tensor(one[0]), tensor(one[1]), torch.tensor(one[2]))[0].item()
        assert parts == pytest.approx(whole, rel=1e-10)


def test_the_rest_does_not_see_the_label_and_the_target_not_the_rest():
    higher = STUDENT + 3 * np.eye(5)[LABELS]
    rest = DKD(2, target=0)
    assert soft(rest, student=higher) == pytest.approx(soft(rest), rel=1e-10)
    # the same share for the others, handed out in another order
    swapped = STUDENT.copy()
    for row, label in zip(swapped, LABELS, strict=True):
        others = [k for k in range(5) if k != label]
        row[others] = row[others[::-1]]
    target = DKD(2, rest=0)
    assert soft(target, student=swapped) == pytest.approx(soft(target), rel=1e-10)
    assert soft(rest, student=swapped) != pytest.approx(soft(rest), rel=1e-3)


def test_a_shift_of_the_logits_leaves_it():
    shift = np.arange(6)[:, None]
    assert soft(DKD(4), student=STUDENT + shift) == pytest.approx(soft(DKD(4)), rel=1e-10)


def test_two_classes_have_no_rest():
    y = np.array([0, 1, 0, 1, 0, 1])
    two = STUDENT[:, :2], TEACHER[:, :2], y
    assert soft(DKD(1, target=0), *two) == 0
    assert soft(DKD(1, rest=0), *two) == pytest.approx(kl(softmax(two[1]), softmax(two[0])), rel=1e-10)
