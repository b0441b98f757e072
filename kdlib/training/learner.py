"""One model in training: its optimiser, its loss, its running sums."""

import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from kdlib.copies import on_cpu
from kdlib.losses import Response, tapped
from kdlib.training.check import Handling, seed_draws
from kdlib.training.device import autocast
from kdlib.training.evaluation import NOT_FINITE, parameter_counts, scores
from kdlib.training.job import Job, Outcome, derive
from kdlib.training.teacher import FeaturePairs, TeacherOutput
from kdlib.training.world import ALONE, World

_RANDOM = (_DropoutNd, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d, nn.MultiheadAttention, nn.RNNBase)
_KNOWN = ("torch.nn.modules.", "kdlib.models.")
# Below so many multiply-accumulates an image a step gains too little from a second thread.
SMALL = 5_000_000


@dataclass(eq=False)
class Learner:
    """Steps one model on batches it is handed, from `begin` on; knows nothing of the other models of its group.

    ``small``: it steps on one thread, alone or in a group, so that its bits do not depend on the group.
    """

    job: Job
    model: nn.Module
    device: torch.device
    precision: str
    steps: int
    handling: Handling
    class_weights: torch.Tensor | None = None
    features: FeaturePairs = field(default_factory=FeaturePairs)
    small: bool = False
    index: int = 0
    world: World = ALONE

    def __post_init__(self) -> None:
        self.name = self.job.name or type(self.model).__name__
        self.history: list[dict[str, float]] = []
        self.diverged: dict | None = None
        self.best: tuple[tuple[float, float], int, dict[str, torch.Tensor]] | None = None
        self.seconds = 0.0
        self.losses: dict[str, torch.Tensor] = {}  # of the last batch
        self.steps_taken = 0
        self._sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        self._seen = 0

    def begin(self) -> None:
        """Go to the device and make the optimiser: from here on the learner takes memory there.

        Of several processes each holds the whole model; on GPUs batch norm has the statistics of the whole batch.
        """
        if self.world.size > 1 and self.device.type == "cuda":
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.frozen = frozen_modules(self.model)
        parts = [part for part in (self.model, self.features.adapter) if part is not None]
        for part in parts:
            part.to(self.device)
        self.optimiser = self.job.recipe.optimiser(p for part in parts for p in part.parameters())
        self.trained: nn.Module = self.model  # or, where several processes train it, what keeps theirs alike
        if self.world.size > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # newer versions call it forward_sync_buffers
                options = {"broadcast_buffers": False, "find_unused_parameters": self.handling.unused}
                self.trained = DistributedDataParallel(self.model, **options)

    @property
    def independent(self) -> bool:
        """Whether it may step while others do, all of whom share the generators: it draws no random numbers.

        Looked up before every step, as dropout may begin at any. What code of others does, in a module, a hook, a loss
        or its adapter, cannot be known.
        """
        adapter = self.features.adapter
        parts = [*self.model.modules(), *(adapter.modules() if adapter is not None else ())]
        return (self.job.loss is None or type(self.job.loss).__module__.startswith("kdlib.losses.")) and all(
            type(part).__module__.startswith(_KNOWN)
            and not isinstance(part, _RANDOM)
            and not (part._forward_hooks or part._forward_pre_hooks or part._backward_hooks)
            for part in parts
        )

    def step(self, images: torch.Tensor, labels: torch.Tensor, teacher_output: TeacherOutput | None) -> None:
        """Take one optimiser step on normalised images (B, C, H, W), labels (B,), and the teacher's answer to them.

        Of several processes each is handed its share of the images, and all labels and answers.
        """
        start = time.perf_counter()
        self._seed("step", self.steps_taken)
        lr = self.job.recipe.lr_at(self.steps_taken, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.model.train()
        for module in self.frozen:
            module.training = False
        response = self._respond(images, len(labels))
        logits = response.logits
        smoothing, adapter = self.job.recipe.label_smoothing, self.features.adapter
        if self.job.loss is None:
            soft, hard = None, F.cross_entropy(logits.float(), labels, self.class_weights, label_smoothing=smoothing)
        else:
            target = teacher_output.response(self.features)
            soft, hard = self.job.loss.terms(response, target, labels, self.class_weights, adapter, smoothing)
        loss = hard if soft is None else self.job.loss.combine(soft, hard)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if adapter is not None:
            self.world.average(p.grad for p in adapter.parameters() if p.grad is not None)
        self.optimiser.step()
        hits = (logits.detach().argmax(dim=1) == labels).sum()
        terms = {"objective": loss, "cross_entropy": hard} | ({} if soft is None else {"soft": soft})
        self.losses = {name: term.detach() for name, term in terms.items()}
        self._sums += torch.stack([loss.detach(), hard.detach(), hits / len(labels)]).double() * len(labels)
        self._seen += len(labels)
        self.steps_taken += 1
        self.seconds += time.perf_counter() - start

    def _seed(self, *purpose: str | int) -> None:
        """Seed what the model draws from for this purpose alone, so that it does not depend on the group."""
        if not self.independent:
            others = [f"rank {self.world.rank}"] if self.world.rank and purpose[0] == "step" else []
            seed_draws(derive(self.job.seed, self.job.role, *purpose, *others), self.device)

    def _respond(self, images: torch.Tensor, batch: int) -> Response:
        """The student's logits of the whole batch and, where the loss compares them, its feature maps."""
        names = self.features.student
        with autocast(self.device, self.precision), tapped(self.model, names) as maps:
            logits = self.handling.run(self.trained, images, self.name)
        return Response(self.world.gather(logits, batch), tuple(self.world.gather(maps[name], batch) for name in names))

    def average_statistics(self) -> None:
        """Have one batch norm where each process kept the statistics of its own shares, as on CPUs."""
        for module in self.model.modules():
            kept = isinstance(module, _NormBase) and not isinstance(module, nn.SyncBatchNorm)
            if kept and module.running_mean is not None and module not in self.frozen:
                self.world.average([module.running_mean, module.running_var])

    @torch.no_grad()
    def logits(self, images: torch.Tensor, part: str, batch: int, precision: str | None = None) -> torch.Tensor:
        """Return float32 logits of normalised images, a batch of a split, in eval mode and the training's precision.

        Where ``precision`` is given, in that one.
        """
        start = time.perf_counter()
        self._seed("evaluate", part, self.steps_taken, batch)
        self.model.eval()
        with autocast(self.device, precision or self.precision):
            logits = self.handling.run(self.model, images, self.name).float()
        self.seconds += time.perf_counter() - start
        return logits

    def close_epoch(self, val: dict[str, float], seconds: float) -> None:
        """Write the epoch's row, given the validation scores; a loss that is no number ends the run as diverged."""
        objective, hard, accuracy = self.world.agree(lambda: (self._sums / max(1, self._seen)).tolist())
        epoch = len(self.history) + 1
        self.history.append(
            {
                "epoch": epoch,
                "train_objective": objective,
                "train_loss": hard,
                "train_accuracy": accuracy,
                **{f"val_{key}": val[key] for key in ("loss", "accuracy", "balanced_accuracy")},
                "lr": self.optimiser.param_groups[0]["lr"],
                "seconds": seconds,
            }
        )
        self._sums.zero_()
        self._seen = 0
        if not torch.isfinite(torch.tensor([objective, val["loss"]])).all():
            self.diverged = {"reason": NOT_FINITE, "epoch": epoch}
        elif self.job.recipe.select == "best":
            key = (val["accuracy"], -val["loss"])
            if self.best is None or key > self.best[0]:
                self.best = (key, epoch, on_cpu(self.model))

    def keep(self) -> int:
        """Put the selected epoch's weights into the model and return its number."""
        if self.best is not None:
            self.model.load_state_dict(self.best[2])
            return self.best[1]
        return len(self.history)

    def finish(self, epoch: int, logits: torch.Tensor, labels: torch.Tensor) -> Outcome:
        """Return the outcome of the kept epoch, given its test logits (N, K) and labels (N,)."""
        row = self.history[epoch - 1]
        kept = ("val_accuracy", "val_balanced_accuracy", "val_loss", "train_accuracy", "train_loss")
        metrics = {
            "epoch": epoch,
            **parameter_counts(self.model),
            **{f"test_{key}": value for key, value in scores(logits, labels).items()},
            **{key: row[key] for key in kept},
        }
        if self.diverged is None and not logits.isfinite().all():
            self.diverged = {"reason": NOT_FINITE, "epoch": epoch}
        return Outcome(
            state=on_cpu(self.model),
            history=self.history,
            logits=logits,
            labels=labels,
            metrics=metrics,
            diverged=self.diverged,
            precision=self.precision,
            seconds=self.seconds,
            taps=self.features.pairs,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on, and what the outcome will say of the steps so far."""
        saved = self.model.state_dict()
        return {
            "model": saved,
            # Those that a model does not count as its state may change in training all the same.
            "buffers": {name: buffer for name, buffer in self.model.named_buffers() if name not in saved},
            "adapter": {} if self.features.adapter is None else self.features.adapter.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "precision": self.precision,
            "history": self.history,
            "diverged": self.diverged,
            "best": self.best,
            "seconds": self.seconds,
            "step": self.steps_taken,
            "sums": self._sums,
            "seen": self._seen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        buffers = dict(self.model.named_buffers())
        for name, value in state["buffers"].items():
            buffers[name].copy_(value)
        if self.features.adapter is not None:
            self.features.adapter.load_state_dict(state["adapter"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.precision, self.history, self.diverged = state["precision"], state["history"], state["diverged"]
        self.best, self.seconds = state["best"], state["seconds"]
        self.steps_taken, self._seen = state["step"], state["seen"]
        self._sums.copy_(state["sums"])


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """The modules that stand still in training, norms, dropouts and whatever else may move, because what they stand in
    does.

    That is the module itself or, where it has no weights, the nearest one around it that has: none of these is trained.
    """
    found, modules = [], dict(model.named_modules())
    for name, module in modules.items():
        while not any(True for _ in modules[name].parameters()) and name:
            name = name.rpartition(".")[0]
        weights = list(modules[name].parameters())
        if weights and not any(p.requires_grad for p in weights):
            found.append(module)
    return found
