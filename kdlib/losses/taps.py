"""Where a model's feature maps can be read, and reading them; no hook outlives its block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdlib.errors import UserError, did_you_mean
from kdlib.hooks import hooked


@dataclass(frozen=True)
class Stage:
    """A place whose feature maps can be read: the module's name, its output's shape (C, H, W), and whether the module
    is a block of others or a single layer.
    """

    name: str
    shape: tuple[int, int, int]
    block: bool = False


@contextmanager
def tapped(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that holds, by module name, what each named module put out in the model's latest forward; feature
    maps (B, H, W, C), as transformers have within their blocks, as (B, C, H, W).

    An activation that works in place right behind a module changes what was read, values and gradients alike: what is
    read is then its result. Raises ``UserError`` for a name the model has not. The hooks go when the block ends,
    however it ends.
    """
    modules = dict(model.named_modules())
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in modules:
            raise UserError(f"{type(model).__name__} has no module {name!r} to tap; {did_you_mean(name, modules)}")
    outputs: dict[str, Tensor] = {}

    def keep(name, output, maps):
        outputs[name] = output if maps is None else maps

    with _watched(model, [(name, modules[name]) for name in names], keep):
        yield outputs


@contextmanager
def _watched(
    model: nn.Module, modules: Sequence[tuple[str, nn.Module]], look: Callable[[str, object, Tensor | None], None]
) -> Iterator[None]:
    """Call ``look(name, output, maps)`` after each forward of the modules; maps by the size of the model's own input,
    which may be another than the image's, as behind a resize."""
    size: list[int] = []

    def measure(name, module, args):
        size[:] = args[0].shape[2:]

    def see(name, module, args, output):
        look(name, output, _as_map(output, size))

    with hooked([("", model)] if modules else [], measure, before=True), hooked(modules, see):
        yield


def stages(model: nn.Module, shape: tuple[int, int, int]) -> list[Stage]:
    """Return the model's stages for images of ``shape`` (C, H, W), in the order in which a forward finishes them.

    One stage for each spatial size: of the modules with 4-D output of that size, called once in a forward, the one
    that finishes last. What lies within a block that leads from this size to the next one belongs to the next and is
    passed over, so that the stage is ``layer1`` and not the first convolution of ``layer2``. Outputs (B, H, W, C) are
    maps too, as `tapped` gives them. Maps of 1×1 count only where there are no others. The model is run once on zeros,
    in eval mode, and left as it was.
    """
    found = _outputs(model, shape)
    sizes = {name: size[1:] for name, size in found.items()}
    within: dict[str, set] = {}
    for name, size in sizes.items():
        for block in (name, *_ancestors(name)):
            within.setdefault(block, set()).update({size} - {(1, 1)})

    def passed_over(name: str) -> int:
        """How many blocks around a module lead from its size to another."""
        around = [block for block in _ancestors(name) if block in sizes and sizes[block] != sizes[name]]
        return sum(len(within[block]) <= 2 for block in around)

    order = {name: i for i, name in enumerate(found)}
    chosen = [
        min((name for name in found if sizes[name] == size), key=lambda name: (passed_over(name), -order[name]))
        for size in dict.fromkeys(sizes.values())
    ]
    large = [name for name in chosen if sizes[name] != (1, 1)]
    names = sorted(large or chosen, key=order.get)
    return [Stage(name, found[name], any(True for _ in model.get_submodule(name).children())) for name in names]


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _as_map(output: object, image: Sequence[int]) -> Tensor | None:
    """Return a module's output as feature maps (B, C, H, W) whose sides are the image's, shrunk; None where it has no
    such sides. What could be read either way has its channels first."""
    if not isinstance(output, Tensor) or output.dim() != 4 or len(image) != 2:
        return None
    for maps in (output, output.permute(0, 3, 1, 2)):
        height, width = maps.shape[2:]
        if height == width == 1 or abs(height * image[1] - width * image[0]) < max(image):
            return maps
    return None


def _outputs(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, tuple[int, int, int]]:
    """Return the output shapes (C, H, W) of the modules called once that put out maps, in the order they finish."""
    calls: Counter[str] = Counter()
    found: dict[str, tuple[int, int, int]] = {}

    def watch(name, output, maps):
        calls[name] += 1
        if maps is not None:
            found[name] = tuple(maps.shape[1:])

    weight = next(model.parameters(), torch.empty(0))
    images = torch.zeros((1, *shape), device=weight.device, dtype=weight.dtype)
    modes = [(module, module.training) for module in model.modules()]
    try:  # on the model itself, as not every one can be copied
        model.eval()
        with _watched(model, [pair for pair in model.named_modules() if pair[0]], watch), torch.no_grad():
            model(images)
    finally:
        for module, mode in modes:
            module.training = mode
    return {name: size for name, size in found.items() if calls[name] == 1}
