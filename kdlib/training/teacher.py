"""The teacher: frozen, its logits of an epoch computed in one order and kept in a store, its feature maps live."""

import fcntl
import hashlib
import json
import os
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kdlib.copies import copied
from kdlib.data import Augmentation, Dataset, augment, draws, normalise
from kdlib.files import make_room, whole
from kdlib.losses import Response, Stage, stages, tapped
from kdlib.training.check import check_model, seed_draws
from kdlib.training.device import autocast, choose
from kdlib.training.evaluation import batch_of
from kdlib.training.job import Job, derive
from kdlib.training.world import ALONE, World

_MANY = 1000  # training images from which on fusing pays


@dataclass(frozen=True)
class FeaturePairs:
    """Which feature maps a loss compares, (student's layer, teacher's layer) each, and the module between them."""

    pairs: tuple[tuple[str, str], ...] = ()
    adapter: nn.Module | None = None

    @property
    def student(self) -> tuple[str, ...]:
        """Names of the student's layers."""
        return tuple(ours for ours, _ in self.pairs)

    @property
    def teacher(self) -> tuple[str, ...]:
        """Names of the teacher's layers."""
        return tuple(theirs for _, theirs in self.pairs)


def feature_pairs(job: Job, student: nn.Module, theirs: list[Stage], shape: tuple[int, int, int]) -> FeaturePairs:
    """Return what the job's loss, one on feature maps, compares on images of ``shape`` (C, H, W).

    ``theirs``: the teacher's stages. The adapter's weights draw from the job's seed, whatever was drawn before. Raises
    ``UserError`` for layers that the models have not.
    """
    ours = stages(student, shape)
    pairs = job.loss.pair(ours, theirs)
    first, second = ({stage.name: stage.shape for stage in of} for of in (ours, theirs))
    torch.manual_seed(derive(job.seed, job.role, "adapter"))
    adapter = job.loss.adapter([first[name] for name, _ in pairs], [second[name] for _, name in pairs])
    return FeaturePairs(pairs, adapter)


@dataclass(frozen=True)
class TeacherOutput:
    """What the teacher answered to one batch: logits (B, K) and feature maps (B, C, H, W) by layer."""

    logits: torch.Tensor
    maps: dict[str, torch.Tensor]

    def response(self, pairs: FeaturePairs) -> Response:
        """Return the part that a loss on these pairs looks at."""
        return Response(self.logits, tuple(self.maps[name] for name in pairs.teacher))


class TeacherStore:
    """A teacher's logits on disk, one file of fp32 numbers an epoch, mapped into memory when they are read.

    ``folder`` is shared by all teachers; ``teacher`` names this one. The files of a folder take up to ``limit`` bytes:
    for new ones the longest unused of other trainings go, and what does not fit is not kept. A file's name holds its
    checksum. What is damaged, or cannot be written, is computed anew: the store changes no number. ``full``: the last
    epoch that was to be written found no room.
    """

    def __init__(self, folder: Path, teacher: str, limit: int):
        self.folder, self.teacher, self.limit, self.full = folder, teacher, limit, False

    def path(self, key: dict, epoch: int | None) -> Path:
        """Return the file of an epoch (None: of images that never change), without its checksum.

        ``key`` says what the logits depend on.
        """
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / self.teacher / digest / ("plain" if epoch is None else str(epoch))

    def read(self, path: Path, shape: tuple[int, int]) -> torch.Tensor | None:
        """Return the logits of a file, float32 (N, K); None where it is not there, or not whole."""
        for file in path.parent.glob(f"{path.name}.*.npy"):
            try:
                found = np.load(file, mmap_mode="c", allow_pickle=False)
                os.utime(file)
            except (OSError, ValueError, EOFError):
                continue
            right = found.shape == shape and found.dtype == np.float32
            if right and file.name == f"{path.name}.{zlib.crc32(found):08x}.npy":
                return torch.from_numpy(found)
        return None

    @contextmanager
    def claim(self, path: Path, epoch: int | None) -> Iterator[bool]:
        """Say whether an epoch is for this process to compute: no other one is at it. One that dies lets go."""
        ours = True
        with ExitStack() as files:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = files.enter_context(open(path.parent / "lock", "a"))
            except OSError:  # nothing can be kept either
                lock = None
            try:
                if lock:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0 if epoch is None else 1 + epoch)
            except (BlockingIOError, PermissionError):
                ours = False
            except OSError:  # the file system knows no locks: each computes for itself
                pass
            yield ours

    def write(self, path: Path, logits: torch.Tensor) -> None:
        """Keep the logits of an epoch, whole or not at all, where there is room."""
        self.full = True
        try:
            # Each epoch is read once in a training's turn: of its own the oldest would be the next to be needed.
            if make_room(self.folder, "*.npy", logits.numel() * 4 + 256, self.limit, spared=path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                array = np.ascontiguousarray(logits.numpy())
                for damaged in path.parent.glob(f"{path.name}.*.npy"):
                    damaged.unlink(missing_ok=True)
                name = f"{path.name}.{zlib.crc32(array):08x}.npy"
                with whole(path.with_name(name)) as aside, open(aside, "wb") as file:
                    np.save(file, array)
                self.full = False
        except OSError:  # a full disk, or a folder that somebody is deleting
            pass


class Teacher:
    """A frozen copy of the teacher in eval mode, asked about the training images of one data set."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        device: torch.device,
        precision: str,
        store: TeacherStore | None = None,
        world: World = ALONE,
    ):
        self.precision, self.world = world.agree(lambda: choose(model, device, precision)), world
        self.model = copied(model).to(device)
        self.handling = check_model(self.model, dataset, "the teacher", precision=self.precision, trains=False)
        self.model.eval().requires_grad_(False)
        self.dataset, self.device, self.store = dataset, device, store
        self.begun: dict[str, list] | None = None  # an epoch's answers so far; a checkpoint keeps them
        self._plain: torch.Tensor | None = None

    # Not inference_mode: what it makes cannot be kept for a student's backward pass, and would be copied for each.
    @torch.no_grad()
    def answer(self, images: torch.Tensor, layers: Iterable[str] = ()) -> TeacherOutput:
        """Return logits, float32, and the maps of ``layers`` for normalised images (B, C, H, W)."""
        with autocast(self.device, self.precision), tapped(self.model, layers) as maps:
            logits = self.handling.run(self.model, images, "the teacher").float()
        return TeacherOutput(logits, dict(maps))

    def epoch_logits(
        self,
        augmentation: Augmentation,
        seed: int,
        epoch: int,
        epochs: int = 0,
        between: Callable[[], None] = lambda: None,
    ) -> torch.Tensor:
        """Return logits of all training images as they look in an epoch, float32 (N, K), in the data set's order.

        They are computed in batches of a fixed size, whatever the students' batches, or taken from the store: equal to
        the bit. ``seed`` is that of the augmentation; ``between`` is called before each batch. While another process
        computes this epoch for the store, a later one of the training's ``epochs`` is computed here.
        """
        if not augmentation.active:
            if self._plain is None:
                self._plain = self._kept(augmentation, 0, [None], between)
            return self._plain
        return self._kept(augmentation, seed, [epoch, *range(epoch + 1, epochs)], between)

    def _kept(self, augmentation: Augmentation, seed: int, epochs: list[int | None], between) -> torch.Tensor:
        """The logits of the first epoch; the others are those that come after it."""
        if self.store is None:
            return self._computed(augmentation, seed, epochs[0], between).to(self.device)
        key = self._key(augmentation, seed)
        shape = (len(self.dataset.train), self.dataset.num_classes)
        paths = {epoch: self.store.path(key, epoch) for epoch in epochs}

        def read(epoch: int | None) -> torch.Tensor | None:
            return self.world.agree(lambda: self.store.read(paths[epoch], shape))

        first, *later = epochs
        while (found := read(first)) is None:
            for epoch in (first, *later):
                # What nobody else will find in the store nobody waits for.
                shared = self.world.size == 1 and not self.store.full
                with self.store.claim(paths[epoch], epoch) if shared else nullcontext(True) as ours:
                    if ours and read(epoch) is None:
                        found = self._computed(augmentation, seed, epoch, between)
                        if self.world.rank == 0:
                            self.store.write(paths[epoch], found)
                        if epoch == first:
                            return found.to(self.device)
                        break
                if ours and epoch == first:  # another process has just written it
                    break
                if ours:  # it is there, and not to be looked at again
                    later.remove(epoch)
            else:  # others are at all of them
                between()
                time.sleep(0.1)
        return found.to(self.device)

    def _key(self, augmentation: Augmentation, seed: int) -> dict[str, Any]:
        """What an epoch's logits depend on, to the bit."""
        return {
            "weights": self._checksum,
            "data": self.dataset.fingerprint,
            "augmentation": asdict(augmentation),
            "seed": seed,
            "precision": self.precision,
            "device": self.device.type,
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),  # a string of its own kind, which no checkpoint holds
            "batch": batch_of(self.dataset, self.device),
        }

    def _computed(self, augmentation: Augmentation, seed: int, epoch: int | None, between) -> torch.Tensor:
        images, size, fast = self.dataset.train.images, batch_of(self.dataset, self.device), self._fused
        numbers = draws(len(images), derive(seed, "augment", epoch)) if augmentation.active else None
        alone, asked = self.world.size == 1, [self._key(augmentation, seed), epoch]
        begun = self.begun if alone else None  # several would each go on with all of it
        if begun is None or begun["asked"] != asked:
            begun = {"asked": asked, "rows": []}
        if alone:  # what several have begun lies with each of them
            self.begun = begun
        rows = begun["rows"]
        for start in self.world.turns(range(size * len(rows), len(images), size)):
            between()
            if start is None:
                continue
            seed_draws(derive(seed, "teacher", epoch, start), self.device)
            batch = images[start : start + size].to(self.device)
            if numbers is not None:
                batch = augment(batch, augmentation, numbers[start : start + size])
            x = normalise(batch, self.dataset.mean, self.dataset.std)
            with torch.no_grad():
                rows.append(fast(x.contiguous()) if fast else self.answer(x).logits.cpu())
        self.begun = None
        return torch.cat(self.world.merge(rows))

    @cached_property
    def _checksum(self) -> int:
        """Of its weights: a teacher that was trained anew under its old id is another."""
        total = 0
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            total = zlib.crc32(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy(), total)
        return total

    @cached_property
    def _fused(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        if self.device.type != "cpu" or self.precision != "fp32" or len(self.dataset.train) < _MANY:
            return None
        return fused(self.model, normalise(self.dataset.train.images[:32], self.dataset.mean, self.dataset.std))


def fused(model: nn.Module, images: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return a model in eval mode with batch norms and activations joined to its convolutions, for fp32 on a CPU.

    oneDNN then answers up to twice as fast, most where it has AVX-512. None where the model cannot be traced, or does
    not give on ``images``, (B, C, H, W), what it gave before.
    """
    subject = copied(model).to(memory_format=torch.contiguous_format)
    images = images.contiguous()
    try:
        with warnings.catch_warnings(), torch.no_grad(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # torch.jit is on its way out; what takes its place needs a compiler
            warnings.simplefilter("error", torch.jit.TracerWarning)
            torch.manual_seed(0)
            expected = model(images.clone())
            found = torch.jit.trace(subject, images[:2].clone(), check_trace=False)
            found = torch.jit.optimize_for_inference(found)
            torch.manual_seed(0)
            answer = found(images.clone())
        near = 1e-4 * expected.abs().max().item()
        return found if torch.allclose(answer, expected, rtol=1e-3, atol=near) else None
    except Exception:  # a model of the user's own, and a compiler's, may raise anything
        return None
