"""Precision: forced or chosen, and always on record."""

import pytest
import torch
from small import assert_same, batchnorm, mlp, trained_statistics

from kdlib import models
from kdlib.data import normalise
from kdlib.errors import UserError
from kdlib.losses import weighted_kl
from kdlib.training import PRECISIONS, Job, Recipe, device, distill, fit

CPU = torch.device("cpu")
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
    ran = [dtype for training, dtype in seen if training]
    # three batches; before them the check, in their precision, and the estimate of memory, in fp32
    assert set(ran[-3:]) | {ran[0]} == {torch.bfloat16 if asked == "bf16" else torch.float32}
    # validation as in training, the test in fp32
    assert [dtype for training, dtype in seen if not training][-2:] == [ran[-1], torch.float32]


@pytest.mark.parametrize("asked", ["bf16", "fp32"])
def test_weights_and_logits_are_fp32_in_any_precision(tiny, asked):
    job = Job(batchnorm, RECIPE, loss=weighted_kl(4, 0.5))
    outcome = distill(trained_statistics(), [job], tiny, precision=asked)[0]
    assert {t.dtype for t in outcome.state.values()} == {torch.float32, torch.int64}
    assert outcome.logits.dtype == torch.float32
    assert outcome.diverged is None


@pytest.mark.parametrize(
    ("has", "speed", "chosen"), [(True, 2.0, "bf16"), (True, 0.8, "fp32"), (True, 1.29, "fp32"), (False, None, "fp32")]
)
def test_auto_asks_the_cpu(tiny, monkeypatch, has, speed, chosen):
    monkeypatch.setattr(device, "has_bf16", lambda: has)
    # without instructions it is not tried
    monkeypatch.setattr(device, "speed_of_bf16", lambda: speed)
    assert fit(Job(mlp, RECIPE), tiny, precision="auto").precision == chosen
    teacher, student = models.build("resnet18_kd", 4), models.build("mobilenetv2_fc", 4)
    assert device.choose(teacher, CPU, "auto") == chosen
    # depthwise convolutions have no fast kernel in bf16
    assert device.choose(student, CPU, "auto") == "fp32"


def test_the_cpu_is_asked_for_instructions_not_for_kernels(monkeypatch):
    for bf16, amx, found in ((False, False, False), (True, False, True), (False, True, True)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda bf16=bf16: bf16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        assert device.has_bf16() == found


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The trials of a machine whose bf16 is twice as fast; its memory is a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    device.speed_of_bf16.cache_clear()
    trials = []
    monkeypatch.setattr(device, "_trial", lambda which: (trials.append(which), 1.0 if which == "bf16" else 2.0)[1])
    yield trials
    device.speed_of_bf16.cache_clear()


def test_a_machine_is_measured_once_and_remembered(measured, monkeypatch, tmp_path):
    assert device.speed_of_bf16() == 2.0
    assert len(measured) == 10
    device.speed_of_bf16.cache_clear()  # as in another process
    monkeypatch.setattr(device, "_trial", lambda which: 1.0)
    assert device.speed_of_bf16() == 2.0
    (file,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert file.name == "bf16.json"
    for broken in ("", "[]x", "{}"):
        file.write_text(broken)
        device.speed_of_bf16.cache_clear()
        assert device.speed_of_bf16() == 1.0


def test_without_a_cache_folder_it_is_measured_all_the_same(measured, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert device.speed_of_bf16() == 2.0


def test_the_trial_is_of_a_training_step():
    random = torch.get_rng_state()
    assert all(device._trial(which) > 0 for which in ("fp32", "bf16"))
    assert torch.equal(torch.get_rng_state(), random)


def test_what_auto_chooses_does_not_change_a_run(tiny, monkeypatch):
    monkeypatch.setattr(device, "has_bf16", lambda: False)
    auto = fit(Job(batchnorm, RECIPE), tiny, precision="auto")
    assert_same(auto, fit(Job(batchnorm, RECIPE), tiny, precision="fp32"))


def test_test_logits_are_computed_in_fp32_whatever_the_training(tiny):
    outcome = fit(Job(mlp, RECIPE), tiny, precision="bf16")
    model = mlp()
    model.load_state_dict(outcome.state)
    images = normalise(tiny.test.images, tiny.mean, tiny.std)
    with torch.no_grad():
        assert torch.equal(outcome.logits, model.eval()(images))
    assert not torch.equal(outcome.logits, outcome.logits.bfloat16().float())


def test_an_unknown_precision_is_refused(tiny):
    with pytest.raises(UserError, match=r"precision must be one of auto, bf16, fp32; got 'fp16'"):
        fit(Job(mlp, RECIPE), tiny, precision="fp16")
    assert PRECISIONS == ("auto", "bf16", "fp32")
