"""Datasets: three splits of uint8 images, chosen by seed, known by a fingerprint."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from kdlib.data import store
from kdlib.data.images import Decoding, Files, conform
from kdlib.data.sources import SOURCES, Part, Parts, Request
from kdlib.errors import UserError
from kdlib.progress import note

_OWN = ("folder", "chest_xray")  # sources of images that nobody has looked through
_TOLD, _USUAL = ("resize", "background"), asdict(Decoding())

_AT_A_TIME = 2**22  # pixels that are counted, which takes eight bytes each

# One stream of random numbers for each use, so that none moves another.
SUBSET, HOLD_OUT, TEST_SUBSET = 1, 2, 3


@dataclass(frozen=True, eq=False)
class Split:
    """Images, uint8 (N, C, H, W), labels, int64 (N,), and where known each image's group (a patient), int64 (N,)."""

    images: torch.Tensor
    labels: torch.Tensor
    groups: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset as it is used in training.

    fingerprint: 16 hex digits over classes, shapes, images and labels of the three splits; not over groups,
    which are no part of what a model sees.
    mean, std: per channel over the training split, in 0..1 units.
    notes: what a reader of the results should know of the images.
    decoding: what was made of image files; a new image is to be treated alike.
    storage: where the images are, in `memory` or on `disk`; these are not to be written to.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    fingerprint: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    decoding: Decoding = field(default_factory=Decoding)
    storage: str = "memory"

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return tuple(self.train.images.shape[1:])

    def describe(self) -> dict:
        """What a run record says about the dataset; JSON-able.

        class_counts: images of each class in each split. group_counts: patients in each, where images have one.
        resize, background, storage: where they are not what is usual.
        """
        splits = {"train": self.train, "val": self.val, "test": self.test}
        counted = {part: len(split.groups.unique()) for part, split in splits.items() if split.groups is not None}
        return {
            "name": self.name,
            "classes": list(self.classes),
            "sizes": {part: len(split) for part, split in splits.items()},
            "class_counts": {
                part: torch.bincount(split.labels, minlength=self.num_classes).tolist()
                for part, split in splits.items()
            },
            "shape": list(self.shape),
            "fingerprint": self.fingerprint,
            "mean": list(self.mean),
            "std": list(self.std),
            **({"group_counts": counted} if counted else {}),
            **{key: own for key, own in asdict(self.decoding).items() if key in _TOLD and own != _USUAL[key]},
            **({"storage": self.storage} if self.storage != "memory" else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
        }


def load(
    name: str,
    *,
    data_root: str | Path | None = None,
    image_size: int | None = None,
    grayscale: bool = False,
    train_size: int | None = None,
    test_size: int | None = None,
    val_fraction: float = 0.2,
    split_seed: int = 0,
    classes: int | None = None,
    data_seed: int = 0,
    download: bool = False,
    resize: str = "squash",
    background: str = "white",
    groups: str | None = None,
    storage: str | None = None,
) -> Dataset:
    """Read a dataset, into memory where it fits.

    name: a key of `SOURCES`. data_root: where its files lie. image_size: side in pixels to resize to, square.
    train_size: images drawn from the training part, stratified, before validation is held out. test_size:
    likewise from the test part, but always the same ones, whatever the seed. (For `shapes10`, `outlines10` and
    `phantom` both say how many are made.)
    val_fraction: share of those held out for validation, stratified (0.2 as in the ResNet-ladder report; 0
    leaves validation empty); not used where the source has a validation split of its own. Where images are
    grouped (by patient), whole groups are held out; what train_size draws may cut a group.
    split_seed: chooses what is drawn and what is held out. classes: the first so many only.
    data_seed: seed of generated images. download: let torchvision fetch what is missing.
    resize, background: see `kdlib.data.images.Decoding`. groups: a regular expression that finds in a file's name
    whose image it is, for `folder` and `chest_xray`.
    storage: where decoded image files are while they are used: in `memory`, or on `disk`, from where batches are read
    as they are needed; with `auto` on disk if they take more than half of the memory that is available. None is what
    KDLIB_STORAGE in the environment says, or auto. Other images stay in memory. Pixels are the same everywhere.
    Raises UserError for all a user can get wrong here.
    """
    if name not in SOURCES:
        raise UserError(f"unknown data set '{name}': choose one of {', '.join(sorted(SOURCES))}")
    if not 0 <= val_fraction < 1:
        raise UserError(f"val_fraction must lie in 0..1, 1 excluded, not {val_fraction!r}")
    _check_whole(1, image_size=image_size, train_size=train_size, test_size=test_size)
    _check_whole(2, classes=classes)
    _check_whole(0, split_seed=split_seed, data_seed=data_seed)
    root = Path(os.path.expanduser(data_root)) if data_root is not None else None
    decoding = Decoding(image_size, grayscale, resize, background)
    parts = SOURCES[name](Request(root, decoding, train_size, test_size, classes, data_seed, download, groups))
    if groups and parts.train.groups is None:
        raise UserError(f"groups does nothing for data set '{name}': it belongs to dataset=folder and chest_xray")
    chosen = _choose(parts, name, train_size, test_size, val_fraction, split_seed, classes)
    wanted = {part: own.images for part, own in chosen.items()}
    images, storage = _read(wanted, decoding, storage)
    splits = {part: Split(images[part], own.labels, own.groups) for part, own in chosen.items()}
    _check_shapes(splits)
    names = tuple(parts.classes[:classes])

    def about() -> dict:
        twins = list(_twins(splits)) if name in _OWN else []
        mean, std = _statistics(splits["train"].images)
        return {"fingerprint": fingerprint(names, splits), "mean": mean, "std": std, "notes": twins}

    if storage == "disk":  # to look through all of them again takes minutes
        labels = [split.labels.tolist() for split in splits.values()]
        found = store.remembered(json.dumps([name, names, labels]), list(wanted.values()), about)
    else:
        found = about()
    notes = (*parts.notes, *found["notes"])
    for line in notes:
        note(line)
    return Dataset(
        name,
        names,
        **splits,
        fingerprint=found["fingerprint"],
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        notes=notes,
        decoding=decoding,
        storage=storage,
    )


def _read(
    splits: dict[str, torch.Tensor | Files], decoding: Decoding, storage: str | None
) -> tuple[dict[str, torch.Tensor], str]:
    """The images of each split, and where they are: in memory, or on disk."""
    storage = storage or os.environ.get(store.STORAGE) or "auto"
    if storage not in ("auto", "memory", "disk"):
        raise UserError(f"storage must be auto, memory or disk, not {storage!r}")
    if storage != "memory" and all(isinstance(images, Files) for images in splits.values()):
        left = sum(math.prod(files.shape) for files in splits.values())
        if storage == "disk" or left > store.SHARE * store.available_memory():
            images = {}
            for part, files in splits.items():
                images[part] = store.on_disk(files, left)
                left -= images[part].numel()
            return images, "disk"
    return {
        part: store.in_memory(images) if isinstance(images, Files) else conform(images, decoding)
        for part, images in splits.items()
    }, "memory"


def _twins(splits: dict[str, Split]) -> Iterator[str]:
    """What is to be said of images that lie in the training part and in another one too."""
    prints = {
        part: [hashlib.blake2b(image).digest() for image in split.images.numpy()] for part, split in splits.items()
    }
    known = set(prints["train"])
    for part in ("val", "test"):
        if twins := sum(own in known for own in prints[part]):
            whole = len(splits[part])
            yield f"{twins} of {whole} {part} images are in train too, pixel for pixel: {part} accuracy flatters"


def _check_whole(least: int, **values: int | None) -> None:
    for what, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise UserError(f"{what} must be a whole number, {least} or more, not {value!r}")


def _choose(
    parts: Parts,
    name: str,
    train_size: int | None,
    test_size: int | None,
    val_fraction: float,
    split_seed: int,
    classes: int | None,
) -> dict[str, Part]:
    """Which images make up train, val and test."""
    if len(parts.classes) < 2:
        raise UserError(f"data set '{name}' has one class, '{parts.classes[0]}': two are needed at least")
    if classes is not None and classes > len(parts.classes):
        raise UserError(f"classes must be at most {len(parts.classes)} for data set '{name}', not {classes}")
    train, val, test = parts.train, parts.val, parts.test
    if classes is not None:
        train, val, test = (part and part[(part.labels < classes).nonzero().flatten()] for part in (train, val, test))
    if train_size is not None and train_size != len(train.labels):
        train = train[subset(train.labels, train_size, split_seed, SUBSET, "train_size")]
    if test_size is not None and test_size != len(test.labels):
        test = test[subset(test.labels, test_size, 0, TEST_SUBSET, "test_size")]
    if val is None:
        kept, held = hold_out(train.labels, val_fraction, split_seed, train.groups)
        train, val = train[kept], train[held]
    chosen = {"train": train, "val": val, "test": test}
    for part in ("train", "test"):
        sizes = torch.bincount(chosen[part].labels, minlength=classes or len(parts.classes)).tolist()
        if 0 in sizes:
            raise UserError(f"class '{parts.classes[sizes.index(0)]}' of data set '{name}' has no {part} images")
    return chosen


def hold_out(
    labels: torch.Tensor, fraction: float, seed: int, groups: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices (kept, held out), ascending: every class is held out in its share, at least one image stays.

    labels: int64 (N,). The number held out is N * fraction, rounded half up; remainders go to the classes
    whose share was cut most.
    groups: int64 (N,), whose image each is (of one patient, say). Then whole groups are held out: none is on both
    sides. A group counts for the class most of its images have (the first of equals), each class comes as near
    its share of images as whole groups allow, and keeps one group at least.
    Raises UserError when a fraction above 0 would hold out nothing.
    """
    if fraction == 0:
        return torch.arange(len(labels)), torch.empty(0, dtype=torch.int64)
    if groups is None:
        quota = _quota(torch.bincount(labels).tolist(), fraction)
        held = _draw(labels, quota, seed, HOLD_OUT)
    else:
        held = _draw_groups(labels, fraction, seed, groups)
    if not len(held):
        many, of = (len(labels), "images") if groups is None else (len(groups.unique()), "groups of images")
        raise UserError(
            f"too few training {of} ({many}) to hold {fraction:g} of them out for validation: "
            "add images or a val/ folder, or raise val_fraction"
        )
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[held] = False
    return kept.nonzero().flatten(), held


def _quota(sizes: list[int], fraction: float) -> list[int]:
    """How many of each class are to be held out of so many."""
    return _apportion(sizes, int(sum(sizes) * fraction + 0.5), most=[max(size - 1, 0) for size in sizes])


def _draw_groups(labels: torch.Tensor, fraction: float, seed: int, groups: torch.Tensor) -> torch.Tensor:
    """Ascending indices of the images of the groups held out; see `hold_out`.

    Groups are met in the order of raw PCG64 words, one each by ascending number, and taken while that brings
    their class nearer to its share.
    """
    numbers, member = groups.unique(return_inverse=True)
    table = torch.zeros(len(numbers), max(len(torch.bincount(labels)), 1), dtype=torch.int64)
    table.index_put_((member, labels), torch.ones_like(labels), accumulate=True)
    sizes, of_class = table.numpy().sum(1), table.numpy().argmax(1)
    left = np.bincount(of_class, minlength=table.shape[1])
    missing = _quota(np.bincount(of_class, sizes, table.shape[1]).astype(int).tolist(), fraction)
    keys = np.random.PCG64(np.random.SeedSequence([seed, HOLD_OUT])).random_raw(len(numbers))
    taken = torch.zeros(len(numbers), dtype=torch.bool)
    for group in np.argsort(keys, kind="stable").tolist():
        size, label = sizes[group], of_class[group]
        if left[label] > 1 and abs(missing[label] - size) < abs(missing[label]):
            taken[group] = True
            missing[label] -= size
            left[label] -= 1
    return taken[member].nonzero().flatten()


def subset(labels: torch.Tensor, count: int, seed: int, stream: int = SUBSET, what: str = "size") -> torch.Tensor:
    """Ascending indices of `count` images, every class in its share and at least once.

    labels: int64 (N,). With classes of equal size, a smaller subset of one seed lies within a larger one.
    Raises UserError when there are fewer images than asked for, or fewer asked for than classes.
    """
    if count > len(labels):
        raise UserError(f"{what} is {count}, but there are only {len(labels)} images")
    sizes = torch.bincount(labels).tolist()
    present = sum(size > 0 for size in sizes)
    if count < present:
        raise UserError(f"{what} is {count}, but there are {present} classes: take one image of each at least")
    spare = [max(size - 1, 0) for size in sizes]
    quota = _apportion(sizes, count, most=sizes)
    if any(size and not share for size, share in zip(sizes, quota, strict=True)):
        quota = [
            (size > 0) + extra
            for size, extra in zip(sizes, _apportion(spare, count - present, most=spare), strict=True)
        ]
    return _draw(labels, quota, seed, stream)


def _apportion(sizes: list[int], total: int, most: list[int]) -> list[int]:
    """Whole numbers in proportion to sizes that add up to total (largest remainder), none above `most`."""
    whole = sum(sizes)
    if not whole:
        return [0] * len(sizes)
    shares = [min(size * total // whole, top) for size, top in zip(sizes, most, strict=True)]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (-(sizes[i] * total % whole), i))
    while sum(shares) < total and any(share < top for share, top in zip(shares, most, strict=True)):
        for i in by_remainder:
            if sum(shares) < total and shares[i] < most[i]:
                shares[i] += 1
    return shares


def _draw(labels: torch.Tensor, quota: list[int], seed: int, stream: int) -> torch.Tensor:
    """Ascending indices of quota[c] images of each class c.

    Raw output of PCG64 is the same in every version of numpy; the order of its 64-bit words is the draw.
    """
    bits = np.random.PCG64(np.random.SeedSequence([seed, stream]))
    keys = bits.random_raw(len(labels)) if len(labels) else np.empty(0, np.uint64)
    classes = labels.numpy()
    order = np.lexsort((keys, classes))
    starts = np.searchsorted(classes[order], np.arange(len(quota)))
    taken = [order[start : start + share] for start, share in zip(starts, quota, strict=True)]
    return torch.from_numpy(np.sort(np.concatenate(taken)) if taken else np.empty(0, np.int64))


def fingerprint(classes: tuple[str, ...], splits: dict[str, Split]) -> str:
    """First 16 hex digits of the SHA-256 over class names, shapes, and the bytes of images and labels."""
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for part in ("train", "val", "test"):
        split = splits[part]
        digest.update(json.dumps([part, list(split.images.shape)]).encode())
        digest.update(split.images.contiguous().numpy())
        digest.update(split.labels.contiguous().numpy().astype("<i8"))
    return digest.hexdigest()[:16]


def _check_shapes(splits: dict[str, Split]) -> None:
    shapes = {part: tuple(split.images.shape[1:]) for part, split in splits.items() if len(split)}
    for part, (_, height, width) in shapes.items():
        if shapes[part] != shapes["train"]:
            _, first, second = shapes["train"]
            raise UserError(
                f"images differ in size: train is {second}x{first}, {part} is {width}x{height}; "
                "give image_size (a side in pixels) to resize them"
            )


def _statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in 0..1 units, from whole-number sums: the same everywhere.

    A channel without variation gets the deviation of one grey level, so that one can divide by it.
    """
    mean, std = [], []
    counts = np.zeros((images.shape[1], 256), np.int64)
    for some in images.split(max(1, _AT_A_TIME // math.prod(images.shape[1:]))):
        for channel, own in enumerate(counts):
            own += np.bincount(some[:, channel].reshape(-1).numpy(), minlength=256)
    for levels in counts.tolist():
        number, first, second = (sum(level**power * n for level, n in enumerate(levels)) for power in range(3))
        variance = (number * second - first * first) / (number * number)
        mean.append(first / number / 255)
        std.append(max(variance**0.5, 1.0) / 255)
    return tuple(mean), tuple(std)


def check_batch(dataset: Dataset, batch_size: int) -> None:
    """Raise UserError when the training split has fewer images than one batch."""
    if len(dataset.train) < batch_size:
        raise UserError(
            f"data set '{dataset.name}' has {len(dataset.train)} training images, fewer than one batch of "
            f"{batch_size}: use a batch size of at most {len(dataset.train)}"
        )
