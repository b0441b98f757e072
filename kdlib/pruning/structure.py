"""Which channels hang together: the sets that can leave a model only as one, where each set lies, and taking it out.

The dependency graph is Torch-Pruning's (Fang et al. 2023, DepGraph: Towards Any Structural Pruning).
"""

import contextlib
import ctypes
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import lcm

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from kdlib.copies import copied
from kdlib.errors import UserError, did_you_mean, first_line
from kdlib.models.pretrained import below
from kdlib.profiling.counts import LAYERS, layer_macs

LIMIT = 120
"""Seconds that following a model's channels may take."""
WORD_AFTER = 10
"""Seconds of silence before a line says what takes so long."""
Removed = dict[str, torch.Tensor]
"""Set name -> channels that leave."""
Cuts = list[tuple[str, str, list[int]]]
"""(layer, "out" or "in", channels that leave it)."""
History = list[Cuts]
"""One entry a step, its channels counted before the step."""
# Class names of torchvision, timm and those that follow them.
_EXCITERS = ("squeezeexcitation", "squeezeexcite", "semodule", "selayer", "seblock", "effectivesemodule")
# Modules whose channels keep their place one to one; through any other (attention, recurrence) nothing is cut.
_FOLLOWED = (*LAYERS, _BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.PReLU)


@dataclass(frozen=True)
class Member:
    """One side of one layer: ``index`` are its channels, ``root`` the channels of the set they belong to."""

    layer: str
    side: str  # "out", or "in" for the channels a convolution or linear layer reads
    index: torch.Tensor
    root: torch.Tensor


@dataclass(frozen=True)
class Channels:
    """A set of channels that leave together, named by its first layer.

    ``size``: how many; ``blocks``: a grouped convolution keeps equally many in each of so many blocks;
    ``protected``: why none may leave, or "".
    """

    name: str
    size: int
    members: list[Member]
    blocks: int = 1
    protected: str = ""


@dataclass(frozen=True)
class Structure:
    """The sets of channels of a model, in the order of its layers, and what is needed to count MACs without running."""

    sets: list[Channels]
    _arithmetic: dict[str, tuple[int, int, int, int]] = field(repr=False)

    @property
    def open(self) -> list[Channels]:
        """The sets that channels may leave."""
        return [channels for channels in self.sets if not channels.protected]

    def closed(self, names: Iterable[str]) -> "Structure":
        """Return the same with the sets of these names kept whole."""
        sets = [replace(c, protected=c.protected or "not prunable") if c.name in names else c for c in self.sets]
        return replace(self, sets=sets)

    def cuts(self, removed: Removed) -> Cuts:
        """Return what leaves each side of each layer when ``removed`` goes."""
        found: dict[tuple[str, str], set[int]] = {}
        for member, leaves in self._leaving(removed):
            found.setdefault((member.layer, member.side), set()).update(member.index[leaves].tolist())
        return [(layer, side, sorted(index)) for (layer, side), index in found.items() if index]

    def _leaving(self, removed: Removed) -> Iterator[tuple[Member, torch.Tensor]]:
        """Each member of the sets that lose channels, and which of its channels leave, as a mask."""
        for channels in self.sets:
            if channels.name in removed:
                leaves = torch.zeros(channels.size, dtype=torch.bool)
                leaves[removed[channels.name]] = True
                for member in channels.members:
                    yield member, leaves[member.root]

    def macs(self, removed: Removed | None = None) -> int:
        """Return MACs of one image after ``removed`` is gone."""
        gone: dict[tuple[str, str], int] = {}
        for member, leaves in self._leaving(removed or {}):
            key = (member.layer, member.side)
            gone[key] = gone.get(key, 0) + int(leaves.sum())
        total = 0
        for name, (per_pair, inner, outer, blocks) in self._arithmetic.items():
            out = outer - gone.get((name, "out"), 0)
            # Depthwise: an output channel reads its own input channel alone.
            read = inner // blocks if 1 < blocks == outer else (inner - gone.get((name, "in"), 0)) // blocks
            total += per_pair * out * read
        return total


def scan(model: nn.Module, shape: tuple[int, int, int], keep: Iterable[str] = (), protect_se: bool = True) -> Structure:
    """Trace a model with one image of ``shape`` (C, H, W) and return its sets of channels.

    Protected are the channels of the model's output, those of layers below the modules named in ``keep`` (``layer1``,
    ``features.8``), those of squeeze-excite bottlenecks where ``protect_se`` says so, and what runs through modules
    whose channels have no fixed place. Layers that share a weight are one set. The model is traced on a copy: it keeps
    modes, gradients, hooks and attributes. Raises ``UserError`` for a model that cannot be followed, or not within
    `LIMIT` seconds, and for a name in ``keep`` that leads to no layer.
    """
    subject = copied(model).cpu().eval().requires_grad_(True)  # frozen weights would not be traced
    names = {module: name for name, module in subject.named_modules()}
    keep = tuple(keep)
    known = list(filter(None, names.values()))
    for name in keep:
        if name not in known:
            raise UserError(f"keep: {type(model).__name__} has no layer {name!r}; {did_you_mean(name, known)}")
    graph, groups = _trace(subject, torch.zeros(1, *shape))
    exciters = [name for module, name in names.items() if type(module).__name__.lower() in _EXCITERS]
    sets = (_channels(group, graph, names, keep, exciters if protect_se else []) for group in groups)
    found = [channels for channels in sets if channels is not None]
    for (first, _), *others in ties(subject):
        for other, _ in others:
            found = _tied(found, names[first], names[other])
    order = {name: i for i, name in enumerate(names.values())}
    return Structure(sorted(found, key=lambda c: order[c.name]), _arithmetic(subject, shape))


def ties(model: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Return for each parameter that several modules share these modules, and what they call it."""
    found: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for key, p in module._parameters.items():
            if p is not None:
                found.setdefault(p, []).append((module, key))
    return [owners for owners in found.values() if len(owners) > 1]


def _trace(subject: nn.Module, example: torch.Tensor):
    from torch_pruning import DependencyGraph

    called = type(subject).__name__
    try:
        with torch.inference_mode():
            logits = subject(example)
        if not isinstance(logits, torch.Tensor):
            raise TypeError(f"it gives a {type(logits).__name__} instead of logits")
        limit = at_most(LIMIT, f"following the channels of {called}")
        with torch.enable_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings(), limit:
            warnings.simplefilter("ignore")
            graph = DependencyGraph().build_dependency(subject, example, verbose=False)
            return graph, list(graph.get_all_groups())
    except TookTooLong:
        took = f"following its channels took longer than {LIMIT} s"
        raise UserError(f"{called} is too entangled to prune: {took}") from None
    except Exception as error:  # a model of the user's own may raise anything, and so may the tracer
        size = "×".join(map(str, example.shape[1:]))
        raise UserError(f"{called} cannot be followed on an image of {size}: {first_line(error)}") from None


def _channels(group, graph, names: dict, keep: tuple[str, ...], exciters: list[str]) -> Channels | None:
    members, reads, blocks, foreign, ends = [], False, 1, False, False
    root = group[0].dep.target.module
    size = graph.get_out_channels(root)
    for item in group:
        module, handler = item.dep.target.module, item.dep.handler
        if isinstance(module, nn.Parameter) or (module in names and not isinstance(module, _FOLLOWED)):
            foreign = True
            continue
        if module not in names:  # an operation without weights: an addition, a concatenation, the output
            ends |= type(module).__name__ == "_OutputOp"
            continue
        foreign |= not _cuttable(module)
        out = graph.is_out_channel_pruning_fn(handler)
        reads |= not out
        if isinstance(module, _ConvNd) and module.groups > 1 and not _depthwise(module):
            blocks = lcm(blocks, module.groups)
        index, origin = torch.tensor(list(item.idxs)), torch.tensor(list(item.root_idxs))
        width = graph.get_out_channels(module) if out else None
        if width is not None and len(index) and int(index.max()) >= width:  # the tracer lost its way here
            foreign = True
            continue
        if isinstance(module, nn.GroupNorm) and module.num_groups > 1:
            # Equally many leave each group, so that none changes its group; not where groups lie across sets.
            blocks = lcm(blocks, module.num_groups)
            foreign |= not torch.equal(index, origin) or len(index) != size
        members.append(Member(names[module], "out" if out else "in", index, origin))
    if size is None:
        return None
    if size % blocks:
        blocks, foreign = 1, True
    foreign |= 1 < blocks == size  # one channel a block: none can leave
    return Channels(names[root], size, members, blocks, _reason(members, reads and not ends, foreign, keep, exciters))


def _tied(found: list[Channels], one: str, other: str) -> list[Channels]:
    """Make one set of the sets on either side of two layers of one weight; where their channels do not face each other
    in order, keep them whole."""
    for side in ("out", "in"):
        ends = [_whose(found, name, side) for name in (one, other)]
        sets = {c.name: c for c, _ in filter(None, ends)}
        alike = all(ends) and torch.equal(ends[0][1].root, ends[1][1].root)
        if alike and len(sets) == 1:
            continue
        inner = alike and all(len(m.root) == c.size and torch.equal(m.index, m.root) for c, m in ends)
        if not inner:
            found = Structure(found, {}).closed(sets).sets
            continue
        first, second = sets.values()
        joint = replace(
            first,
            members=[*first.members, *second.members],
            blocks=lcm(first.blocks, second.blocks),
            protected=first.protected or second.protected,
        )
        found = [joint if c is first else c for c in found if c is not second]
    return found


def _whose(found: list[Channels], layer: str, side: str) -> tuple[Channels, Member] | None:
    return next(((c, m) for c in found for m in c.members if (m.layer, m.side) == (layer, side)), None)


def _reason(members: list[Member], reads: bool, foreign: bool, keep: tuple[str, ...], exciters: list[str]) -> str:
    if not reads:
        return "output"
    if foreign:
        return "not prunable"
    if any(below(member.layer, name) for member in members for name in keep if member.side == "out"):
        return "asked"
    if any(all(below(member.layer, name) for member in members) for name in exciters):
        return "squeeze-excite"
    return ""


def _cuttable(module: nn.Module) -> bool:
    """Whether channels can leave: not where weights are computed (weight norm), nor from transposed convolutions of
    several groups."""
    if isinstance(module, _ConvTransposeNd) and module.groups > 1 and not _depthwise(module):
        return False
    return not isinstance(module, LAYERS) or "weight" in module._parameters


def _depthwise(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd) and module.groups == module.in_channels == module.out_channels > 1


def _arithmetic(subject: nn.Module, shape: tuple[int, int, int]) -> dict[str, tuple[int, int, int, int]]:
    """For each layer: MACs for each pair of channels, channels in, channels out, groups."""
    found = {}
    for name, macs in layer_macs(subject, shape).items():
        layer = subject.get_submodule(name)
        if isinstance(layer, nn.Linear):
            inner, outer, blocks = layer.in_features, layer.out_features, 1
        else:
            inner, outer, blocks = layer.in_channels, layer.out_channels, layer.groups
        found[name] = macs // (outer * (inner // blocks)), inner, outer, blocks
    return found


def replay(model: nn.Module, history: History) -> nn.Module:
    """Cut a model in place as ``history`` says and return it; frozen parameters stay frozen, modes stay.

    The same as pruning did, for a fresh model of the same architecture; parameters that layers share stay shared.
    Raises ``UserError`` for a history that belongs to another architecture.
    """
    from torch_pruning import ops
    from torch_pruning.pruner.function import PrunerBox

    for step in history:
        shared = ties(model)
        for name, side, index in step:
            try:
                layer = model.get_submodule(name)
                trained = {key: p.requires_grad for key, p in layer.named_parameters(recurse=False)}
                handler = PrunerBox[ops.module2type(layer)]
                cut = handler.prune_out_channels if side == "out" else handler.prune_in_channels
                cut(layer, list(index))
            except (AttributeError, KeyError, IndexError, AssertionError, RuntimeError) as error:
                raise UserError(f"this pruning history belongs to another architecture: {name}: {error}") from None
            for key, p in layer.named_parameters(recurse=False):
                p.requires_grad_(trained[key])
                p.grad = None
        for (owner, key), *others in shared:
            for module, other in others:
                if getattr(module, other).shape == getattr(owner, key).shape:
                    setattr(module, other, getattr(owner, key))
    return model


class TookTooLong(Exception):
    """The work was ended at its limit."""


@contextlib.contextmanager
def at_most(seconds: float, what: str) -> Iterator[None]:
    """Raise `TookTooLong` in the block once it has taken ``seconds``, between two lines of Python, in any thread; say
    on stderr after a while that ``what`` is at work."""
    thread, over, lock = threading.get_ident(), False, threading.Lock()

    def stop() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TookTooLong))

    def word() -> None:
        print(f"{what}: {WORD_AFTER} s so far, at most {seconds:g} s", file=sys.stderr, flush=True)

    timers = [threading.Timer(seconds, stop), threading.Timer(WORD_AFTER, word)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        for timer in timers:
            timer.cancel()
