"""What every side of a comparison gets alike: images, teacher, student, optimiser, loss; and kdlib's own side."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from benchmarks.timing import check_rounds
from kdlib import data, models, training
from kdlib.errors import UserError
from kdlib.losses import weighted_kl

# Without --data-root. Any images of one size take the same time.
GENERATED = "shapes10"
HELD_OUT = 0.2
SIDE = 32
_Size = TypeVar("_Size")


@dataclass(frozen=True)
class Asked:
    """What the command line said. ``rounds`` None: each bench's own number; ``quick``: everything small."""

    root: Path | None = None
    rounds: int | None = None
    quick: bool = False
    device: str = "auto"
    output: Path = Path("outputs/bench")

    @property
    def torch_device(self) -> torch.device:
        """The device of that name; raises ``UserError`` for one that is not here."""
        return training.resolve_device(self.device)

    def sized(self, size: _Size | None, full: _Size, quick: _Size) -> tuple[_Size, int, torch.device]:
        """Return a bench's size (where none is given its full one, or the quick one), its rounds, and the device."""
        size = size or (quick if self.quick else full)
        return size, self.turns(size.rounds), self.torch_device

    def turns(self, own: int) -> int:
        """Return how many rounds there are, the bench's ``own`` unless asked; raises ``UserError`` for none."""
        rounds = own if self.rounds is None else self.rounds
        check_rounds(rounds)
        return rounds


@dataclass(frozen=True)
class Setting:
    """One distillation as every side runs it: alpha · T² · KL(teacher || student) + lam · cross-entropy.

    ``student`` is copied for each run, so all sides begin with the same weights. ``optimizer``: ``adam`` or ``sgd``,
    constant rate. Images are cropped at random out of a border of ``pad`` pixels and flipped with probability one half.
    ``workers``: processes that load images for those who load them one by one.
    """

    dataset: data.Dataset
    teacher: nn.Module
    student: nn.Module
    device: torch.device
    optimizer: str = "adam"
    lr: float = 0.001
    batch_size: int = 128
    epochs: int = 1
    T: float = 4.0
    alpha: float = 0.5
    lam: float = 0.5
    pad: int = 4
    workers: int = 2

    def recipe(self) -> training.Recipe:
        """Return the same as kdlib says it."""
        augmentation = data.Augmentation(pad=self.pad, flip=True)
        return training.Recipe(
            self.optimizer, self.lr, self.batch_size, self.epochs, augmentation=augmentation, select="last"
        )

    def described(self) -> dict:
        """What a result says about it; JSON-able."""
        return {
            "images": len(self.dataset.train),
            "validation images": len(self.dataset.val),
            "test images": len(self.dataset.test),
            "image size": list(self.dataset.shape),
            "data": self.dataset.name,
            "batch size": self.batch_size,
            "epochs": self.epochs,
            "optimizer": f"{self.optimizer}, lr {self.lr:g}",
            "loader workers": self.workers,
            "device": str(self.device),
        }


class Silent:
    """Stands where a progress bar is expected and shows nothing."""

    def advance(self, amount: float) -> None:
        """Count nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""


def images(root: Path | None, train: int, test: int) -> data.Dataset:
    """Load ``train`` images of 32×32, a fifth of them for validation, and ``test``: from a folder, or generated.

    Where the folder has fewer than that, images are generated too; the data set's name says which. Raises
    ``UserError`` where the folder is none.
    """
    options = {"train_size": train, "test_size": test, "val_fraction": HELD_OUT, "image_size": SIDE}
    if root is not None:
        check_root(root)
        try:
            return data.load("folder", data_root=root, **options)
        except UserError as error:
            if "there are only" not in str(error):
                raise
    return data.load(GENERATED, **options)


def check_root(root: Path) -> None:
    """Raise ``UserError`` unless the folder holds train/ and test/."""
    if not (root / "train").is_dir() or not (root / "test").is_dir():
        raise UserError(f"no train/ and test/ in {root}: --data-root must hold both, each with one folder a class")


def teacher(name: str, dataset: data.Dataset, device: torch.device, epochs: int) -> nn.Module:
    """Return the model of that name on the CPU, in eval mode, trained for some epochs (0: as it is born)."""
    torch.manual_seed(0)
    model = models.build(name, dataset.num_classes, dataset.shape[0])
    if epochs:
        recipe = training.Recipe(epochs=epochs, batch_size=64, augmentation=data.Augmentation(pad=4, flip=True))
        job = training.Job(lambda: model, recipe)
        model.load_state_dict(training.fit(job, dataset, device=device.type, progress=Silent()).state)
    return model.cpu().eval().requires_grad_(False)


def student(name: str, dataset: data.Dataset, seed: int = 1) -> nn.Module:
    """Return a freshly initialised model of that name."""
    torch.manual_seed(seed)
    return models.build(name, dataset.num_classes, dataset.shape[0])


def jobs(setting: Setting, points: Sequence[tuple[float, float]]) -> list[training.Job]:
    """Return a job for each point (T, alpha), lam = 1 - alpha; every one begins with the setting's student."""
    return [
        training.Job(lambda: copy.deepcopy(setting.student), setting.recipe(), loss=weighted_kl(T, alpha, 1 - alpha))
        for T, alpha in points
    ]


def distill(
    setting: Setting,
    points: Sequence[tuple[float, float]],
    seed: int = 0,
    teacher_store: training.TeacherStore | None = None,
) -> list[training.Outcome]:
    """Run kdlib's side: one student for each point, in lockstep, validation after each epoch, one test at the end."""
    options = {"order_seed": seed, "device": setting.device.type, "progress": Silent(), "teacher_store": teacher_store}
    return training.distill(setting.teacher, jobs(setting, points), setting.dataset, **options)


def warmed(setting: Setting) -> Setting:
    """Return the setting with two batches of images and one epoch: what is done once in a process is done on it."""
    few = min(2 * setting.batch_size, len(setting.dataset.train))
    split = data.Split(setting.dataset.train.images[:few], setting.dataset.train.labels[:few])
    return replace(setting, dataset=replace(setting.dataset, train=split), epochs=1)
