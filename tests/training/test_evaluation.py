"""A model tested as it is: nothing is trained, nothing moves."""

import copy

import torch
import torch.nn.functional as F

from kdlib import models
from kdlib.data import normalise
from kdlib.training import evaluate

CPU = torch.device("cpu")


def test_the_outcome_says_what_the_model_answers(tiny):
    torch.manual_seed(0)
    model = models.build("conv3", tiny.num_classes)
    outcome = evaluate(copy.deepcopy(model), tiny, CPU)
    with torch.inference_mode():
        logits = model.eval()(normalise(tiny.test.images, tiny.mean, tiny.std))
    assert torch.allclose(outcome.logits, logits, atol=1e-5)
    assert outcome.metrics["test_accuracy"] == (logits.argmax(1) == tiny.test.labels).double().mean().item()
    assert abs(outcome.metrics["test_loss"] - F.cross_entropy(logits, tiny.test.labels).item()) < 1e-5
    assert (outcome.metrics["epoch"], outcome.history, outcome.state, outcome.diverged) == (0, [], {}, None)
    assert "train_accuracy" not in outcome.metrics


def test_nothing_moves(tiny):
    model = models.build("resnet5", tiny.num_classes)
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    evaluate(model, tiny, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.training


def test_a_model_that_is_broken_has_diverged(tiny):
    model = models.build("resnet5", tiny.num_classes)
    torch.nn.init.constant_(model.fc.weight, float("nan"))
    outcome = evaluate(model, tiny, CPU)
    assert outcome.diverged == {"reason": "the loss or the logits became NaN or infinite", "epoch": 0}


def test_what_a_model_draws_is_the_same_every_time(tiny):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    model.register_forward_hook(lambda module, given, out: out + torch.randn_like(out))
    random = torch.get_rng_state()
    first, second = evaluate(model, tiny, CPU), evaluate(model, tiny, CPU)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(torch.get_rng_state(), random)
