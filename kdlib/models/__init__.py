"""Named architectures: ``build("resnet18_kd", num_classes=10)``."""

from kdlib.models import cnn, resnet  # noqa: F401  (importing them registers their models)
from kdlib.models.registry import build, check, names, register

__all__ = ["build", "check", "names", "register"]
