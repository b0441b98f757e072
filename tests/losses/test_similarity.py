"""Similarity-preserving distillation: the value by hand, and what the similarities do not see."""

import numpy as np
import pytest
import torch
from cases import build, chance, maps, soft

from kdlib.losses import SimilarityPreserving


def by_hand(student, teacher):
    """Tung and Mori 2019: 1/B² of the squared Frobenius distance of the row-normalised Gram matrices."""

    def gram(x):
        q = np.asarray(x).reshape(len(x), -1)
        g = np.array([[np.dot(a, b) for b in q] for a in q])
        return g / np.sqrt((g**2).sum(axis=1))[:, None]

    return ((gram(teacher) - gram(student)) ** 2).sum() / len(student) ** 2


def test_value():
    student, teacher = maps((6, 3, 4, 4)), maps((6, 5, 2, 2), seed=1)
    assert soft(build("sp"), [student], [teacher]) == pytest.approx(3000 * by_hand(student, teacher), rel=1e-12)
    assert soft(SimilarityPreserving(gamma=1), [student], [teacher]) == pytest.approx(by_hand(student, teacher))


def test_value_with_pencil():
    # two images, alike for the teacher and at right angles for the student: rows (1, 1)/√2 against (1, 0), (0, 1)
    teacher = torch.ones(2, 1, 1, 2, dtype=torch.float64)
    student = torch.eye(2, dtype=torch.float64).view(2, 1, 1, 2)
    row = (1 - 0.5**0.5) ** 2 + 0.5
    assert soft(SimilarityPreserving(gamma=1), [student], [teacher]) == pytest.approx(2 * row / 4, rel=1e-12)


def test_layers_add_up():
    student = [maps((6, 3, 4, 4)), maps((6, 2, 2, 2), seed=2)]
    teacher = [maps((6, 5, 2, 2), seed=1), maps((6, 2, 3, 3), seed=3)]
    total = sum(by_hand(*pair) for pair in zip(student, teacher, strict=True))
    assert soft(build("sp"), student, teacher) == pytest.approx(3000 * total, rel=1e-12)


def test_any_rotation_of_the_features_and_any_scale_leave_it():
    student, teacher = maps((6, 3, 2, 2)), maps((6, 3, 2, 2), seed=1)
    value = soft(build("sp"), [student], [teacher])
    turn = torch.tensor(np.linalg.qr(chance(5).normal(size=(12, 12)))[0])
    channels, places = torch.tensor([2, 0, 1]), torch.tensor([3, 1, 0, 2])
    turned = (student.flatten(1) @ turn).view_as(student)
    shuffled = student[:, channels].flatten(2)[:, :, places].view_as(student)
    for same in (turned, shuffled, 7 * student, -student):
        assert soft(build("sp"), [same], [teacher]) == pytest.approx(value, rel=1e-10)
        assert soft(build("sp"), [student], [same]) == pytest.approx(0, abs=1e-20)


def test_the_order_of_the_images_does_not_matter():
    student, teacher = maps((6, 3, 2, 2)), maps((6, 3, 2, 2), seed=1)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert soft(build("sp"), [student[order]], [teacher[order]]) == pytest.approx(
        soft(build("sp"), [student], [teacher]), rel=1e-12
    )
