"""Attention transfer: the value by hand, and what attention maps do not see."""

import numpy as np
import pytest
import torch
from cases import build, maps, soft

from kdlib.losses import AttentionTransfer


def attention(x):
    x = np.asarray(x)
    q = (x**2).sum(axis=1).reshape(len(x), -1)
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def by_hand(student, teacher):
    return ((attention(student) - attention(teacher)) ** 2).mean()


def test_value():
    student, teacher = maps((6, 3, 4, 4)), maps((6, 5, 4, 4), seed=1)
    assert soft(build("at"), [student], [teacher]) == pytest.approx(1000 * by_hand(student, teacher), rel=1e-12)
    assert soft(AttentionTransfer(beta=1), [student], [teacher]) == pytest.approx(by_hand(student, teacher))


def test_value_with_pencil():
    # one channel, two positions: (3, 0) looks at the first alone, (1, 1) at both
    student = torch.tensor([3.0, 0.0], dtype=torch.float64).view(1, 1, 1, 2)
    teacher = torch.tensor([1.0, -1.0], dtype=torch.float64).view(1, 1, 1, 2)
    expected = ((1 - 0.5**0.5) ** 2 + 0.5) / 2
    assert soft(AttentionTransfer(beta=1), [student], [teacher]) == pytest.approx(expected, rel=1e-12)


def test_stages_add_up():
    student = [maps((6, 3, 4, 4)), maps((6, 2, 2, 2), seed=2)]
    teacher = [maps((6, 5, 4, 4), seed=1), maps((6, 3, 2, 2), seed=3)]
    total = sum(by_hand(*pair) for pair in zip(student, teacher, strict=True))
    assert soft(build("at"), student, teacher) == pytest.approx(1000 * total, rel=1e-12)


def test_sign_scale_and_order_of_the_channels_leave_it():
    student, teacher = maps((6, 3, 4, 4)), maps((6, 5, 4, 4), seed=1)
    value = soft(build("at"), [student], [teacher])
    signs = torch.where(maps((6, 3, 4, 4), seed=9) > 0, 1.0, -1.0)
    scales = torch.rand(6, 1, 1, 1, dtype=torch.float64) + 0.5
    for same in (student * signs, 7 * student, student * scales, student[:, [2, 0, 1]], student.repeat(1, 2, 1, 1)):
        assert soft(build("at"), [same], [teacher]) == pytest.approx(value, rel=1e-10)
        assert soft(build("at"), [student], [same]) == pytest.approx(0, abs=1e-20)


def test_larger_maps_are_averaged_down():
    student, teacher = maps((6, 3, 8, 8)), maps((6, 5, 4, 4), seed=1)
    energy = (student.numpy() ** 2).sum(axis=1).reshape(6, 4, 2, 4, 2).mean(axis=(2, 4))
    smaller = torch.tensor(np.sqrt(energy)).unsqueeze(1)
    value = soft(build("at"), [student], [teacher])
    assert value == pytest.approx(1000 * by_hand(smaller, teacher), rel=1e-12)
    assert soft(build("at"), [teacher], [student]) == pytest.approx(value, rel=1e-12)
    # the sign of a channel at a place is lost before, not after, the average
    assert soft(build("at"), [student.abs()], [teacher]) == pytest.approx(value, rel=1e-12)
