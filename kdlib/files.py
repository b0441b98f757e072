"""Files that are whole or not there, and the folder for what a machine keeps between calls."""

import contextlib
import json
import os
import secrets
import time
import zlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to: it takes its place when the block ends, and goes when the block fails.

    Its name is ``.NAME.`` and eight random hexadecimal digits, so that no two writers meet, on whatever machine.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield aside
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def sealed(content: dict) -> str:
    """Return JSON with a checksum of all the rest."""
    return json.dumps({**content, "checksum": _checksum(content)}, indent=1, allow_nan=True)


def unsealed(text: str) -> dict:
    """Return the content of such a text; ``ValueError`` where it is damaged. Earlier ones say no checksum."""
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("it holds no mapping")
    said = content.pop("checksum", None)
    if said is not None and said != _checksum(content):
        raise ValueError("its checksum does not hold")
    return content


def _checksum(content: dict) -> str:
    return f"{zlib.crc32(json.dumps(content).encode()):08x}"


def flush(folder: Path) -> None:
    """Have a folder's files on the disk when this returns, so that a power cut does not empty them."""
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_room(folder: Path, pattern: str, size: int, limit: int, spared: Path | None = None) -> bool:
    """Delete the longest unused files of a folder and below until ``size`` bytes more stay within ``limit``.

    ``pattern``: which files count; those in the folder ``spared`` stay. What `whole` left of them in processes that
    died goes too. Returns whether there is room.
    """
    for aside in folder.rglob(f".{pattern}.*"):
        remove_if_left(aside)
    files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in folder.rglob(pattern))
    free = limit - sum(taken for _, taken, _ in files)
    for _, taken, file in files:
        if free < size <= limit and file.parent != spared:
            file.unlink(missing_ok=True)
            free += taken
    return free >= size


def remove_if_left(aside: Path) -> None:
    """Remove what `whole` left behind in a process that died: after an hour nobody writes to it any more."""
    with contextlib.suppress(OSError):
        if time.time() - aside.stat().st_mtime > 3600:
            aside.unlink()


def cache_folder() -> Path:
    """Return the folder for what a machine keeps between calls: ``~/.cache/kdlib``, or below XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kdlib"
