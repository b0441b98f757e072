"""Memory and latency: bytes worked out by hand, and the statistics of given times."""

import pytest
import torch
from torch import nn

from kdlib.profiling import timing


def model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(1000, 500), nn.Linear(500, 200))


STATE = 4 * (1000 * 500 + 500 + 500 * 200 + 200)
BATCH = torch.zeros(8, 10, 10, 10)


def test_inference_peak_is_weights_input_and_what_lives_at_once():
    # Without gradients nothing is freed before the second linear layer has its output.
    assert timing.inference_peak(model(), BATCH) * 1e6 == STATE + 4 * 8 * (1000 + 500 + 200)


def test_a_training_step_holds_the_gradients_as_well():
    peak = timing.training_peak(model(), BATCH) * 1e6
    assert 2 * STATE < peak < 2.1 * STATE + BATCH.nbytes


def test_frozen_layers_need_no_gradient_memory():
    frozen = model()
    frozen[1].requires_grad_(False)
    gradients = 4 * (1000 * 500 + 500)
    saved = (timing.training_peak(model(), BATCH) - timing.training_peak(frozen, BATCH)) * 1e6
    # not all of it: the highest point of the frozen one lies elsewhere, among small temporaries
    assert 0.9 * gradients < saved <= gradients


def test_peaks_grow_with_the_batch_by_the_activations():
    peaks = [timing.inference_peak(model(), torch.zeros(n, 10, 10, 10)) * 1e6 for n in (1, 3)]
    assert peaks[1] - peaks[0] == 2 * 4 * (1000 + 500 + 200)


@pytest.mark.parametrize(
    "subject",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(1000, 4), nn.BatchNorm1d(4)),
        nn.Sequential(nn.Flatten(), nn.Linear(1000, 4)).requires_grad_(False),
    ],
    ids=["one value a channel", "frozen"],
)
def test_a_model_that_cannot_train_on_the_batch_has_no_training_peak(subject):
    assert timing.training_peak(subject, torch.zeros(1, 10, 10, 10)) is None


def test_profiler_setting_in_the_environment_comes_back(monkeypatch):
    for value in (None, "3"):
        monkeypatch.delenv("KINETO_LOG_LEVEL", raising=False)
        if value:
            monkeypatch.setenv("KINETO_LOG_LEVEL", value)
        timing.inference_peak(model(), BATCH)
        assert timing.os.environ.get("KINETO_LOG_LEVEL") == value


@pytest.fixture
def clock(monkeypatch):
    """A clock on which the runs take the given milliseconds."""

    def use(*spans: float) -> None:
        ticks = [t for span in spans for t in (0.0, span / 1e3)]
        monkeypatch.setattr(timing.time, "perf_counter", lambda: ticks.pop(0))

    return use


def test_latency_is_the_median_without_the_warm_up(clock):
    clock(900, 900, 4, 1, 3, 2, 10)
    found = timing.latency(model(), BATCH, repeats=5, warm_up=2)
    # sorted 1 2 3 4 10: median 3, quartiles 2 and 4
    assert found["latency_ms"] == pytest.approx(3)
    assert found["latency_iqr_ms"] == pytest.approx(2)
    assert found["throughput"] == pytest.approx(8 / 0.003)


def test_one_run_has_no_spread(clock):
    clock(5)
    assert timing.latency(model(), BATCH, repeats=1, warm_up=0)["latency_iqr_ms"] == 0


def test_cuda_is_waited_for_around_every_run(clock, monkeypatch):
    waits = []
    monkeypatch.setattr(timing, "_wait", lambda device: waits.append(device.type))
    clock(1, 1, 1)
    timing.latency(model(), BATCH, repeats=2, warm_up=1)
    assert len(waits) == 2 * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peak_holds_weights_and_input_and_leaves_the_device_as_it_was():
    batch = BATCH.cuda()
    before = torch.cuda.memory_allocated()
    assert timing.inference_peak(model(), batch) * 1e6 >= STATE + batch.nbytes
    assert torch.cuda.memory_allocated() - before <= 2**24  # the workspace of the matrix library stays


class Counting(nn.Module):
    """Notes in which order models are called."""

    calls: list = []  # noqa: RUF012 - shared by the copies that are timed

    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, x):
        """Note the call."""
        assert not self.training
        assert not torch.is_grad_enabled()
        Counting.calls.append(self.name)
        return x


def test_models_are_timed_in_turns():
    Counting.calls.clear()
    subjects = [Counting(name).train() for name in "abc"]
    found = timing.latencies(subjects, torch.zeros(2, 3, 4, 4), repeats=7)
    # two untimed runs and five timed ones a turn, then two and two, beginning with the next model
    assert "".join(Counting.calls) == "a" * 7 + "b" * 7 + "c" * 7 + "b" * 4 + "c" * 4 + "a" * 4
    for times in found:
        assert 0 < times["q1_ms"] <= times["median_ms"] <= times["q3_ms"]


def test_one_turn_has_no_spread():
    (times,) = timing.latencies([nn.Flatten()], torch.zeros(1, 3, 4, 4), repeats=1)
    assert times["q1_ms"] == times["median_ms"] == times["q3_ms"]
