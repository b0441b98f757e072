"""Where images come from: a registry of sources, and the ones that read files.

A source says which images there are and of which class; `kdlib.data.load` chooses among them and only then
has them read, so that a subset of a large collection costs what the subset costs.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from kdlib.data.folders import Skipped, find_parts, list_classes
from kdlib.data.groups import by_pattern, numbered
from kdlib.data.images import Decoding, Depth, Files
from kdlib.data.synthetic import FINDINGS, OUTLINES, SHAPES
from kdlib.data.synthetic import outlines10 as draw_outlines
from kdlib.data.synthetic import phantom as draw_phantom
from kdlib.data.synthetic import shapes10 as draw_shapes
from kdlib.errors import UserError, first_line
from kdlib.files import cache_folder
from kdlib.progress import note

TREE = "train/ [val/] test/, each with one folder a class"


@dataclass(frozen=True)
class Request:
    """What `load` was asked for, as far as a source may want to know it (see `kdlib.data.load`)."""

    data_root: Path | None
    decoding: Decoding
    train_size: int | None
    test_size: int | None
    classes: int | None
    data_seed: int
    download: bool
    groups: str | None

    def of_size(self, image_size: int) -> "Request":
        """The same with images of this many pixels a side, where none was said."""
        return replace(self, decoding=replace(self.decoding, image_size=self.decoding.image_size or image_size))


@dataclass(frozen=True, eq=False)
class Part:
    """The images of one split.

    images: uint8 (N, C, H, W), or N files that are decoded when it is known which ones are needed. labels: int64 (N,).
    groups: which patient (or whatever else several images share) each image is of, int64 (N,), numbered so that
    no two parts of a source have a number in common unless the patient is the same; None where each image stands
    for itself.
    """

    images: torch.Tensor | Files
    labels: torch.Tensor
    groups: torch.Tensor | None = None

    def __getitem__(self, indices: torch.Tensor) -> "Part":
        """Those images of the indices, int64 (n,)."""
        groups = None if self.groups is None else self.groups[indices]
        return Part(self.images[indices], self.labels[indices], groups)


@dataclass(frozen=True, eq=False)
class Parts:
    """What a source returns. Without `val`, validation is held out from the training part.

    notes: what a reader of the results should know of the images, a line each.
    """

    classes: tuple[str, ...]
    train: Part
    test: Part
    val: Part | None = None
    notes: tuple[str, ...] = ()


Source = Callable[[Request], Parts]
SOURCES: dict[str, Source] = {}


def register(name: str) -> Callable[[Source], Source]:
    """Decorator: make `load(name)` use this function, which takes a `Request` and returns `Parts`."""

    def add(source: Source) -> Source:
        SOURCES[name] = source
        return source

    return add


@register("shapes10")
def shapes10(request: Request) -> Parts:
    """The embedded procedural data set (`kdlib.data.synthetic`); 5,000 and 1,000 images unless said."""
    return _drawn(draw_shapes, tuple(SHAPES), request)


@register("outlines10")
def outlines10(request: Request) -> Parts:
    """Ten other outlines by the renderer of shapes10: a source task to transfer from; as many images."""
    return _drawn(draw_outlines, tuple(OUTLINES), request)


def _drawn(draw: Callable, names: tuple[str, ...], request: Request) -> Parts:
    sizes = {"train": request.train_size or 5000, "test": request.test_size or 1000}
    if request.classes:  # `load` keeps those: make enough for as many as were asked for
        for part, asked in (("train", request.train_size), ("test", request.test_size)):
            sizes[part] = -(-asked // request.classes) * len(names) if asked else sizes[part]
    return Parts(names, **{part: Part(*draw(size, part, request.data_seed)) for part, size in sizes.items()})


@register("phantom")
def phantom(request: Request) -> Parts:
    """Embedded chest-like radiographs (`kdlib.data.synthetic`); 1,500 and 300 films unless said, patients as groups."""
    train = draw_phantom(request.train_size or 1500, "train", request.data_seed)
    images, labels, patients = draw_phantom(request.test_size or 300, "test", request.data_seed)
    return Parts(FINDINGS, Part(*train), Part(images, labels, patients + int(train[2].max()) + 1))


@register("folder")
def folder(request: Request) -> Parts:
    """A tree of `train/`, `test/` and perhaps `val/`, each with a folder a class (searched deeply).

    The parts may have other usual names (`find_parts`), classes are what `list_classes` finds. Classes are the folders'
    names in code-point order, images come in the order of their paths. With `groups`, a regular expression, each
    image has an owner (`by_pattern`).
    Raises UserError: no data_root, no such folder, a class without images, splits with different classes.
    """
    root = request.data_root
    if root is None:
        raise UserError(f"data set 'folder' needs --data-root DIR, a folder that holds {TREE}")
    if not root.is_dir():
        raise UserError(f"no such folder: {root} (--data-root must hold {TREE})")
    places, skipped = find_parts(root), Skipped()
    for name in ("train", "test"):
        if name not in places:
            raise UserError(f"no such folder: {root / name} (--data-root must hold {TREE})")
    listings = {name: list_classes(places[name], skipped) for name in ("train", "test", "val") if name in places}
    classes = tuple(sorted(listings["train"]))
    for name in listings:
        _check_same_classes(root, classes, name, listings[name])
    parts = of_files(listings, classes, request)
    notes: list[str] = []
    if request.groups:
        paths = {name: part.images.paths for name, part in parts.items()}
        groups, notes = numbered(paths, by_pattern(request.groups), f"groups={request.groups}")
        parts = {name: replace(part, groups=groups[name]) for name, part in parts.items()}
    if line := skipped.line():
        note(f"skipped in {root}: {line}")
    return Parts(classes, **parts, notes=tuple(notes))


def is_tree(root: Path | None) -> bool:
    """Whether a folder holds a training and a test part as `folder` reads them."""
    return root is not None and root.is_dir() and {"train", "test"} <= find_parts(root).keys()


def _check_same_classes(root: Path, classes: Sequence[str], name: str, listing: dict[str, list[Path]]) -> None:
    ours, theirs = set(classes), set(listing)
    if ours == theirs:
        return
    only = [
        f"only in {part}: {_some(sorted(extra))}"
        for part, extra in (("train", ours - theirs), (name, theirs - ours))
        if extra
    ]
    raise UserError(f"train and {name} classes differ in {root}: {'; '.join(only)}")


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def of_files(listings: dict[str, dict[str, list[Path]]], classes: Sequence[str], request: Request) -> dict[str, Part]:
    """The parts of a source, each listed as the files of every class."""
    paths = {name: [path for label in classes for path in listing[label]] for name, listing in listings.items()}
    depth = Depth([path for of_part in paths.values() for path in of_part])
    parts = {}
    for name, listing in listings.items():
        labels = [number for number, label in enumerate(classes) for _ in listing[label]]
        files = Files(paths[name], request.decoding, name, depth)
        parts[name] = Part(files, torch.tensor(labels, dtype=torch.int64))
    return parts


@register("cifar10")
def cifar10(request: Request) -> Parts:
    """CIFAR-10 from torchvision's files (`cifar-10-batches-py`), or a `folder` tree where data_root is one.

    Raises UserError when neither is there and `download` is off, or the download fails.
    """
    root = request.data_root
    if is_tree(root):
        return folder(request)
    root = _torchvision_root(
        request, "cifar10", "cifar-10-batches-py", "holding cifar-10-batches-py or train/ and test/ folders"
    )
    from torchvision.datasets import CIFAR10

    parts = {}
    for part in ("train", "test"):
        data = _fetch(partial(CIFAR10, root, part == "train", download=request.download), root)
        images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        parts[part] = Part(images, torch.tensor(data.targets, dtype=torch.int64))
    return Parts(tuple(data.classes), **parts)


@register("food101")
def food101(request: Request) -> Parts:
    """Food-101 in torchvision's layout: data_root holds (or is) `food-101`, with `images` and `meta`.

    Images are resized to image_size, 64 unless said. Raises UserError as `cifar10` does.
    """
    request = request.of_size(64)
    root = request.data_root
    if root is not None and (root / "meta").is_dir() and (root / "images").is_dir():
        base = root
    else:
        root = _torchvision_root(request, "food101", "food-101", "holding food-101/images and food-101/meta")
        base = root / "food-101"
        if request.download:
            from torchvision.datasets import Food101

            _fetch(partial(Food101, root, download=True), root)
    listings = {}
    for name in ("train", "test"):
        meta = base / "meta" / f"{name}.json"
        try:
            listed = json.loads(meta.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot read {meta} ({first_line(error)}): {base} must be Food-101 as torchvision has it"
            ) from None
        listings[name] = {label: [base / "images" / f"{image}.jpg" for image in listed[label]] for label in listed}
    classes = tuple(sorted(listings["train"]))
    _check_same_classes(base, classes, "test", listings["test"])
    return Parts(classes, **of_files(listings, classes, request))


def _torchvision_root(request: Request, name: str, holds: str, how: str) -> Path:
    """The folder that has (or, with download, will have) torchvision's files; the user's cache by default."""
    root = request.data_root
    if root is None:
        root = cache_folder()
    elif not root.is_dir() and not request.download:
        raise UserError(f"no such folder: {root} (--data-root must be a folder {how})")
    if not (root / holds).is_dir() and not request.download:
        raise UserError(f"data set '{name}' is not in {root}: pass --data-root DIR {how}, or --set download=true")
    return root


def _fetch(make: Callable, root: Path):
    """Call torchvision; what goes wrong there (no network, a damaged file) becomes one line."""
    try:
        return make()
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"cannot get the data set in {root} ({reason}): pass --data-root DIR of a complete copy"
        ) from None
