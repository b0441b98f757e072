"""Files beside a study's runs: made once for what they are of, whole or not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kdlib.errors import UserError, first_line
from kdlib.files import sealed, whole, write_text
from kdlib.studies import records

COSTS, PRUNED, ATTENTION = "costs.json", "pruned.json", "attention.npz"


def keep(path: Path, asked: Any, make: Callable[[], dict[str, Any] | None]) -> Path | None:
    """Write ``make()`` with what was ``asked``, unless the file that lies there is of the same; return its path.

    ``asked``: a JSON value, in an ``.npz`` a list of texts. Nothing is written where ``make`` returns None.
    """
    try:
        found = read(path)
    except UserError:  # damaged
        found = None
    if found is not None and _plain(found.get("asked")) == asked:
        return path
    content = make()
    if content is None:
        return None
    content = {"asked": asked, **content}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        with whole(path) as aside, open(aside, "wb") as file:
            np.savez_compressed(file, **content)
    else:
        write_text(path, sealed(content) + "\n")
    return path


def read(path: Path) -> dict[str, Any] | None:
    """Return what a file holds, arrays from an ``.npz``; None where it is not there.

    Raises ``UserError`` for a damaged one.
    """
    if not path.is_file():
        return None
    if path.suffix != ".npz":
        return records.read_sealed(path)
    try:
        with np.load(path) as file:  # all of it: each part has a checksum
            return {name: file[name] for name in file.files}
    except Exception as error:  # damaged, it may raise anything
        raise UserError(f"{path} is damaged ({first_line(error)}); run the study again") from None


def _plain(asked: Any) -> Any:
    return asked.tolist() if isinstance(asked, np.ndarray) else asked
