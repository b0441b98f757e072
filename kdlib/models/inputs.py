"""What a network expects of its images, where that is not what the data set gives: another size, mean and deviation."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from kdlib.models import from_timm


def adapt(
    model: nn.Module, name: str, mean: Sequence[float], std: Sequence[float], input_size: int | None = None
) -> nn.Module:
    """Have the model ``name`` take images normalised by a data set's ``mean`` and ``std`` (in 0..1 units); return it.

    A network of timm's has its own, for which its weights were made (colour images alone have them). ``input_size``:
    the side, in pixels, to which images are resized in the model. It is done by a hook, which leaves the network's own
    module names, by which layers are opened and pruned, as they are.
    """
    scale, shift = (1.0,) * len(mean), (0.0,) * len(mean)
    if name.startswith(from_timm.PREFIX) and len(mean) == 3:
        own_mean, own_std = from_timm.statistics(name.removeprefix(from_timm.PREFIX))
        scale = tuple(theirs / ours for theirs, ours in zip(std, own_std, strict=True))
        shift = tuple((m - o) / s for m, o, s in zip(mean, own_mean, own_std, strict=True))
    if input_size is not None or scale != (1.0,) * len(mean):
        model.register_forward_pre_hook(partial(_adapted, scale, shift, input_size))
    return model


def _adapted(scale: tuple, shift: tuple, size: int | None, module: nn.Module, given: tuple) -> tuple:
    """Return the arguments of a network's forward, the images (B, C, H, W) resized and brought to its normalisation."""
    images, *rest = given
    if size is not None and images.shape[-2:] != (size, size):
        images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    if scale != (1.0,) * len(scale) or any(shift):
        scale, shift = (torch.tensor(v, device=images.device).view(1, -1, 1, 1) for v in (scale, shift))
        images = images * scale + shift
    return images, *rest
