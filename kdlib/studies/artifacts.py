"""Files beside a study's runs: made once for what they are of, whole or not there."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kdlib.files import whole

COSTS, PRUNED, ATTENTION = "costs.json", "pruned.json", "attention.npz"


def keep(path: Path, asked: Any, make: Callable[[], dict[str, Any] | None]) -> Path | None:
    """Write ``make()`` with what was ``asked``, unless the file that lies there is of the same; return its path.

    ``asked``: a JSON value, in an ``.npz`` a list of texts. Nothing is written where ``make`` returns None.
    """
    found = read(path)
    if found is not None and _plain(found.get("asked")) == asked:
        return path
    content = make()
    if content is None:
        return None
    content = {"asked": asked, **content}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as aside:
        if path.suffix == ".npz":
            with open(aside, "wb") as file:
                np.savez_compressed(file, **content)
        else:
            aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> dict[str, Any] | None:
    """Return what a file holds, arrays from an ``.npz``; None where it is not there, or not whole."""
    try:
        if path.suffix != ".npz":
            return json.loads(path.read_text(encoding="utf-8"))
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def _plain(asked: Any) -> Any:
    return asked.tolist() if isinstance(asked, np.ndarray) else asked
