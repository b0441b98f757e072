"""RKD distillation: the value by hand, and the motions that distances and angles do not see."""

import numpy as np
import pytest
import torch
from cases import build, chance, maps, soft

from kdlib.losses import RKD


def huber(x, y):
    gap = abs(x - y)
    return gap**2 / 2 if gap <= 1 else gap - 0.5


def by_hand(student, teacher):
    """Park et al. 2019, pair by pair and triple by triple; means over all B² and B³ of them."""
    both = [np.asarray(x).reshape(*x.shape[:2], -1).mean(axis=2) for x in (student, teacher)]
    n = len(student)
    psi_d, psi_a = [], []
    for e in both:
        d = {(i, j): np.linalg.norm(e[i] - e[j]) for i in range(n) for j in range(n)}
        mean = np.mean([value for value in d.values() if value > 0])
        psi_d.append({key: value / mean for key, value in d.items()})
        cosines = {}
        for i in range(n):
            for j in range(n):
                for k in range(n):
                    a, b = e[i] - e[j], e[k] - e[j]
                    norms = np.linalg.norm(a) * np.linalg.norm(b)
                    cosines[i, j, k] = a @ b / norms if norms else 0.0
        psi_a.append(cosines)
    distance, angle = (sum(huber(x[key], y[key]) for key in x) for x, y in (psi_d, psi_a))
    return distance / n**2, angle / n**3


DISTANCE, ANGLE = RKD(distance=1, angle=0), RKD(distance=0, angle=1)


def test_value():
    student, teacher = maps((6, 3, 4, 4)), 3 * maps((6, 5, 2, 2), seed=1)
    distance, angle = by_hand(student, teacher)
    assert soft(DISTANCE, [student], [teacher]) == pytest.approx(distance, rel=1e-10)
    assert soft(ANGLE, [student], [teacher]) == pytest.approx(angle, rel=1e-10)
    assert soft(build("rkd"), [student], [teacher]) == pytest.approx(25 * distance + 50 * angle, rel=1e-10)


def test_value_with_pencil():
    # on a line: distances 1, 1, 2 (mean 4/3) against 1, 1, 0 (mean 1)
    student = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64).view(3, 1, 1, 1)
    teacher = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).view(3, 1, 1, 1)
    expected = 2 * (2 * (0.75 - 1) ** 2 / 2 + (1.5 - 0.5)) / 9
    assert soft(DISTANCE, [student], [teacher]) == pytest.approx(expected, rel=1e-12)


def test_far_distances_count_linearly():
    student = torch.zeros(9, 1, 1, 1, dtype=torch.float64)
    student[0] = 1.0
    teacher = maps((9, 4, 1, 1))
    assert soft(DISTANCE, [100 * teacher**5], [teacher]) == pytest.approx(by_hand(teacher**5, teacher)[0], rel=1e-9)


def moved(x, seed=5):
    """A rotation, and a shift, of the embeddings."""
    turn = torch.tensor(np.linalg.qr(chance(seed).normal(size=(x.shape[1],) * 2))[0])
    return torch.einsum("dc,bchw->bdhw", turn, x) + torch.arange(x.shape[1]).view(-1, 1, 1)


@pytest.mark.parametrize("loss", [DISTANCE, ANGLE, build("rkd")])
def test_motions_and_scale_leave_it(loss):
    student, teacher = maps((6, 3, 2, 2)), maps((6, 5, 2, 2), seed=1)
    value = soft(loss, [student], [teacher])
    for same in (moved(student), 7 * student, -student, 0.01 * moved(student)):
        assert soft(loss, [same], [teacher]) == pytest.approx(value, rel=1e-9)
        assert soft(loss, [student], [same]) == pytest.approx(0, abs=1e-18)


def test_only_the_mean_over_positions_is_seen():
    student, teacher = maps((6, 3, 2, 2)), maps((6, 5, 2, 2), seed=1)
    flat = student.mean(dim=(2, 3), keepdim=True).expand(6, 3, 7, 5)
    assert soft(build("rkd"), [flat], [teacher]) == pytest.approx(soft(build("rkd"), [student], [teacher]), rel=1e-10)


def test_a_batch_of_one_has_no_relations():
    assert soft(build("rkd"), [maps((1, 3, 2, 2))], [maps((1, 5, 2, 2), seed=1)]) == 0
