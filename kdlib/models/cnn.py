"""Plain convolutional networks of the reports: the two-layer student, and the 10- and 3-convolution pair."""

from collections.abc import Sequence

import torch
from torch import nn

from kdlib.models.registry import register


class ConvNet(nn.Module):
    """3×3 convolutions, one pool, one hidden fully connected layer; (B, C, H, W) to (B, num_classes).

    The pool is adaptive to 4×4, which at 32×32 input is the plain 2×2 max pool; it lets other input sizes in.
    """

    def __init__(self, convs: Sequence[tuple[int, int]], hidden: int, num_classes: int, in_channels: int = 3):
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for cout, stride in convs:
            layers += [nn.Conv2d(width, cout, 3, stride=stride, padding=1), nn.ReLU(inplace=True)]
            width = cout
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveMaxPool2d(4)
        self.hidden = nn.Linear(width * 16, hidden)
        self.fc = nn.Linear(hidden, num_classes)
        # Ten convolutions without batch norm do not start with torch's default initialisation.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, num_classes)."""
        x = self.pool(self.features(x)).flatten(1)
        return self.fc(torch.relu(self.hidden(x)))


@register("conv10")
def conv10(num_classes: int, in_channels: int = 3) -> ConvNet:
    """Teacher of the radiology report's CIFAR-10 part: 10 convolutions, 1 pool, one 256-node layer.

    The report gives no widths or strides: two strided convolutions stand in for the pools it does not have.
    """
    convs = [(32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (128, 1), (128, 1)]
    return ConvNet(convs, 256, num_classes, in_channels)


@register("conv3")
def conv3(num_classes: int, in_channels: int = 3) -> ConvNet:
    """Student of the radiology report's CIFAR-10 part: 3 convolutions, 1 pool, one 256-node layer."""
    return ConvNet([(16, 1), (32, 2), (32, 2)], 256, num_classes, in_channels)


class TwoLayerCNN(nn.Module):
    """Student of the alpha × T grid: two 3×3 convolutions, each with ReLU and 2×2 max pool, and a linear classifier.

    (B, C, H, W) to (B, num_classes); 11,298 parameters for ten classes of 3×32×32 images. The report gives no widths:
    with 6 and 16 channels, and no augmentation, the student alone reaches its 61.28 %. The second pool is adaptive to
    8×8, the same at 32×32 input, so that other sizes work.
    """

    def __init__(self, num_classes: int, in_channels: int = 3):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 16, 3, padding=1)
        self.pool1 = nn.MaxPool2d(2)
        self.pool2 = nn.AdaptiveMaxPool2d(8)
        self.fc = nn.Linear(16 * 64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, num_classes)."""
        # Pool before ReLU: the same function, on a quarter of the values.
        x = torch.relu(self.pool1(self.conv1(x)))
        x = torch.relu(self.pool2(self.conv2(x)))
        return self.fc(x.flatten(1))


cnn2 = register("cnn2", TwoLayerCNN)
