"""Precision: forced or chosen, and always on record."""

import pytest
import torch
from small import batchnorm, mlp, trained_statistics

from kdlib.errors import UserError
from kdlib.losses import weighted_kl
from kdlib.training import PRECISIONS, Job, Recipe, distill, fit, precision, train

RECIPE = Recipe(lr=0.01, batch_size=16, epochs=1)


@pytest.mark.parametrize("asked", ["bf16", "fp32"])
def test_a_forced_precision_is_what_runs_and_what_is_recorded(tiny, asked):
    seen = []

    class Spy(torch.nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            seen.append((self.training, out.dtype))
            return out

    def build():
        return torch.nn.Sequential(torch.nn.Flatten(), Spy(192, 4))

    outcome = fit(Job(build, RECIPE), tiny, precision=asked)
    assert outcome.precision == asked
    ran = {dtype for _, dtype in seen[1:]}  # the first forward checks the model
    # memory is estimated in fp32, which says nothing of training
    assert (torch.bfloat16 if asked == "bf16" else torch.float32) in ran
    assert {dtype for training, dtype in seen[-2:]} == {torch.bfloat16 if asked == "bf16" else torch.float32}


@pytest.mark.parametrize("asked", ["bf16", "fp32"])
def test_weights_and_logits_are_fp32_in_any_precision(tiny, asked):
    job = Job(batchnorm, RECIPE, loss=weighted_kl(4, 0.5))
    outcome = distill(trained_statistics(), [job], tiny, precision=asked)[0]
    assert {t.dtype for t in outcome.state.values()} == {torch.float32, torch.int64}
    assert outcome.logits.dtype == torch.float32
    assert outcome.diverged is None


def test_auto_takes_the_faster(tiny, monkeypatch):
    monkeypatch.setattr(precision, "_chosen", {})
    times = {"fp32": 2.0, "bf16": 1.0}
    monkeypatch.setattr(precision, "_trial", lambda model, shape, batch, device, which: times[which])
    assert fit(Job(mlp, RECIPE), tiny, precision="auto").precision == "bf16"
    # kept for the life of the process, for this architecture
    times["fp32"] = 0.5
    assert fit(Job(mlp, RECIPE), tiny, precision="auto").precision == "bf16"
    assert fit(Job(batchnorm, RECIPE), tiny, precision="auto").precision == "fp32"


def test_auto_measures_and_records_one_of_the_two(tiny, monkeypatch):
    monkeypatch.setattr(precision, "_chosen", {})
    a, b = train([Job(mlp, RECIPE), Job(batchnorm, RECIPE)], tiny, precision="auto")
    assert {a.precision, b.precision} <= {"fp32", "bf16"}
    assert len(precision._chosen) == 2


def test_trials_leave_the_model_as_it_was():
    model = batchnorm().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    precision._chosen.clear()
    precision.choose(model, (3, 8, 8), 16, torch.device("cpu"), "auto")
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_what_auto_chooses_does_not_change_a_run(tiny, monkeypatch):
    from small import assert_same

    monkeypatch.setattr(precision, "_trial", lambda model, shape, batch, device, which: float(which == "bf16"))
    monkeypatch.setattr(precision, "_chosen", {})
    auto = fit(Job(batchnorm, RECIPE), tiny, precision="auto")
    assert_same(auto, fit(Job(batchnorm, RECIPE), tiny, precision="fp32"))


def test_an_unknown_precision_is_refused(tiny):
    with pytest.raises(UserError, match=r"precision must be one of auto, bf16, fp32; got 'fp16'"):
        fit(Job(mlp, RECIPE), tiny, precision="fp16")
    assert PRECISIONS == ("auto", "bf16", "fp32")
