"""Residual networks for small images.

``ResNet`` keeps torchvision's module names (conv1, bn1, layer1 ... fc), so torchvision's weights fit the layers
whose shapes agree.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from kdlib.models.registry import register


def _conv3x3(cin: int, cout: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, stride=stride, padding=1, bias=False)


def _shortcut(cin: int, cout: int, stride: int) -> nn.Module | None:
    if stride == 1 and cin == cout:
        return None
    return nn.Sequential(nn.Conv2d(cin, cout, 1, stride=stride, bias=False), nn.BatchNorm2d(cout))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al. 2016, fig. 2); (B, cin, H, W) to (B, cout, H/s, W/s)."""

    def __init__(self, cin: int, cout: int, stride: int = 1):
        super().__init__()
        self.conv1 = _conv3x3(cin, cout, stride)
        self.bn1 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(cout, cout)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = _shortcut(cin, cout, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(residual + shortcut)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + shortcut)


class SingleBlock(nn.Module):
    """One 3×3 convolution beside a shortcut: what makes a ResNet of an odd number of weighted layers possible."""

    def __init__(self, cin: int, cout: int, stride: int = 1):
        super().__init__()
        self.conv1 = _conv3x3(cin, cout, stride)
        self.bn1 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(cin, cout, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(residual + shortcut)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn1(self.conv1(x)) + shortcut)


class ResNet(nn.Module):
    """3×3 stem, optional max pool, stages of residual blocks, global average pool, classifier ``fc``.

    ``stages`` lists for each stage its blocks as (block class, width, stride); (B, C, H, W) to (B, num_classes).
    """

    def __init__(
        self,
        stem: int,
        stages: Sequence[Sequence[tuple[type[nn.Module], int, int]]],
        head: Callable[[int], nn.Module],
        in_channels: int = 3,
        maxpool: bool = False,
    ):
        super().__init__()
        self.conv1 = _conv3x3(in_channels, stem)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if maxpool else nn.Identity()
        width = stem
        self.stages = [f"layer{i}" for i in range(1, len(stages) + 1)]
        for name, blocks in zip(self.stages, stages, strict=True):
            layers = []
            for block, cout, stride in blocks:
                layers.append(block(width, cout, stride))
                width = cout
            self.add_module(name, nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = head(width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(self.avgpool(x).flatten(1))


def tapered_head(features: int, num_classes: int) -> nn.Sequential:
    """Return Linear(c, c/2) BN ReLU Linear(c/2, c/4) BN ReLU Linear(c/4, num_classes), c = ``features``.

    Decoded from Table 2 of the Turkish KD report: only this head gives its parameter counts to the digit.
    """
    half, quarter = features // 2, features // 4
    return nn.Sequential(
        nn.Linear(features, half),
        nn.BatchNorm1d(half),
        nn.ReLU(inplace=True),
        nn.Linear(half, quarter),
        nn.BatchNorm1d(quarter),
        nn.ReLU(inplace=True),
        nn.Linear(quarter, num_classes),
    )


def _resnet18(widths: tuple[int, int, int, int], num_classes: int, in_channels: int) -> ResNet:
    strides = (1, 2, 2, 2)
    stages = [[(BasicBlock, w, s), (BasicBlock, w, 1)] for w, s in zip(widths, strides, strict=True)]
    return ResNet(widths[0], stages, lambda c: tapered_head(c, num_classes), in_channels, maxpool=True)


@register("resnet18_kd")
def resnet18_kd(num_classes: int, in_channels: int = 3) -> ResNet:
    """ResNet18 of the Turkish KD report: 3×3 stride-1 stem, max pool kept; 11,335,114 parameters at 10 classes."""
    return _resnet18((64, 128, 256, 512), num_classes, in_channels)


@register("resnet18_light")
def resnet18_light(num_classes: int, in_channels: int = 3) -> ResNet:
    """The report's Light ResNet18: every width halved; 2,837,226 parameters at 10 classes."""
    return _resnet18((32, 64, 128, 256), num_classes, in_channels)


# The ladder of the ResNet-3..10 report. n counts weighted layers: stem + 3×3 convolutions + classifier; 1×1
# shortcut projections do not count, as in He et al. The report gives no widths: these make parameters, MACs and
# accuracy rise from rung to rung; ResNet-10 has some 200 times the parameters of ResNet-3.
_LADDER = {
    3: (16, [[(SingleBlock, 32, 2)]]),
    4: (16, [[(BasicBlock, 32, 2)]]),
    5: (16, [[(BasicBlock, 32, 2)], [(SingleBlock, 64, 2)]]),
    6: (32, [[(BasicBlock, 64, 2)], [(BasicBlock, 128, 2)]]),
    10: (32, [[(BasicBlock, 32, 1)], [(BasicBlock, 64, 2)], [(BasicBlock, 128, 2)], [(BasicBlock, 256, 2)]]),
}


def _rung(stem: int, stages: list) -> Callable[..., ResNet]:
    def builder(num_classes: int, in_channels: int = 3) -> ResNet:
        return ResNet(stem, stages, lambda c: nn.Linear(c, num_classes), in_channels)

    return builder


for _n, _given in _LADDER.items():
    register(f"resnet{_n}", _rung(*_given))
