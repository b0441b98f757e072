"""What a student is compared with: the teacher's logits and feature maps, and the adapter between the two."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from kdlib.data import Dataset, Split
from kdlib.losses import Response, Stage, stages, tapped
from kdlib.training.evaluation import eval_batches
from kdlib.training.job import Job, derive
from kdlib.training.precision import autocast, choose


@dataclass(frozen=True)
class Taps:
    """Which feature maps a loss compares, (student's layer, teacher's layer) each, and the module between them."""

    pairs: tuple[tuple[str, str], ...]
    adapter: nn.Module | None

    @property
    def student(self) -> tuple[str, ...]:
        """Names of the student's layers."""
        return tuple(ours for ours, _ in self.pairs)

    @property
    def teacher(self) -> tuple[str, ...]:
        """Names of the teacher's layers."""
        return tuple(theirs for _, theirs in self.pairs)


def taps(job: Job, student: nn.Module, theirs: list[Stage], shape: tuple[int, int, int]) -> Taps | None:
    """Return what the job's loss taps for images of ``shape`` (C, H, W); None for a loss on logits.

    ``theirs``: the teacher's stages. The adapter's weights draw from the job's seed, whatever was drawn before. Raises
    ``UserError`` for layers that the models have not.
    """
    if job.loss is None or not job.loss.needs_features:
        return None
    ours = stages(student, shape)
    pairs = job.loss.pair(ours, theirs)
    first, second = ({stage.name: stage.shape for stage in of} for of in (ours, theirs))
    torch.manual_seed(derive(job.seed, "adapter"))
    adapter = job.loss.adapter([first[name] for name, _ in pairs], [second[name] for _, name in pairs])
    return Taps(pairs, adapter)


@dataclass(frozen=True)
class Guidance:
    """What the teacher answered to one batch: logits (B, K) and feature maps (B, C, H, W) by layer."""

    logits: torch.Tensor
    maps: dict[str, torch.Tensor]

    def response(self, taps: Taps | None) -> Response:
        """Return the part that a loss with these taps looks at."""
        return Response(self.logits, tuple(self.maps[name] for name in taps.teacher) if taps else ())


class Teacher:
    """A frozen copy of the teacher in eval mode."""

    def __init__(self, model: nn.Module, dataset: Dataset, device: torch.device, precision: str):
        self.model = copy.deepcopy(model).to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.precision = choose(self.model, dataset.shape, 64, device, precision)
        self.device = device

    # Not inference_mode: what it makes cannot be kept for a student's backward pass, and would be copied for each.
    @torch.no_grad()
    def answer(self, images: torch.Tensor, layers: Iterable[str] = ()) -> Guidance:
        """Return logits, float32, and the maps of ``layers`` for normalised images (B, C, H, W)."""
        with autocast(self.device, self.precision), tapped(self.model, layers) as maps:
            logits = self.model(images).float()
        return Guidance(logits, dict(maps))

    def all_logits(self, split: Split, dataset: Dataset) -> torch.Tensor:
        """Return logits of a whole split, (N, K), addressed by sample."""
        return torch.cat([self.answer(x).logits for x, _ in eval_batches(split, dataset, self.device)])
