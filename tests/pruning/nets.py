"""Networks of a few channels with chosen weights, batches, and what the tests compare."""

import functools
from collections import OrderedDict

import torch
from torch import nn

from kdlib import models, pruning
from kdlib.pruning.criteria import gathered


def two_layers() -> nn.Sequential:
    """1×1 convolutions 1 -> 2 -> 2 and a linear classifier, all without bias."""
    model = chain(
        conv1=nn.Conv2d(1, 2, 1, bias=False),
        relu=nn.ReLU(),
        conv2=nn.Conv2d(2, 2, 1, bias=False),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        fc=nn.Linear(2, 2, bias=False),
    )
    fill(model.conv1, [[1.0], [3.0]])
    fill(model.conv2, [[1.0, -2.0], [3.0, 4.0]])
    fill(model.fc, [[1.0, 0.0], [0.0, -2.0]])
    return model


def normed(width: int = 8, classes: int = 4) -> nn.Sequential:
    """Two convolutions with batch norm, statistics and shifts that are not those of a new one; 3×8×8 images.

    The same weights every time; shifts are positive, so that no channel is dead by chance.
    """
    torch.manual_seed(0)
    model = chain(
        conv1=nn.Conv2d(3, width, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(width, 6, 3, padding=1),
        bn2=nn.BatchNorm2d(6),
        relu2=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        fc=nn.Linear(6, classes),
    )
    for bn in (model.bn1, model.bn2):
        nn.init.uniform_(bn.weight, 0.5, 1.5)
        nn.init.uniform_(bn.bias, 0.2, 1.0)
        nn.init.normal_(bn.running_mean)
        nn.init.uniform_(bn.running_var, 0.5, 1.5)
    return model.eval()


def chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def fill(layer: nn.Module, weights: list) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights).reshape(layer.weight.shape))


def batches(count: int = 2, size: int = 4, shape=(3, 8, 8), classes: int = 4, seed: int = 0) -> list:
    chance = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, *shape, generator=chance), torch.randint(classes, (size,), generator=chance))
        for _ in range(count)
    ]


def set_scores(model: nn.Module, spec: pruning.Spec, images: list, shape=(3, 8, 8)) -> dict[str, torch.Tensor]:
    """The scores of each open set, as pruning ranks them."""
    return gathered(pruning.scan(model, shape, spec.keep, spec.protect_se), pruning.score(model, images, spec))


@functools.cache
def built(name: str) -> nn.Module:
    """A registered architecture with 5 classes, in eval mode; tests must not change it."""
    torch.manual_seed(0)
    return models.build(name, 5).eval()


@functools.cache
def pruned(name: str) -> pruning.Pruned:
    """The same, 15 % of its channels gone by magnitude; tests must not change it."""
    return pruning.prune(built(name), pruning.Spec("magnitude", ratio=0.15), shape=(3, 32, 32))
