"""What every distillation loss shares: the two weighted terms, their checks, the arithmetic they are computed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlib.errors import UserError, did_you_mean
from kdlib.losses.taps import Stage

Shapes = Sequence[tuple[int, int, int]]
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Response:
    """What a model answers to a batch: logits (B, K) and, one a tap pair, feature maps (B, C, H, W).

    The feature maps are in the order of the answer of the loss's ``pair``.
    """

    logits: Tensor
    features: tuple[Tensor, ...] = ()


class Loss:
    """``alpha * soft + lam * CE(student, labels)``: the frame of every distillation loss, itself without a soft term.

    ``soft`` contains its paper's own weight, so alpha = 1, lam = 1 is the paper's sum unless a class says otherwise.
    A subclass is a frozen dataclass with the fields ``alpha`` and ``lam`` and answers ``_soft``. ``T`` is None where
    a loss has no temperature, ``method`` None for the Kullback-Leibler family of the reports. Raises ``UserError`` for
    T <= 0, for a weight (a field that is a ``float``) below 0 or not finite, and where alpha and lam are both 0.
    """

    alpha: float
    lam: float
    method = None
    layers = None
    needs_features: ClassVar[bool] = False
    needs_logits: ClassVar[bool] = True  # the teacher's
    two_classes: ClassVar[str | None] = None  # what is left of the loss between two classes, where that is too little
    smallest_batch: ClassVar[int] = 1  # of images; with fewer nothing is compared

    def __post_init__(self):
        numbers = {field.name: getattr(self, field.name) for field in fields(self) if field.type in (float, "float")}
        if "T" in numbers:
            T = numbers.pop("T")
            if not (isinstance(T, Real) and 0.01 <= T < float("inf")):
                raise UserError(f"temperature T must be a positive number (1 to 20 is usual), got {T}")
        for name, weight in numbers.items():
            if not (isinstance(weight, Real) and 0 <= weight < float("inf")):
                raise UserError(f"{name} must be zero or a positive number, got {weight}")
        if self.alpha == 0 and self.lam == 0:
            raise UserError("alpha and lam are both 0, so there is nothing to learn from; give one a positive value")

    def check_classes(self, num_classes: int) -> None:
        """Raise ``UserError`` where the loss says nothing about so few classes."""
        if num_classes <= 2 and self.two_classes:
            raise UserError(f"loss {self.method} is not for two classes: {self.two_classes}; take loss weighted_kl")

    def check_batch(self, batch_size: int) -> None:
        """Raise ``UserError`` where the loss compares nothing in batches so small."""
        if batch_size < self.smallest_batch:
            raise UserError(
                f"loss {self.method} compares the images of a batch and needs {self.smallest_batch} at least; "
                f"batch_size is {batch_size}"
            )

    def pair(self, student: list[Stage], teacher: list[Stage]) -> Pairs:
        """Return which stages are compared, (student's name, teacher's name); none for a loss on logits."""
        return ()

    def adapter(self, student_shapes: Shapes, teacher_shapes: Shapes) -> nn.Module | None:
        """Return a module, trained with the student, that carries its features over; shapes (C, H, W) of each tap."""
        return None

    def __call__(
        self, student: Tensor | Response, teacher: Tensor | Response, labels: Tensor, adapter: nn.Module | None = None
    ) -> Tensor:
        """Return the loss, a scalar, of both models' logits (B, K) or responses, and int64 labels (B,)."""
        soft, hard = self.terms(student, teacher, labels, adapter=adapter)
        return self.combine(soft, hard)

    def combine(self, soft: Tensor, hard: Tensor) -> Tensor:
        """Weigh the two terms that ``terms`` returns."""
        return self.alpha * soft + self.lam * hard

    def terms(
        self,
        student: Response | Tensor,
        teacher: Response | Tensor,
        labels: Tensor,
        class_weights: Tensor | None = None,
        adapter: nn.Module | None = None,
        label_smoothing: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Return the soft term with its paper's weight, and the cross-entropy with the labels (B,).

        Logits (B, K) alone stand for a response without features. ``class_weights`` (K,) weigh the labels in the
        cross-entropy, as ``torch.nn.functional.cross_entropy`` does. ``adapter``: what the method of that name gave.
        ``label_smoothing``: the share of the labels that is spread over all classes.

        Half-precision responses are computed in fp32, autocast or not: at T = 50 the softmax of ten classes differs
        from uniform by less than bf16 can hold. The teacher gets no gradient.
        """
        student, teacher = _full(student), _full(teacher, _alone)
        with torch.autocast(student.logits.device.type, enabled=False):
            hard = F.cross_entropy(student.logits, labels, class_weights, label_smoothing=label_smoothing)
            return self._soft(student, teacher, labels, adapter), hard

    def _soft(self, student: Response, teacher: Response, labels: Tensor, adapter: nn.Module | None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no soft term")


class FeatureLoss(Loss):
    """A loss on feature maps, and not on the teacher's logits; it has no temperature.

    ``layers`` names the stages to compare, ``"name"`` or ``"student_name:teacher_name"`` each; None leaves the choice
    to the loss. ``single`` says that the loss compares one stage of each model.
    """

    T = None
    needs_features: ClassVar[bool] = True
    needs_logits: ClassVar[bool] = False
    single: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        if self.layers is not None:
            layers = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
            object.__setattr__(self, "layers", layers)
            _well_formed(layers)

    def pair(self, student: list[Stage], teacher: list[Stage]) -> Pairs:
        """Return which stages are compared, (student's name, teacher's name), given the stages of both models.

        Raises ``UserError`` for a layer that is no stage, for two where the loss compares one, or where a model has
        no feature maps.
        """
        for who, found in (("student", student), ("teacher", teacher)):
            if not found:
                raise UserError(f"loss {self.method} compares feature maps, and the {who} has none")
        if self.layers is None:
            return self._choose(student, teacher)
        if self.single and len(self.layers) != 1:
            raise UserError(f"loss {self.method} compares one layer, got {len(self.layers)}: {', '.join(self.layers)}")
        pairs = []
        for entry in self.layers:
            ours, _, theirs = entry.partition(":")
            theirs = theirs or ours
            _stage(ours, student, "student")
            _stage(theirs, teacher, "teacher")
            pairs.append((ours, theirs))
        return tuple(pairs)

    def _choose(self, student: list[Stage], teacher: list[Stage]) -> Pairs:
        """Return the loss's own choice; here the last stage of each."""
        return ((student[-1].name, teacher[-1].name),)

    def _maps(self, student: Response, teacher: Response) -> list[tuple[Tensor, Tensor]]:
        """Return the feature maps to compare, pair by pair."""
        ours, theirs = student.features, teacher.features
        if not ours or len(ours) != len(theirs) or (self.single and len(ours) != 1):
            wanted = "one feature map" if self.single else "as many feature maps"
            raise UserError(f"loss {self.method} needs {wanted} of each model, got {len(ours)} and {len(theirs)}")
        return list(zip(ours, theirs, strict=True))


def _well_formed(layers: tuple[str, ...]) -> None:
    if not layers:
        raise UserError("layers is empty; name at least one stage, or leave it out")
    for entry in layers:
        if not isinstance(entry, str) or not all(entry.split(":")) or entry.count(":") > 1:
            raise UserError(f"layers: {entry!r} is neither 'name' nor 'student_name:teacher_name'")


def _stage(name: str, stages: list[Stage], who: str) -> None:
    known = [stage.name for stage in stages]
    if name not in known:
        hint = did_you_mean(name, known)
        listed = "" if hint.startswith("known") else f" (its stages: {', '.join(known)})"
        raise UserError(f"layers: the {who} has no stage {name!r}; {hint}{listed}")


def _full(response: Response | Tensor, first: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> Response:
    """Return a response in fp32, or in fp64 where it is that already; ``first`` is done to each tensor before."""
    if not isinstance(response, Response):
        response = Response(response)
    tensors = [first(tensor) for tensor in (response.logits, *response.features)]
    logits, *features = [tensor if tensor.dtype == torch.float64 else tensor.float() for tensor in tensors]
    return Response(logits, tuple(features))


def _alone(tensor: Tensor) -> Tensor:
    """Return a teacher's tensor free of its graph."""
    # Autograd keeps no tensor that inference mode made, and the student's gradient may need it.
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def unit(x: Tensor, floor: float | Tensor = 1e-12) -> Tensor:
    """Return x / ||x||, taken over the last axis; zero, with a zero gradient, where no entry exceeds ``floor``."""
    # The result does not depend on the scale, so it may be taken out, free of gradients, before squares overflow.
    scale = x.detach().abs().amax(dim=-1, keepdim=True)
    some = scale > floor
    x = torch.where(some, x, 0) / torch.where(some, scale, 1)
    return x * torch.where(some, x.square().sum(dim=-1, keepdim=True), float("inf")).rsqrt()


def centred_unit(x: Tensor) -> Tensor:
    """Return x less its mean, divided by the norm of that, over the last axis; zero where x is constant."""
    # The mean of equal numbers differs from them by rounding, which must not be taken for a direction.
    rounding = 8 * torch.finfo(x.dtype).eps * x.detach().abs().amax(dim=-1, keepdim=True)
    return unit(x - x.mean(dim=-1, keepdim=True), rounding.clamp_min(1e-12))


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(teacher || student), mean over the batch, of logits (B, K)."""
    return F.kl_div(
        F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1), reduction="batchmean", log_target=True
    )


def to_one_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return feature maps (B, C, H, W) averaged down to the smaller height and the smaller width of the two."""
    height, width = (min(a, b) for a, b in zip(student.shape[2:], teacher.shape[2:], strict=True))
    return tuple(
        x if x.shape[2:] == (height, width) else F.adaptive_avg_pool2d(x, (height, width)) for x in (student, teacher)
    )
