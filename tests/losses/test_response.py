"""The distillation loss: values in float64 numpy, gradients, identities, extremes, half precision, refusals."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kdlib.errors import UserError
from kdlib.losses import PRESETS, ResponseLoss, convex_kl, convex_soft_ce, preset, weighted_kl

STUDENT = np.array([[2.0, 0.5, -1.0], [0.0, 1.0, 0.25]])
TEACHER = np.array([[3.0, 1.0, -2.0], [-0.5, 0.5, 2.0]])
LABELS = np.array([0, 2])


def softmax(logits, T=1.0):
    e = np.exp(np.asarray(logits, dtype=np.float64) / T)
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(logits=STUDENT, labels=LABELS):
    return -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()


def kl(T, student=STUDENT, teacher=TEACHER):
    """KL(teacher || student), summed over classes, mean over samples."""
    p, q = softmax(teacher, T), softmax(student, T)
    return (p * np.log(p / q)).sum(axis=1).mean()


def soft_ce(T, student=STUDENT, teacher=TEACHER):
    return -(softmax(teacher, T) * np.log(softmax(student, T))).sum(axis=1).mean()


def entropy(T, teacher=TEACHER):
    p = softmax(teacher, T)
    return -(p * np.log(p)).sum(axis=1).mean()


def tensors(dtype=torch.float64, grad=False):
    student = torch.tensor(STUDENT, dtype=dtype, requires_grad=grad)
    return student, torch.tensor(TEACHER, dtype=dtype), torch.tensor(LABELS)


def random_logits(rows=8, classes=10, dtype=torch.float64, spread=3.0):
    chance = torch.Generator().manual_seed(7)
    draw = torch.randn(2, rows, classes, generator=chance, dtype=torch.float64) * spread
    labels = torch.randint(classes, (rows,), generator=chance)
    return draw[0].to(dtype), draw[1].to(dtype), labels


# Values


def test_the_numpy_reference_on_figures_one_can_check_with_pencil():
    # equal logits: softmax (1/2, 1/2) against (3/4, 1/4), from logits (ln 3, 0)
    student, teacher = np.array([[0.0, 0.0]]), np.array([[np.log(3), 0.0]])
    assert kl(1, student, teacher) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert soft_ce(1, student, teacher) == pytest.approx(np.log(2))
    ours = ResponseLoss(1, 1, 0)(torch.tensor(student), torch.tensor(teacher), torch.tensor([0]))
    assert ours.item() == pytest.approx(0.130812035941137, rel=1e-12)


@pytest.mark.parametrize("T", [1, 2, 4.5])
@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("name", ["weighted_kl", "convex_soft_ce", "convex_kl"])
def test_presets_by_hand(name, T, alpha):
    soft = {"weighted_kl": T**2 * kl(T), "convex_soft_ce": soft_ce(T), "convex_kl": T**2 * kl(T)}[name]
    value = preset(name, T, alpha)(*tensors()).item()
    assert value == pytest.approx(alpha * soft + (1 - alpha) * cross_entropy(), rel=1e-12)


def test_weights_of_weighted_kl_are_free():
    value = weighted_kl(2, 0.9, 1.7)(*tensors()).item()
    assert value == pytest.approx(0.9 * 4 * kl(2) + 1.7 * cross_entropy(), rel=1e-12)


@pytest.mark.parametrize("soft", ["kl", "ce"])
@pytest.mark.parametrize("t_squared", [True, False])
def test_t_squared_is_a_factor_of_the_soft_term_alone(soft, t_squared):
    T = 3
    loss = ResponseLoss(T, 0.4, 0.6, soft=soft, t_squared=t_squared)
    term = (kl if soft == "kl" else soft_ce)(T) * (T**2 if t_squared else 1)
    assert loss(*tensors()).item() == pytest.approx(0.4 * term + 0.6 * cross_entropy(), rel=1e-12)
    got_soft, got_hard = loss.terms(*tensors())
    assert (got_soft.item(), got_hard.item()) == pytest.approx((term, cross_entropy()), rel=1e-12)


def test_mean_is_over_the_batch_not_over_the_classes():
    student, teacher, labels = tensors()
    loss = weighted_kl(2, 0.5)
    each = [loss(student[i : i + 1], teacher[i : i + 1], labels[i : i + 1]).item() for i in range(2)]
    assert loss(student, teacher, labels).item() == pytest.approx(sum(each) / 2, rel=1e-12)
    twice = loss(student.repeat(2, 1), teacher.repeat(2, 1), labels.repeat(2))
    assert twice.item() == pytest.approx(sum(each) / 2, rel=1e-12)


@pytest.mark.parametrize("T", [1, 5, 50])
def test_soft_cross_entropy_less_kl_is_the_teachers_entropy(T):
    values = [ResponseLoss(T, 1, 0, soft=soft, t_squared=False)(*tensors()).item() for soft in ("ce", "kl")]
    assert values[0] - values[1] == pytest.approx(entropy(T), rel=1e-12)


def test_a_student_that_equals_its_teacher_has_no_kl():
    _, teacher, labels = tensors()
    assert ResponseLoss(3, 1, 0)(teacher, teacher, labels).item() == pytest.approx(0, abs=1e-15)


def test_the_teacher_is_the_target_distribution():
    # KL is not symmetric: the value must be the one with the teacher first
    T = 1
    reverse = kl(T, student=TEACHER, teacher=STUDENT)
    assert abs(kl(T) - reverse) > 0.01
    assert ResponseLoss(T, 1, 0)(*tensors()).item() == pytest.approx(kl(T), rel=1e-12)


# Gradients and identities


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("T", [1, 4])
def test_gradient_numerically(name, T):
    student, teacher, labels = random_logits(4, 5)
    student.requires_grad_()
    loss = preset(name, T, 0.7)
    assert torch.autograd.gradcheck(lambda z: loss(z, teacher, labels), student)


@pytest.mark.parametrize("name", PRESETS)
def test_gradient_by_hand(name):
    T, alpha = 3.0, 0.6
    student, teacher, labels = tensors(grad=True)
    preset(name, T, alpha)(student, teacher, labels).backward()
    factor = T if name != "convex_soft_ce" else 1 / T  # d(softmax cross-entropy at T)/dz carries 1/T
    soft = factor * (softmax(STUDENT, T) - softmax(TEACHER, T)) / 2
    hard = (softmax(STUDENT) - np.eye(3)[LABELS]) / 2
    assert student.grad.numpy() == pytest.approx(alpha * soft + (1 - alpha) * hard, rel=1e-10)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_alpha_zero_is_exactly_cross_entropy(name, dtype):
    student, teacher, labels = random_logits(dtype=dtype)
    ours, plain = student.clone().requires_grad_(), student.clone().requires_grad_()
    value = preset(name, 4, 0)(ours, teacher, labels)
    expected = F.cross_entropy(plain, labels)
    value.backward()
    expected.backward()
    assert torch.equal(value, expected)
    assert torch.equal(ours.grad, plain.grad)


def test_gradient_tends_to_logit_matching_as_t_grows():
    student, teacher, labels = random_logits(4, 5)
    centred = [z - z.mean(dim=1, keepdim=True) for z in (student, teacher)]
    limit = (centred[0] - centred[1]) / (5 * 4)  # Hinton et al. 2015, eq. 4; per sample over K, mean over the batch
    errors = []
    for T in (10, 100, 1000):
        z = student.clone().requires_grad_()
        ResponseLoss(T, 1, 0)(z, teacher, labels).backward()
        errors.append(((z.grad - limit).norm() / limit.norm()).item())
    # the next term of the expansion falls as 1/T
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.05)
    assert errors[2] < 0.005


def test_without_t_squared_the_gradient_fades_as_its_inverse():
    student, teacher, labels = random_logits()
    grads = []
    for t_squared in (True, False):
        z = student.clone().requires_grad_()
        ResponseLoss(20, 1, 0, t_squared=t_squared)(z, teacher, labels).backward()
        grads.append(z.grad)
    assert torch.allclose(grads[1] * 400, grads[0], rtol=1e-10)


def test_teacher_gets_no_gradient():
    student, teacher, labels = tensors(grad=True)
    teacher.requires_grad_()
    weighted_kl(2, 0.5)(student, teacher, labels).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_inputs_are_left_alone():
    student, teacher, labels = tensors()
    convex_kl(2, 0.5)(student, teacher, labels)
    assert np.array_equal(student.numpy(), STUDENT)
    assert np.array_equal(teacher.numpy(), TEACHER)


# Extremes


@pytest.mark.parametrize("name", PRESETS)
def test_no_underflow_at_t_50(name):
    student, teacher, labels = random_logits(dtype=torch.float32, spread=1.0)
    z = student.clone().requires_grad_()
    loss = preset(name, 50, 0.9)
    value = loss(z, teacher, labels)
    value.backward()
    reference = student.double().requires_grad_()
    expected = loss(reference, teacher.double(), labels)
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-3)
    assert torch.allclose(z.grad.double(), reference.grad, rtol=1e-2, atol=1e-6)
    # the soft term alone is small at T = 50 without T² and must not be lost
    soft, _ = ResponseLoss(50, 1, 0, t_squared=False).terms(student, teacher, labels)
    exact = kl(50, student.double().numpy(), teacher.double().numpy())
    assert 0 < exact < 0.01
    assert soft.item() == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_huge_logits_stay_finite(name, dtype):
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype)
    value = preset(name, 1, 0.5)(student, teacher, torch.tensor([1, 0]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()
    # hard terms 2e4 and 2e4; soft terms 2e4, and 0.5e4 where the teacher is of two minds (KL: less ln 2)
    assert value.item() == pytest.approx(0.5 * 2e4 + 0.5 * 1.25e4, rel=0.01)


# Half precision


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("T", [1, 4, 50])
@pytest.mark.parametrize("inside", [True, False])
def test_bf16_logits_are_computed_in_fp32(name, T, inside):
    student, teacher, labels = random_logits(dtype=torch.bfloat16)
    half = student.clone().requires_grad_()
    full = student.float().requires_grad_()
    loss = preset(name, T, 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=inside):
        value = loss(half, teacher, labels)
    expected = loss(full, teacher.float(), labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    value.backward()
    expected.backward()
    assert torch.equal(half.grad, full.grad.bfloat16())


def test_fp32_logits_under_autocast_are_not_rounded():
    student, teacher, labels = random_logits(dtype=torch.float32)
    loss = weighted_kl(50, 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(student, teacher, labels)
    assert torch.equal(inside, loss(student, teacher, labels))


def test_float64_is_not_rounded_to_fp32():
    assert ResponseLoss(2, 1, 1)(*tensors()).dtype == torch.float64


# Refusals

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("T", [0, -1, NAN, INF])
def test_bad_temperature(T):
    with pytest.raises(UserError, match="temperature T must be a positive number"):
        ResponseLoss(T, 0.5, 0.5)


@pytest.mark.parametrize("weight", [-0.1, NAN, INF])
def test_bad_weights(weight):
    with pytest.raises(UserError, match="alpha must be"):
        ResponseLoss(2, weight, 0.5)
    with pytest.raises(UserError, match="lam must be"):
        ResponseLoss(2, 0.5, weight)


def test_nothing_to_learn_from():
    with pytest.raises(UserError, match="both 0"):
        ResponseLoss(2, 0, 0)


def test_unknown_soft_term():
    with pytest.raises(UserError, match="'kl' or 'ce', got 'mse'"):
        ResponseLoss(2, 0.5, 0.5, soft="mse")


@pytest.mark.parametrize("build", [convex_kl, convex_soft_ce])
def test_convex_losses_take_a_lam_only_where_it_agrees(build):
    assert build(2, 0.7, 0.3) == build(2, 0.7)
    with pytest.raises(UserError, match=r"lam is 1 - alpha = 0\.3 in a convex loss, got 0\.7"):
        build(2, 0.7, 0.7)


@pytest.mark.parametrize("build", [convex_kl, convex_soft_ce])
@pytest.mark.parametrize("alpha", [-0.1, 1.1, NAN])
def test_convex_losses_refuse_alpha_outside_0_1(build, alpha):
    with pytest.raises(UserError, match="alpha must lie between 0 and 1"):
        build(2, alpha)


def test_unknown_preset_names_the_known():
    with pytest.raises(UserError, match=r"unknown loss 'hinton'.*weighted_kl, convex_soft_ce, convex_kl"):
        preset("hinton", 2, 0.5)
