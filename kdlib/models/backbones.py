"""Models on torchvision's backbones: the transfer-learning ResNet18, and the radiology report's pairs.

The backbones keep torchvision's parameter names, so its ImageNet weights fit them. torchvision is imported when a model
is built: planning and listing do without.
"""

import torch
from torch import nn

from kdlib.models.registry import register
from kdlib.models.resnet import tapered_head


def _torchvision(name: str, in_channels: int, **options) -> nn.Module:
    """Return torchvision's network of that name from random weights."""
    from torchvision.models import get_model

    return _taking(get_model(name, weights=None, **options), in_channels)


def _taking(model: nn.Module, in_channels: int) -> nn.Module:
    """Return the model, its first convolution made anew where images have other than three channels."""
    name, old = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    if in_channels != old.in_channels:
        size = old.kernel_size, old.stride, old.padding
        model.set_submodule(name, nn.Conv2d(in_channels, old.out_channels, *size, bias=old.bias is not None))
    return model


@register("resnet18_transfer")
def resnet18_transfer(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Transfer model of the Turkish KD report: torchvision's ResNet18 with the tapered head.

    11,342,794 parameters at 10 classes. Its 7×7 stride-2 stem and max pool take 32×32 images down to 8×8 before the
    first residual block: a quarter of the arithmetic of ``resnet18_kd``.
    """
    model = _torchvision("resnet18", in_channels)
    model.fc = tapered_head(model.fc.in_features, num_classes)
    return model


@register("densenet121_fc")
def densenet121_fc(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Teacher of the radiology report's Model 1: DenseNet121's features and one fully connected layer.

    The report adds "one extra" layer to the pretrained network and does not say behind which; here it takes the place
    of the 1000-class layer, straight on the 1024 pooled features.
    """
    model = _torchvision("densenet121", in_channels)
    model.classifier = nn.Linear(model.classifier.in_features, num_classes)
    return model


@register("mobilenetv2_fc")
def mobilenetv2_fc(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Student of the radiology report's Model 1: MobileNetV2's features and one fully connected layer (1280 in)."""
    model = _torchvision("mobilenet_v2", in_channels)
    model.classifier = nn.Linear(model.last_channel, num_classes)
    return model


@register("densenet121_xray")
class DenseNetXray(nn.Module):
    """Teacher of the radiology report's Model 2 and final model; (B, C, H, W) to (B, num_classes).

    DenseNet121 features, dropout 0.5, 3×3 convolution to 512 maps (padding 1), ReLU, max pool, Linear(512, 64),
    Linear(64, num_classes); nothing between the two linear layers, as the report lists none. Its max pool is 7×7 with
    stride 1, which leaves one position of 224×224 input and cannot be done on less than 7×7 maps. Here the pool is
    adaptive to one position: at 224×224 the same function, and defined at every input size from 32×32 on.
    """

    def __init__(self, num_classes: int, in_channels: int = 3):
        super().__init__()
        self.features = _torchvision("densenet121", in_channels).features
        self.dropout = nn.Dropout(0.5)
        self.conv = nn.Conv2d(1024, 512, 3, padding=1)
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.fc1 = nn.Linear(512, 64)
        self.fc2 = nn.Linear(64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, num_classes)."""
        x = torch.relu(self.conv(self.dropout(self.features(x))))
        return self.fc2(self.fc1(self.pool(x).flatten(1)))


@register("mobilenetv2_xray")
class MobileNetXray(nn.Module):
    """Student of the radiology report's Model 2; with ``dropout``, of its final model; (B, C, H, W) to (B, K).

    MobileNetV2 features, adaptive average pool to 1×1, Linear(1280, 512), ReLU, [dropout], Linear(512, num_classes).
    """

    def __init__(self, num_classes: int, in_channels: int = 3, dropout: float = 0.0):
        super().__init__()
        self.features = _torchvision("mobilenet_v2", in_channels).features
        self.adaptive_pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Linear(1280, 512)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(512, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, num_classes)."""
        x = self.adaptive_pool(self.features(x)).flatten(1)
        return self.fc2(self.dropout(torch.relu(self.fc1(x))))


@register("mobilenetv2_xray_dropout")
def mobilenetv2_xray_dropout(num_classes: int, in_channels: int = 3) -> MobileNetXray:
    """Student of the radiology report's final model: the report adds a dropout layer; 0.5 as in its teacher."""
    return MobileNetXray(num_classes, in_channels, dropout=0.5)


@register("resnet50")
def resnet50(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Model of the TS4 pruning report: torchvision's ResNet50; 23,714,981 parameters at 101 classes.

    Residual branches start at zero (Goyal et al. 2017), which short trainings from random weights need.
    """
    return _torchvision("resnet50", in_channels, num_classes=num_classes, zero_init_residual=True)


@register("efficientnet_b4")
def efficientnet_b4(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Model of the TS5 and TS6 pruning reports: torchvision's EfficientNet-B4; 17,729,709 parameters at 101 classes.

    Residual branches start at zero and the classifier near it: as torchvision initialises them, the loss of a new model
    is twice that of guessing, and a short training from random weights does not get away from it.
    """
    from torchvision.models.efficientnet import MBConv

    model = _torchvision("efficientnet_b4", in_channels, num_classes=num_classes)
    for module in model.modules():
        if isinstance(module, MBConv) and module.use_res_connect:
            nn.init.zeros_(module.block[-1][1].weight)
    nn.init.normal_(model.classifier[1].weight, std=0.01)
    return model


# Small siblings of the same families, for trainings of seconds on small images.


@register("densenet_small")
def densenet_small(num_classes: int, in_channels: int = 3) -> nn.Module:
    """DenseNet121's sibling for `quick`: torchvision's DenseNet with growth 12 and blocks of 4, 4 and 4 layers."""
    from torchvision.models import DenseNet

    return _taking(DenseNet(12, (4, 4, 4), 24, num_classes=num_classes), in_channels)


@register("mobilenetv2_small")
def mobilenetv2_small(num_classes: int, in_channels: int = 3) -> nn.Module:
    """MobileNetV2's sibling for `quick`: torchvision's, with three stages of inverted residuals and 64 features."""
    from torchvision.models import MobileNetV2

    stages = [[1, 8, 1, 1], [4, 12, 2, 2], [4, 16, 2, 2]]
    return _taking(MobileNetV2(num_classes, width_mult=0.5, inverted_residual_setting=stages), in_channels)


@register("resnet50_small")
def resnet50_small(num_classes: int, in_channels: int = 3) -> nn.Module:
    """ResNet50's sibling for `quick`: one bottleneck block a stage, a quarter as wide, behind a 3×3 stem."""
    from timm.models.resnet import Bottleneck, ResNet

    channels = (16, 32, 64, 128)
    model = ResNet(Bottleneck, (1, 1, 1, 1), num_classes, in_channels, channels=channels, zero_init_last=False)
    model.conv1 = nn.Conv2d(in_channels, model.conv1.out_channels, 3, 2, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


@register("efficientnet_small")
def efficientnet_small(num_classes: int, in_channels: int = 3) -> nn.Module:
    """EfficientNet-B4's sibling for `quick`: three stages of MBConv with squeeze-and-excitation."""
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    stages = [(1, 3, 1, 16, 16, 1), (4, 3, 1, 16, 24, 1), (4, 5, 2, 24, 40, 2)]
    blocks = [MBConvConfig(*stage, width_mult=1.0, depth_mult=1.0) for stage in stages]
    model = EfficientNet(blocks, dropout=0.1, num_classes=num_classes, last_channel=256)
    model.features[0][0] = nn.Conv2d(in_channels, 16, 3, 2, padding=1, bias=False)
    return model
