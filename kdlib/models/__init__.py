"""Named architectures: ``build("resnet18_kd", num_classes=10)``; and weights to start them from."""

from kdlib.models import backbones, cnn, resnet  # noqa: F401  (importing them registers their models)
from kdlib.models.inputs import adapt
from kdlib.models.pretrained import checkpoint, digest, head_of, imagenet, imagenet_name, open_only, start_from
from kdlib.models.registry import build, check, code, names, register

__all__ = [
    "adapt",
    "build",
    "check",
    "checkpoint",
    "code",
    "digest",
    "head_of",
    "imagenet",
    "imagenet_name",
    "names",
    "open_only",
    "register",
    "start_from",
]
