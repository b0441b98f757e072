"""What a network expects of its images, where that is not what the data set gives: another size, mean and deviation."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from kdlib.models import from_timm


class Adapted:
    """A forward pre-hook: resizes images and brings them from one normalisation to another; (B, C, H, W) to the same.

    A hook leaves the network's own module names, which open and prune layers, as they are.
    """

    def __init__(self, scale: Sequence[float], shift: Sequence[float], size: int | None):
        self.scale, self.shift, self.size = tuple(scale), tuple(shift), size

    def __call__(self, module: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Return the arguments of the network's forward, the images adapted."""
        images, *rest = given
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)
        if self.scale != (1.0,) * len(self.scale) or any(self.shift):
            scale, shift = (torch.tensor(v, device=images.device).view(1, -1, 1, 1) for v in (self.scale, self.shift))
            images = images * scale + shift
        return images, *rest


def adapt(
    model: nn.Module, name: str, mean: Sequence[float], std: Sequence[float], input_size: int | None = None
) -> nn.Module:
    """Have the model ``name`` take images normalised by a data set's ``mean`` and ``std`` (in 0..1 units); return it.

    A network of timm's has its own, for which its weights were made (colour images alone have them). ``input_size``:
    the side, in pixels, to which images are resized in the model.
    """
    scale, shift = (1.0,) * len(mean), (0.0,) * len(mean)
    if name.startswith(from_timm.PREFIX) and len(mean) == 3:
        own_mean, own_std = from_timm.statistics(name.removeprefix(from_timm.PREFIX))
        scale = tuple(theirs / ours for theirs, ours in zip(std, own_std, strict=True))
        shift = tuple((m - o) / s for m, o, s in zip(mean, own_mean, own_std, strict=True))
    if input_size is not None or scale != (1.0,) * len(mean):
        model.register_forward_pre_hook(Adapted(scale, shift, input_size))
    return model
