"""One training run: what is asked for, its id, and its arithmetic."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from kdlib import data, losses, models, pruning, training
from kdlib.profiling import forward_macs, layer_macs
from kdlib.studies import counts

PROTOCOL = 2
"""What a run computes: it goes up when the same request would give other numbers, so that old records do not answer it.

2: augmentation by (seed, epoch, image); the teacher's logits in one order; seeds by role; test logits in fp32.
"""


@dataclass(frozen=True)
class Weights:
    """Weights from outside: torchvision's ImageNet ones by name, or a checkpoint file by its digest."""

    name: str
    path: str | None = field(default=None, compare=False)

    def load(self, model: str) -> dict:
        """Return the tensors; raises ``UserError`` where they cannot be had."""
        return models.checkpoint(self.path) if self.path else models.imagenet(model)


@dataclass(frozen=True)
class Run:
    """One training run: everything that decides its result, and nothing else.

    ``weights``: what the model starts from, all but its module ``head``: a run of the source task, or weights from
    outside. ``open``: the modules that are trained; None means all. ``prune``: the run of ``weights`` is pruned so; a
    run that starts from a pruned one has its channels. Without a ``recipe`` nothing is trained, only tested. ``role``:
    ``teacher``, ``student`` or ``source``; it seeds as the seed does, so that a student is never its teacher's twin.
    ``input_size``: the side, in pixels, to which the model resizes its images; None leaves them as they are.
    """

    model: str
    recipe: training.Recipe | None
    seed: int
    precision: str
    dataset: data.Dataset = field(repr=False)
    loss: losses.Loss | None = None
    teacher: "Run | None" = None
    weights: "Run | Weights | None" = None
    head: str = ""
    open: tuple[str, ...] | None = None
    prune: pruning.Spec | None = None
    role: str = "student"
    input_size: int | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """What was asked for, as it stands in the record.

        What came to runs later is left out where it is off, so that the ids of earlier records hold.
        """
        recipe = asdict(self.recipe) if self.recipe else None
        if recipe and recipe["class_weights"] == "none":
            del recipe["class_weights"]
        if recipe and not recipe["label_smoothing"]:
            del recipe["label_smoothing"]
        start = {}
        if self.weights is not None:
            named = self.weights.id if isinstance(self.weights, Run) else self.weights.name
            start["weights"] = {"from": named, "fresh": self.head}
        if self.open is not None:
            start["open"] = list(self.open)
        if self.pruning is not None:
            start["pruning"] = asdict(self.pruning)
        if self.input_size is not None:
            start["input_size"] = self.input_size
        if code := models.code(self.model, self.dataset.num_classes, self.dataset.shape[0]):
            start["code"] = code
        return {
            "protocol": PROTOCOL,
            "role": self.role,
            "model": self.model,
            "num_classes": self.dataset.num_classes,
            "dataset": {"name": self.dataset.name, "fingerprint": self.dataset.fingerprint},
            "recipe": recipe,
            "seed": self.seed,
            "precision": self.precision,
            "loss": asdict(self.loss) if self.loss else None,
            "teacher": self.teacher.id if self.teacher else None,
            **start,
        }

    @cached_property
    def id(self) -> str:
        """Hash of what was asked for, whatever the dataset is called, wherever and whenever it runs."""
        asked = {**self.config, "dataset": self.dataset.fingerprint}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def pruning(self) -> pruning.Spec | None:
        """How the model was pruned, in this run or in the one it starts from."""
        return self.prune or (self.weights.pruning if isinstance(self.weights, Run) else None)

    @property
    def method(self) -> str | None:
        """The name of the loss it is distilled with; None for plain distillation, and without a teacher."""
        return self.loss.method if self.loss else None

    @property
    def needs(self) -> "list[Run]":
        """The runs that must be there before this one: its teacher, and the source task it starts from."""
        return [run for run in (self.teacher, self.weights) if isinstance(run, Run)]

    def build(self):
        """Return the model, freshly initialised and with all its channels; what is not trained is frozen."""
        model = models.build(self.model, self.dataset.num_classes, self.dataset.shape[0])
        models.adapt(model, self.model, self.dataset.mean, self.dataset.std, self.input_size)
        if self.open is not None:
            models.open_only(model, self.open)
        return model

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return where its loss looks, (place in the student, place in the teacher); () where it looks at logits.

        Raises ``UserError`` for a place that a model has not.
        """
        if self.loss is None or not self.loss.needs_features:
            return ()
        key = (self.model, self.teacher.model, self.dataset.shape, self.dataset.num_classes, self.input_size, self.loss)
        if key not in _paired:
            student, teacher = (losses.stages(run.build(), run.dataset.shape) for run in (self, self.teacher))
            _paired[key] = self.loss.pair(student, teacher)
        return _paired[key]

    @cached_property
    def _counted(self) -> dict[str, Any]:
        return counts.kept(_count, self.model, self.dataset.num_classes, *self.dataset.shape, self.input_size)

    def macs(self) -> int:
        """Return the multiply-accumulates of one image, of the model with all its channels."""
        return self._counted["all"]

    def _open_macs(self) -> int:
        """MACs of the layers that are trained."""
        if self.open is None:
            return self.macs()
        opened = tuple(f"{name}." for name in self.open)
        return sum(macs for name, macs in self._counted["layers"].items() if f"{name}.".startswith(opened))

    def train_flops(self) -> int:
        """Return the arithmetic of the run: 2 FLOPs a MAC, backward of open layers twice a forward.

        A pruned model counts as if it were whole; a run without training counts its tests and its calibration.
        """
        if self.recipe is None:
            images = len(self.dataset.val) + len(self.dataset.test)
            if self.prune and self.prune.calibrated:
                calibration = self.prune.calibration_batches * self.prune.batch_size
                images += (3 if self.prune.criterion.startswith("taylor") else 1) * min(
                    calibration, len(self.dataset.train)
                )
            return 2 * self.macs() * images
        return (2 * self.macs() + 4 * self._open_macs()) * self.recipe.epochs * len(self.dataset.train)

    def guidance_flops(self) -> dict[str, int]:
        """Return the arithmetic of the teacher's forward passes, for logits and for maps, which a group shares.

        Logits of images that never change are kept after one pass; maps are too large to keep.
        """
        if self.teacher is None:
            return {}
        once = 2 * self.teacher.macs() * len(self.dataset.train)
        found = {"maps": once * self.recipe.epochs} if self.loss.needs_features else {}
        if self.loss.needs_logits:
            found["logits"] = once * (self.recipe.epochs if self.recipe.augmentation.active else 1)
        return found


_paired: dict[tuple, tuple[tuple[str, str], ...]] = {}


def _count(
    name: str, num_classes: int, channels: int, height: int, width: int, input_size: int | None
) -> dict[str, Any]:
    """MACs of a model that resizes its images; counting does not ask for their statistics."""
    model, shape = models.build(name, num_classes, channels), (channels, height, width)
    models.adapt(model, name, (0.0,) * channels, (1.0,) * channels, input_size)
    return {"all": forward_macs(model, shape), "layers": layer_macs(model, shape)}
