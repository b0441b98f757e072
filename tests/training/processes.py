"""Started by test_world.py, alone and by torchrun: trains each case and writes what came of it, a file a process."""

import copy
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.func import functional_call

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import make_dataset
from small import cnn2, mlp, trained_statistics

from kdlib.data import Augmentation
from kdlib.errors import UserError
from kdlib.losses import METHODS, preset
from kdlib.training import Checkpoints, Job, Recipe, Stop, Stopped, TeacherStore, distill, fit

# 47 images in batches of 16, 16 and 15: of the last, one process has eight and the other seven.
DATA = make_dataset(train=47, val=300, test=300)
AUGMENTED = Augmentation(pad=1, flip=True, brightness=0.1)
RECIPE = Recipe(optimizer="sgd", momentum=0.9, lr=0.05, batch_size=16, epochs=4, augmentation=AUGMENTED)
GENTLE = Recipe(optimizer="sgd", lr=0.01, batch_size=16, epochs=4, augmentation=AUGMENTED)
ADAM = Recipe(lr=0.01, batch_size=16, epochs=4, select="best", class_weights="balanced", label_smoothing=0.1)


class Later(Stop):
    """Is requested the seventh time it is asked: in the second epoch."""

    asked = 0

    @property
    def requested(self) -> bool:
        self.asked += 1
        return self.asked > 6


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.idle = mlp(), nn.Linear(3, 3)

    def forward(self, x):
        return self.net(x)


class Apart(nn.Module):
    """Batch norm that takes each half of a batch by itself, and keeps the mean of both halves' statistics."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        if not self.training:
            return self.norm(x)
        halves = [copy.deepcopy(self.norm) for _ in range(2)]
        answers = [
            functional_call(half, {"weight": self.norm.weight, "bias": self.norm.bias}, part)
            for half, part in zip(halves, x.tensor_split(2), strict=False)
        ]
        for name, buffer in self.norm.named_buffers():
            buffer.copy_(sum(half.get_buffer(name) for half in halves) / 2)
        return torch.cat(answers)


def normed(norm=lambda layer: layer) -> nn.Module:
    middle = (norm(nn.BatchNorm2d(6)), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), *middle, nn.Linear(24, 4))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    rank = int(os.environ.get("RANK", 0))
    options = {"device": "cpu", "precision": "fp32"}
    teacher = trained_statistics(cnn2)
    found, done, seen = {}, [], []

    def keep(name, outcome):
        found[name] = {"history": outcome.history, "metrics": outcome.metrics}
        torch.save((outcome.state, outcome.logits), folder / f"{name}.{rank}.pt")

    keep("labels", fit(Job(mlp, RECIPE), DATA, **options))
    keep("balanced", fit(Job(cnn2, ADAM), DATA, **options))
    keep("unused", fit(Job(Unused, RECIPE), DATA, **options))
    keep("batchnorm", fit(Job(normed, RECIPE), DATA, **options))
    if not dist.is_initialized():
        keep("apart", fit(Job(lambda: normed(Apart), RECIPE), DATA, **options))
    for name in ("weighted_kl", *METHODS):
        loss = preset(name, 2.0, 0.5)
        store = TeacherStore(folder / "store", f"{name}.teacher", 10**9)
        job = Job(cnn2, GENTLE, loss=loss, id=name)
        more = {"teacher_store": store, "checkpoints": Checkpoints(folder / "checkpoints", 0)}
        more |= {"callbacks": [lambda state: seen.append(state.epoch)], "finished": lambda i, _: done.append(i)}
        keep(name, distill(teacher, [job], DATA, **options, **more)[0])
    found["calls"] = [len(seen), len(done)]

    # Only the last process is told to stop; all do, and all go on from the first one's checkpoint.
    last = rank == int(os.environ.get("WORLD_SIZE", 1)) - 1
    for name in ("resumed", "left"):
        job, checkpoints = Job(mlp, RECIPE, id=name), Checkpoints(folder / "stopped", 0)
        try:
            fit(job, DATA, **options, checkpoints=checkpoints, stop=Later() if last else Stop())
        except Stopped as stopped:
            found["stopped"] = str(stopped)
        if name == "resumed":
            keep(name, fit(job, DATA, **options, checkpoints=checkpoints))

    refusals = {"two": lambda: distill(teacher, [Job(mlp, RECIPE)] * 2, DATA)}
    refusals["small"] = lambda: fit(Job(mlp, Recipe(batch_size=3)), DATA)
    for name, ask in refusals.items():
        try:
            ask()
        except UserError as error:
            found[name] = str(error)
    (folder / f"{rank}.json").write_text(json.dumps(found))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
