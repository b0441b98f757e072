"""What an architecture counts, which no weights change: counted once, and kept in the user's cache folder."""

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kdlib
from kdlib import models, profiling
from kdlib.data.store import OFF
from kdlib.files import cache_folder, make_room, write_text

LIMIT = 1_000_000
"""Bytes; beyond them the oldest counts go."""


def kept(count: Callable[..., Any], model: str, num_classes: int, in_channels: int, *asked: Any) -> Any:
    """Return ``count(model, num_classes, in_channels, *asked)``, a JSON value, from the cache where it is there.

    It is known by what is asked, the model's code, kdlib's own files and the versions of what builds and counts. With
    KDLIB_NO_STORE in the environment nothing is kept beyond the process.
    """
    known = [count.__qualname__, model, num_classes, in_channels, *asked, models.code(model, num_classes, in_channels)]
    known += [source(), _packages()]
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:24]
    if key not in _here:
        path = None if os.environ.get(OFF) else cache_folder() / "counts" / f"{key}.json"
        _here[key] = _read(path)
        if _here[key] is None:
            _here[key] = json.dumps(count(model, num_classes, in_channels, *asked))
            _write(path, _here[key])
    return json.loads(_here[key])


@cache
def _packages() -> dict[str, str]:
    """Versions of what builds and counts, which are slow to ask for."""
    return {**profiling.packages(), "torchvision": version("torchvision")}


_here: dict[str, str | None] = {}  # what this process has counted or read, as JSON


def _read(path: Path | None) -> str | None:
    try:
        said, _, text = path.read_text(encoding="utf-8").partition(" ") if path else ("", "", "")
    except (OSError, ValueError):
        return None
    return text if said == _checksum(text) else None


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _write(path: Path | None, text: str) -> None:
    """Keep what was counted, where that can be done."""
    with contextlib.suppress(OSError):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            if make_room(path.parent, "*.json", len(text), LIMIT):
                write_text(path, f"{_checksum(text)} {text}")


def source() -> str:
    """Return a hash of kdlib's own files: what they made is made again when they change."""
    return _hash(Path(kdlib.__file__).parent)


@cache
def _hash(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.yaml"), *root.rglob("*.mplstyle"), *root.rglob("*.po")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
