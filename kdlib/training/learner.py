"""One model in training: its optimiser, its loss, its running sums."""

import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdlib.losses import Response, tapped
from kdlib.training.guidance import Guidance, Taps
from kdlib.training.job import Job, Outcome, derive
from kdlib.training.precision import autocast


class Learner:
    """Steps one model on batches it is handed; knows nothing of the other models of its group.

    ``independent``: from its second step on, whether it may step while others do: it draws no random numbers, and its
    precision promises no bits.
    """

    def __init__(
        self,
        job: Job,
        model: nn.Module,
        device: torch.device,
        precision: str,
        steps: int,
        class_weights: torch.Tensor | None = None,
        taps: Taps | None = None,
    ):
        self.job, self.device, self.precision, self.steps = job, device, precision, steps
        self.class_weights, self.taps = class_weights, taps
        self.model = model.to(device, memory_format=torch.channels_last)
        adapter = [] if taps is None or taps.adapter is None else [*taps.adapter.to(device).parameters()]
        self._still = [module for module in model.modules() if isinstance(module, _BatchNorm) and _frozen(module)]
        self.optimiser = job.recipe.optimiser([*self.model.parameters(), *adapter])
        self.history: list[dict[str, float]] = []
        self.diverged: dict | None = None
        self.best: tuple[tuple[float, float], int, dict[str, torch.Tensor]] | None = None
        self.seconds = 0.0
        self.independent = False
        self._step = 0
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._seen = 0

    def step(self, images: torch.Tensor, labels: torch.Tensor, told: Guidance | None) -> None:
        """Take one optimiser step on normalised images (B, C, H, W), labels (B,), and what the teacher says to them."""
        start = time.perf_counter()
        seeded = self._seed()
        lr = self.job.recipe.lr_at(self._step, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.model.train()
        for module in self._still:
            module.eval()
        response = self._respond(images)
        logits = response.logits
        if self.job.loss is None:
            hard = loss = F.cross_entropy(logits.float(), labels, self.class_weights)
        else:
            adapter = self.taps and self.taps.adapter
            guide = told.response(self.taps)
            soft, hard = self.job.loss.terms(response, guide, labels, self.class_weights, adapter)
            loss = self.job.loss.combine(soft, hard)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        hits = (logits.detach().argmax(dim=1) == labels).sum()
        self._sums += torch.stack([loss.detach(), hard.detach(), hits / len(labels)]).double() * len(labels)
        self._seen += len(labels)
        if self._step == 0:
            # A GPU's draws do not show in this generator.
            drew_nothing = self.device.type == "cpu" and torch.equal(seeded, torch.default_generator.get_state())
            self.independent = drew_nothing and self.precision != "fp32"
        self._step += 1
        self.seconds += time.perf_counter() - start

    def _seed(self) -> torch.Tensor | None:
        """Seed what dropout draws from for this step alone, so that it does not depend on the group.

        A learner that steps beside others draws nothing, and leaves the generator, which they share, to itself.
        Returns the generator's state.
        """
        if self.independent:
            return None
        seed = derive(self.job.seed, "step", self._step)
        # torch.manual_seed would also note, for backends that are not in use, where it was called from: 0.4 ms a step.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        return torch.default_generator.get_state() if self._step == 0 else None

    def _respond(self, images: torch.Tensor) -> Response:
        """The student's logits and, where the loss compares them, its feature maps."""
        if self.taps is None:
            with autocast(self.device, self.precision):
                return Response(self.model(images))
        with autocast(self.device, self.precision), tapped(self.model, self.taps.student) as maps:
            logits = self.model(images)
        return Response(logits, tuple(maps[name] for name in self.taps.student))

    @torch.inference_mode()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 logits of normalised images in eval mode."""
        start = time.perf_counter()
        self.model.eval()
        with autocast(self.device, self.precision):
            logits = self.model(images).float()
        self.seconds += time.perf_counter() - start
        return logits

    def close_epoch(self, val_loss: float, val_accuracy: float, seconds: float) -> None:
        """Write the epoch's row; a loss that is no number ends the run as diverged."""
        objective, hard, accuracy = (self._sums / max(1, self._seen)).tolist()
        epoch = len(self.history) + 1
        self.history.append(
            {
                "epoch": epoch,
                "train_objective": objective,
                "train_loss": hard,
                "train_accuracy": accuracy,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "lr": self.optimiser.param_groups[0]["lr"],
                "seconds": seconds,
            }
        )
        self._sums.zero_()
        self._seen = 0
        if not torch.isfinite(torch.tensor([objective, val_loss])).all():
            self.diverged = {"reason": "the loss became NaN or infinite", "epoch": epoch}
        elif self.job.recipe.select == "best":
            key = (val_accuracy, -val_loss)
            if self.best is None or key > self.best[0]:
                self.best = (key, epoch, _on_cpu(self.model))

    def keep(self) -> int:
        """Put the selected epoch's weights into the model and return its number."""
        if self.best is not None:
            self.model.load_state_dict(self.best[2])
            return self.best[1]
        return len(self.history)

    def finish(self, epoch: int, logits: torch.Tensor, labels: torch.Tensor) -> Outcome:
        """Return the outcome of the kept epoch, given its test logits (N, K) and labels (N,)."""
        row = self.history[epoch - 1]
        metrics = {
            "epoch": epoch,
            "params": sum(p.numel() for p in self.model.parameters()),
            "trainable_params": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            "test_accuracy": (logits.argmax(dim=1) == labels).double().mean().item(),
            "test_loss": F.cross_entropy(logits.double(), labels).item(),
            **{key: row[key] for key in ("val_accuracy", "val_loss", "train_accuracy", "train_loss")},
        }
        return Outcome(
            state=_on_cpu(self.model),
            history=self.history,
            logits=logits,
            labels=labels,
            metrics=metrics,
            diverged=self.diverged,
            precision=self.precision,
            seconds=self.seconds,
            taps=self.taps.pairs if self.taps else (),
        )


def _frozen(module: nn.Module) -> bool:
    """Whether a module has weights and none of them is trained."""
    weights = list(module.parameters())
    return bool(weights) and not any(p.requires_grad for p in weights)


def _on_cpu(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in model.state_dict().items()}
