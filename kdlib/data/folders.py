"""Folders of images as people have them: parts by any usual name, classes, and what is no image."""

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from kdlib.errors import UserError

PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
SYSTEM = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "@recycle", "$recycle.bin"}
    | {"lost+found", "system volume information", "__pycache__"}
)
# Formats that Pillow knows by name and cannot decode by itself.
_STUBS = frozenset({"BUFR", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})


@cache
def suffixes() -> frozenset[str]:
    """The file suffixes, in small letters, of every format that Pillow can read."""
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in known if name in Image.OPEN and name not in _STUBS)


@dataclass
class Skipped:
    """What a search left out: files by suffix, links to folders met before, images beside the class folders."""

    files: Counter = field(default_factory=Counter)
    links: list[Path] = field(default_factory=list)
    loose: int = 0

    def line(self) -> str:
        """One line that says it; empty where nothing was left out."""
        parts = []
        if self.files:
            kinds = ", ".join(f"{suffix} {count}" for suffix, count in self.files.most_common(5))
            parts.append(f"{self.files.total()} files that are no images ({kinds})")
        if self.loose:
            parts.append(f"{self.loose} images outside the class folders")
        if self.links:
            parts.append(f"{len(self.links)} links to folders that are there already ({self.links[0]})")
        return ", ".join(parts)


def find_parts(root: Path) -> dict[str, Path]:
    """The folders of train, val and test in `root`, as far as they are there, by any usual name in any case.

    `eval` is val where there is a test folder, and test where there is none.
    Raises UserError for two candidates, and for two parts that are one folder.
    """
    folders = [entry for entry in sorted(root.iterdir()) if not hidden(entry.name) and entry.is_dir()]
    named = {part: [f for f in folders if f.name.casefold() in usual] for part, usual in PARTS.items()}
    named["val" if named["test"] else "test"] += [f for f in folders if f.name.casefold() == "eval"]
    for part, found in named.items():
        if len(found) > 1:
            both = " and ".join(f"{folder.name}/" for folder in found)
            raise UserError(f"{root} has {both}, and each could be {part}: keep one of them, or rename the other")
    parts = {part: found[0] for part, found in named.items() if found}
    places: dict[str, Path] = {}
    for folder in parts.values():
        other = places.setdefault(os.path.realpath(folder), folder)
        if other != folder:
            raise UserError(f"{folder} and {other} are one folder: a part needs images of its own")
    return parts


def hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or an operating system's own."""
    return name.startswith(".") or name.casefold() in SYSTEM


def list_classes(directory: Path, skipped: Skipped | None = None) -> dict[str, list[Path]]:
    """Image files of each class folder, sorted, searched deeply; names are in Unicode's normal form C.

    Hidden and system files and folders are left out, as are links to a folder that is met elsewhere; `skipped`
    counts these links, and what is no image by its suffix.
    Raises UserError: no class folder, one without images, two of one name, one folder under two names.
    """
    skipped = skipped if skipped is not None else Skipped()
    classes: dict[str, Path] = {}
    met = {os.path.realpath(directory): directory}
    for entry in sorted(directory.iterdir()):
        if hidden(entry.name):
            continue
        if not entry.is_dir():
            if entry.suffix.lower() in suffixes():
                skipped.loose += 1
            continue
        name = _readable(entry)
        if name in classes:
            raise UserError(
                f"{directory} has two folders named '{name}', written in two Unicode forms: put their images into one"
            )
        classes[name] = entry
        other = met.setdefault(os.path.realpath(entry), entry)
        if other != entry:
            raise UserError(f"class folder {entry} is a link to {other}: an image can be of one class alone")
    found = {name: _files(entry, set(met), skipped) for name, entry in classes.items()}
    if not found:
        raise UserError(f"no class folders in {directory} (it must hold one folder of images a class)")
    return found


def _readable(folder: Path) -> str:
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(folder.name).decode("utf-8", "backslashreplace")
        raise UserError(f"the folder name '{shown}' in {folder.parent} is no UTF-8: rename it") from None
    return unicodedata.normalize("NFC", folder.name)


def _files(folder: Path, met: set[str], skipped: Skipped) -> list[Path]:
    """The images of a class, in the order of their paths."""
    found, others = [], Counter()

    for where, below, names in os.walk(folder, followlinks=True):
        ours = []
        for name in sorted(below):
            place = os.path.realpath(os.path.join(where, name))
            if hidden(name):
                continue
            if place in met:
                skipped.links.append(Path(where, name))
                continue
            met.add(place)
            ours.append(name)
        below[:] = ours
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if hidden(name):
                continue
            if suffix in suffixes() and not _is_no_file(os.path.join(where, name)):
                found.append(Path(where, name).as_posix())
            else:
                others[suffix or "no suffix"] += 1
    if not found:
        if others:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(3))
            raise UserError(
                f"class '{folder.name}' has no images that can be read: {folder} holds files of other kinds ({kinds}); "
                "convert them to PNG or JPEG"
            )
        raise UserError(f"class '{folder.name}' has no images: {folder} (put some in, or remove the folder)")
    skipped.files.update(others)
    return [Path(file) for file in sorted(found)]


def _is_no_file(path: str) -> bool:
    """Whether it is there and holds nothing that could be read to its end: a pipe, a device, a socket."""
    return not os.path.isfile(path) and os.path.exists(path)
