"""What every loss keeps: two weighted terms, the teacher left alone, full precision, finite gradients, refusals."""

import itertools
from dataclasses import asdict, fields

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import LOGITS, MAPS, build, labels, response

from kdlib import losses
from kdlib.errors import UserError
from kdlib.losses import METHODS, PRESETS, Response, ResponseLoss, Stage
from kdlib.losses.base import centred_unit, to_one_size, unit

ALL = [*PRESETS, *MAPS, *LOGITS]


def either(name, **told):
    return losses.preset(name, 4.0, 0.5, 0.5, **told)


# The frame


def test_names():
    assert losses.names() == ["weighted_kl", "convex_soft_ce", "convex_kl", *MAPS, *LOGITS]
    assert set(METHODS) == {*MAPS, *LOGITS}


@pytest.mark.parametrize("name", ALL)
def test_total_is_alpha_soft_and_lam_ce(name):
    student, teacher, y = response(grad=True), response(seed=1), labels()
    loss = either(name)
    soft, hard = loss.terms(student, teacher, y)
    assert torch.equal(hard, F.cross_entropy(student.logits, y))
    assert loss(student, teacher, y).item() == pytest.approx(0.5 * soft.item() + 0.5 * hard.item(), rel=1e-12)
    assert loss.combine(torch.tensor(3.0), torch.tensor(5.0)) == 4


@pytest.mark.parametrize("name", ALL)
def test_class_weights_weigh_the_labels_alone(name):
    student, teacher, y = response(), response(seed=1), labels()
    weights = torch.tensor([1.0, 2, 3, 4, 5], dtype=torch.float64)
    plain, weighed = (either(name).terms(student, teacher, y, w) for w in (None, weights))
    assert torch.equal(plain[0], weighed[0])
    assert torch.equal(weighed[1], F.cross_entropy(student.logits, y, weights))


@pytest.mark.parametrize("name", ALL)
def test_label_smoothing_spreads_the_labels_alone(name):
    student, teacher, y = response(), response(seed=1), labels()
    plain, smooth = (either(name).terms(student, teacher, y, label_smoothing=share) for share in (0.0, 0.1))
    assert torch.equal(plain[0], smooth[0])
    spread = 0.9 * F.one_hot(y, student.logits.shape[1]) + 0.1 / student.logits.shape[1]
    expected = -(spread * student.logits.log_softmax(1)).sum(1).mean()
    assert smooth[1].item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", LOGITS)
def test_losses_on_logits_take_plain_logits(name):
    student, teacher, y = response(), response(seed=1), labels()
    assert either(name)(student.logits, teacher.logits, y) == either(name)(student, teacher, y)


@pytest.mark.parametrize("name", ALL)
def test_what_a_loss_says_of_itself(name):
    loss = either(name)
    assert loss.needs_features == (name in MAPS)
    assert loss.method == (None if name in PRESETS else name)
    assert asdict(loss).get("method") == loss.method
    assert asdict(loss).get("T", "none") == ("none" if name in MAPS else 4)
    assert loss.T is None or name not in MAPS
    assert len({loss, either(name)}) == 1
    if name not in MAPS:
        assert loss.pair([Stage("a", (1, 2, 2))], [Stage("b", (1, 2, 2))]) == ()
    if name != "fitnets":
        assert loss.adapter([(3, 4, 4)], [(5, 4, 4)]) is None


def test_the_losses_of_the_reports_keep_their_fields():
    # run ids are hashed from these
    assert [field.name for field in fields(ResponseLoss)] == ["T", "alpha", "lam", "soft", "t_squared"]


@pytest.mark.parametrize("name", [*MAPS, *LOGITS])
def test_lam_is_one_less_alpha_where_it_is_not_given(name):
    loss = losses.preset(name, 4, 0.75)
    assert (loss.alpha, loss.lam) == (0.75, 0.25)
    assert losses.preset(name, 4, 2.0, 3.0).lam == 3
    with pytest.raises(UserError, match="lam is 1 - alpha where it is not given, -1 for alpha = 2; give lam too"):
        losses.preset(name, 4, 2.0)


# Gradients and precision


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_reaches_the_student_and_never_the_teacher(name):
    student, teacher = response(grad=True), response(((6, 4, 4, 4),), seed=1, grad=True)
    loss = losses.preset(name, 4, 1.0, 0.0)
    adapter = loss.adapter([(3, 4, 4)], [(4, 4, 4)])
    adapter = adapter.double() if adapter is not None else None
    loss(student, teacher, labels(), adapter).backward()
    assert teacher.logits.grad is None
    assert teacher.features[0].grad is None
    learns = student.features[0] if loss.needs_features else student.logits
    assert learns.grad.abs().sum() > 0
    if adapter is not None:
        assert all(weight.grad.abs().sum() > 0 for weight in adapter.parameters())


@pytest.mark.parametrize("name", ALL)
def test_a_perfect_match_has_no_soft_term(name):
    student = response(grad=True)
    soft, _ = either(name).terms(student, response(), labels())
    assert soft.item() == pytest.approx(0 if name != "convex_soft_ce" else soft.item(), abs=1e-12)
    soft.backward()
    for leaf in (student.logits, *student.features):
        assert leaf.grad is None or leaf.grad.abs().max() < 1e-10


@pytest.mark.parametrize("name", [*MAPS, *LOGITS])
def test_gradient_numerically(name):
    loss, y = losses.preset(name, 4, 1.0, 0.0), labels()
    student, teacher = response(grad=True), response(seed=1)
    if loss.needs_features:
        assert torch.autograd.gradcheck(
            lambda x: loss(Response(student.logits, (x,)), teacher, y), student.features[0], fast_mode=True
        )
    else:
        assert torch.autograd.gradcheck(lambda x: loss(x, teacher.logits, y), student.logits)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("inside", [True, False])
def test_half_precision_is_computed_in_fp32(name, inside):
    half, teacher = response(grad=True, dtype=torch.bfloat16), response(seed=1, dtype=torch.bfloat16)
    features = tuple(x.detach().float().requires_grad_() for x in half.features)
    full = Response(half.logits.detach().float().requires_grad_(), features)
    loss = either(name)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=inside):
        adapter = loss.adapter([(3, 4, 4)], [(3, 4, 4)])
        value = loss(half, teacher, labels(), adapter)
    upcast = Response(teacher.logits.float(), tuple(x.float() for x in teacher.features))
    expected = loss(full, upcast, labels(), adapter)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    value.backward()
    expected.backward()
    assert torch.equal(half.logits.grad, full.logits.grad.bfloat16())
    if loss.needs_features:
        assert torch.equal(half.features[0].grad, full.features[0].grad.bfloat16())


@pytest.mark.parametrize("name", ALL)
def test_float64_is_not_rounded(name):
    assert either(name)(response(), response(seed=1), labels()).dtype == torch.float64


@pytest.mark.parametrize("name", ALL)
def test_a_teacher_run_in_inference_mode_will_do(name):
    student = response(grad=True, dtype=torch.float32)
    with torch.inference_mode():
        teacher = response(seed=1, dtype=torch.float32)
        teacher = Response(teacher.logits + 0, tuple(x + 0 for x in teacher.features))
    either(name)(student, teacher, labels()).backward()
    assert torch.isfinite(student.logits.grad).all()


@pytest.mark.parametrize("name", ALL)
def test_inputs_are_left_alone(name):
    student, teacher = response(), response(seed=1)
    either(name)(student, teacher, labels())
    for now, before in ((student, response()), (teacher, response(seed=1))):
        assert torch.equal(now.logits, before.logits)
        assert torch.equal(now.features[0], before.features[0])


# Degenerate and extreme inputs


def degenerate(rows, dtype):
    return {
        "zeros": Response(torch.zeros(rows, 5, dtype=dtype), (torch.zeros(rows, 3, 4, 4, dtype=dtype),)),
        "constant": Response(torch.full((rows, 5), 0.1, dtype=dtype), (torch.full((rows, 3, 4, 4), 0.1, dtype=dtype),)),
        "huge": Response(torch.randn(rows, 5).mul(1e4).to(dtype), (torch.randn(rows, 3, 4, 4).mul(1e4).to(dtype),)),
        "tiny": Response(torch.randn(rows, 5).mul(1e-20).to(dtype), (torch.randn(rows, 3, 4, 4).mul(1e-20).to(dtype),)),
        "usual": response(((rows, 3, 4, 4),), seed=4, dtype=dtype),
    }


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 6])
def test_degenerate_inputs_give_finite_gradients(name, dtype, rows):
    torch.manual_seed(1)
    given = degenerate(rows, dtype)
    for ours, theirs in itertools.product(given, given):
        student = Response(given[ours].logits.clone(), tuple(x.clone() for x in given[ours].features))
        leaves = (student.logits, *student.features)
        for leaf in leaves:
            leaf.requires_grad_()
        value = either(name)(student, given[theirs], labels(rows))
        value.backward()
        assert torch.isfinite(value), (ours, theirs)
        for leaf in leaves:
            assert leaf.grad is None or torch.isfinite(leaf.grad).all(), (ours, theirs)


@pytest.mark.parametrize("name", ["sp", "at", "rkd", "kd_std", "dist"])
def test_constant_inputs_give_no_gradient(name):
    # rounding must not be blown up into a direction
    student = Response(torch.full((4, 7), 0.1).requires_grad_(), (torch.full((4, 3, 2, 2), 0.1).requires_grad_(),))
    teacher = response(((4, 3, 2, 2),), classes=7, dtype=torch.float32)
    losses.preset(name, 4, 1.0, 0.0)(student, teacher, labels(4)).backward()
    for leaf in (student.logits, *student.features):
        assert leaf.grad is None or leaf.grad.abs().max() < 1e4


def test_two_equal_images_among_others():
    features = response(((4, 3, 2, 2),)).features[0]
    features[1] = features[0]
    for name in MAPS:
        student = Response(torch.zeros(4, 5, dtype=torch.float64), (features.clone().requires_grad_(),))
        either(name)(student, response(((4, 3, 2, 2),), seed=1), labels(4)).backward()
        assert torch.isfinite(student.features[0].grad).all()


# Refusals


@pytest.mark.parametrize("name", [*MAPS, *LOGITS])
@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), None, "1"])
def test_bad_weights(name, weight):
    told = {"T": 4} if name in LOGITS else {}
    with pytest.raises(UserError, match="alpha must be zero or a positive number"):
        METHODS[name](**told, alpha=weight)
    with pytest.raises(UserError, match="lam must be zero or a positive number"):
        METHODS[name](**told, lam=weight)
    with pytest.raises(UserError, match="both 0"):
        METHODS[name](**told, alpha=0, lam=0)


@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize("T", [0, -1, float("nan"), float("inf"), None])
def test_bad_temperature(name, T):
    with pytest.raises(UserError, match="temperature T must be a positive number"):
        losses.preset(name, T, 0.5)


@pytest.mark.parametrize("name", MAPS)
def test_losses_on_maps_pass_over_the_temperature(name):
    assert losses.preset(name, None, 0.5) == losses.preset(name, 4, 0.5)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("sp", "gamma"),
        ("fitnets", "beta"),
        ("at", "beta"),
        ("rkd", "distance"),
        ("rkd", "angle"),
        ("dkd", "target"),
        ("dkd", "rest"),
        ("dist", "inter"),
        ("dist", "intra"),
        ("kd_std", "beta"),
    ],
)
def test_a_papers_own_weight_may_be_zero_and_not_negative(name, weight):
    told = {"T": 4} if name in LOGITS else {}
    METHODS[name](**told, **{weight: 0})
    with pytest.raises(UserError, match=f"{weight} must be zero or a positive number, got -1"):
        METHODS[name](**told, **{weight: -1})


@pytest.mark.parametrize("name", [*PRESETS, *LOGITS])
def test_layers_are_for_losses_on_maps(name):
    with pytest.raises(UserError, match=f"loss {name} compares logits and takes no layers"):
        losses.preset(name, 4, 0.5, layers=["layer4"])


def test_unknown_loss():
    with pytest.raises(UserError, match="unknown loss 'fitnet'; did you mean 'fitnets'"):
        losses.preset("fitnet", 4, 0.5)


@pytest.mark.parametrize("layers", [[], [""], ["a:"], [":b"], ["a:b:c"], [4]])
def test_malformed_layers(layers):
    with pytest.raises(UserError, match="layers"):
        build("at", layers=layers)


@pytest.mark.parametrize("name", MAPS)
def test_maps_that_were_not_read(name):
    with pytest.raises(UserError, match=f"loss {name} needs .*, got 0 and 0"):
        either(name)(response(()).logits, response(()).logits, labels())


# The arithmetic they share


def test_unit():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e30, 0.0], [1e-13, 1e-13]])
    assert torch.allclose(unit(x), torch.tensor([[0.6, 0.8], [0, 0], [1, 0], [0, 0]]))


def test_centred_unit_of_equal_numbers_is_zero():
    for value in (0.1, 1 / 3, 1e6, 1e-9):
        assert not centred_unit(torch.full((1, 10), value)).any()
    assert np.allclose(centred_unit(torch.tensor([[1.0, 2.0, 3.0]])), [[-(0.5**0.5), 0, 0.5**0.5]])


def test_maps_of_two_sizes_meet_at_the_smaller_of_each_side():
    wide, tall = torch.arange(8.0).view(1, 1, 2, 4), torch.arange(8.0).view(1, 1, 4, 2)
    ours, theirs = to_one_size(wide, tall)
    assert torch.equal(ours, torch.tensor([[[[0.5, 2.5], [4.5, 6.5]]]]))
    assert torch.equal(theirs, torch.tensor([[[[1.0, 2.0], [5.0, 6.0]]]]))
    assert to_one_size(wide, wide)[0] is wide


@pytest.mark.parametrize("method", ["kd_std", "dkd", "dist"])
def test_methods_that_say_nothing_about_two_classes_refuse_them(method):
    loss = losses.preset(method, T=2, alpha=1, lam=1)
    loss.check_classes(3)
    with pytest.raises(UserError, match=f"loss {method} is not for two classes: .* take loss weighted_kl"):
        loss.check_classes(2)


@pytest.mark.parametrize(("method", "least"), [("sp", 2), ("rkd", 3), ("fitnets", 1), ("dist", 1)])
def test_methods_that_compare_images_need_some(method, least):
    loss = losses.preset(method, T=4, alpha=1, lam=1)
    loss.check_batch(least)
    if least > 1:
        with pytest.raises(UserError, match=f"compares the images of a batch and needs {least} at least"):
            loss.check_batch(least - 1)


def test_the_others_take_two_classes():
    for name in set(losses.names()) - {"kd_std", "dkd", "dist"}:
        losses.preset(name, T=2, alpha=0.5, lam=0.5).check_classes(2)
