"""Decoded images in the user's cache folder: a collection is decoded once, and then mapped into memory."""

import contextlib
import hashlib
import math
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from kdlib.data.images import Files, ahead
from kdlib.errors import UserError
from kdlib.files import cache_folder, make_room, sealed, unsealed, whole, write_text
from kdlib.progress import note

LIMIT = 20_000_000_000
"""Bytes of collections that fit into memory; beyond them the longest unused go."""
OFF = "KDLIB_NO_STORE"
"""An environment variable: nothing is kept."""
STORAGE = "KDLIB_STORAGE"
"""An environment variable: auto, memory or disk, for calls of `kdlib.data.load` that do not say it."""
SHARE = 0.5
"""Of the memory that is available, what a data set may take; one that takes more is streamed from disk."""
_WORTH = 1000  # images
_AHEAD = 4  # batches, a thread each: a disk answers several questions at a time


def in_memory(files: Files) -> torch.Tensor:
    """Images of a data set that fits into memory, uint8 (N, C, H, W), from the store where they are there.

    Few images, and calls with KDLIB_NO_STORE in the environment, do without the store; so does what cannot be written.
    """
    if len(files) < _WORTH or os.environ.get(OFF):
        return files.read()
    path = _path(files, "images")
    for kept in path.parent.glob(f"{files.key}.*.npy"):
        found = _mapped(kept, files, "c")
        if found is not None and kept.name == _checked(files, found):
            return found
        kept.unlink(missing_ok=True)
    try:
        if make_room(path.parent, "*.npy", math.prod(files.shape), LIMIT):
            found = _written(path, files, "c")
            if path.exists():
                os.replace(path, path.with_name(_checked(files, found)))
            return found
    except OSError:  # a full disk, or a folder that cannot be written to
        pass
    return files.read()


def _checked(files: Files, images: torch.Tensor) -> str:
    """A file's name holds the checksum of its pixels: damaged ones are never taken for the images."""
    return f"{files.key}.{zlib.crc32(np.ascontiguousarray(images.numpy())):08x}.npy"


def on_disk(files: Files, needed: int) -> torch.Tensor:
    """Images that are read from disk whenever they are asked for: uint8 (N, C, H, W), not to be written to.

    They take no memory but what the system spares for them, in writing too. needed: bytes that this data set is still
    going to write. Raises UserError where the disk has not as many.
    """
    if not len(files):
        return files.read()
    path = _path(files, "streamed")
    if (found := _mapped(path, files, "r")) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = sum(file.stat().st_size for file in path.parent.glob("*.npy"))
        free = shutil.disk_usage(path.parent).free
        if not make_room(path.parent, "*.npy", needed, kept + free):
            raise UserError(
                f"the images need {needed / 1e9:,.1f} GB in {path.parent}, where {free / 1e9:,.1f} GB are free: make "
                "room, name another folder in XDG_CACHE_HOME, or say a smaller image_size"
            )
        return _written(path, files, "r")
    except OSError as error:
        raise UserError(f"the images cannot be written to {path.parent}: {error.strerror or error}") from None


def remembered(key: str, splits: Sequence[Files], found: Callable[[], dict]) -> dict:
    """What `found` returns, JSON-able; where all images are kept on disk, it is asked once and kept beside them.

    key: what it depends on beside the images.
    """
    digest = hashlib.sha256(" ".join([key, *(files.key for files in splits)]).encode()).hexdigest()[:24]
    path = cache_folder() / "streamed" / f"{digest}.json"
    if not all(_path(files, "streamed").exists() for files in splits if len(files)):
        return found()
    with contextlib.suppress(OSError, ValueError):
        return unsealed(path.read_text(encoding="utf-8"))
    about = found()
    with contextlib.suppress(OSError):
        write_text(path, sealed(about))
    return about


def _path(files: Files, folder: str) -> Path:
    return cache_folder() / folder / f"{files.key}.npy"


def _mapped(path: Path, files: Files, mode: str) -> torch.Tensor | None:
    """The images of a file; None where it is not there, or not whole."""
    try:
        found = np.load(path, mmap_mode=mode, allow_pickle=False)
        os.utime(path)
    except Exception:  # not there, or damaged: its header may raise anything
        return None
    if found.dtype != np.uint8 or found.ndim != 4 or len(found) != len(files):
        return None
    with warnings.catch_warnings():
        # A map that could be written to would count as memory taken, of which there is less than this.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(found)


def _written(path: Path, files: Files, mode: str) -> torch.Tensor:
    """Decode into a file, a few images at a time, and map it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as aside, open(aside, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": files.shape}
        np.lib.format.write_array_header_1_0(file, header)
        files.decode(lambda start, images: file.write(images))
        file.flush()
        os.fsync(file.fileno())  # before it gets its name: a power cut leaves no file of the right length
    found = _mapped(path, files, mode)
    # How deep images are scaled depends on files that are not among these. What is mapped stays readable.
    if files.depth.met or os.environ.get(OFF):
        path.unlink()
    else:
        size = f"{found.numel() / 1e6:,.0f} MB"
        note(f"decoded images kept in {path.parent} ({size}; --no-store: not)")
    return found


def read_ahead(images: torch.Tensor, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield images[indices] of each batch of indices; while one is used, the next ones are read from disk."""
    with ThreadPoolExecutor(_AHEAD, "read-ahead") as pool:
        yield from ahead(pool, partial(images.index_select, 0), batches, _AHEAD)


def available_memory() -> int:
    """Bytes that may still be taken: of the machine, or of the control group (a container, a cluster's job) within."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return max(0, min([free, *_left_to_groups()]))


def _left_to_groups(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Bytes left to the process's control groups, of version 2 and 1, each within the next one; cached files aside."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            base, limit, used = root, "memory.max", "memory.current"
        elif controllers == "memory":
            base, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        own = base / name.lstrip("/")
        for folder in (own, *own.parents):
            try:
                most = int((folder / limit).read_text())
                stat = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                cached = int(stat["inactive_file"]) + int(stat["active_file"])
                yield most - int((folder / used).read_text()) + cached
            except (OSError, ValueError, KeyError):  # no limit ("max"), or none of the folders that have one
                continue
