"""Hooks see what they are named for, and do not outlive their block."""

import pytest
import torch
from torch import nn

from kdlib.hooks import hooked


def test_a_hook_is_told_whose_forward_it_sees():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    seen = []
    with hooked(model.named_children(), lambda name, module, given, out: seen.append((name, tuple(out.shape)))):
        model(torch.zeros(1, 2))
    model(torch.zeros(1, 2))
    assert seen == [("0", (1, 3)), ("1", (1, 3))]


def test_before_a_forward_a_hook_may_change_what_is_read():
    model = nn.Identity()
    with hooked([("it", model)], lambda name, module, given: (given[0] + 1,), before=True):
        assert model(torch.zeros(1)).item() == 1
    assert model(torch.zeros(1)).item() == 0


def test_an_error_leaves_no_hook():
    model = nn.Linear(2, 2)
    with pytest.raises(RuntimeError), hooked([("it", model)], lambda *_: None):
        model(torch.zeros(1, 3))
    assert not model._forward_hooks
