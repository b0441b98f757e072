"""chest_xray: the paediatric pneumonia radiographs of Kermany et al. (Cell 172, 2018), by patient."""

import re
from dataclasses import replace
from pathlib import Path

from kdlib.data.folders import find_parts, list_classes
from kdlib.data.groups import by_pattern, numbered
from kdlib.data.sources import Parts, Request, is_tree, of_files, register
from kdlib.errors import UserError

CLASSES = ("NORMAL", "PNEUMONIA")
IMAGE_SIZE = 224  # where none is asked for
HOLDS = "holding train/ and test/ (and val/), each with NORMAL/ and PNEUMONIA/, as the chest X-ray release has them"

# The release's file names; the last is how a later version of it writes disease, patient, number of the image.
PATIENT = re.compile(r"(person\d+)_(?:virus|bacteria)_|((?:NORMAL2-)?IM-\d+)-|(?:NORMAL|VIRUS|BACTERIA)-(\d+)-")


@register("chest_xray")
def chest_xray(request: Request) -> Parts:
    """The release's train/ val/ test/, each with NORMAL/ and PNEUMONIA/, in data_root or data_root/chest_xray.

    Its 16 validation images are far too few to choose anything by: they join the training part, from which
    validation is then held out by patient (`patient_of`). The test part is the release's own, untouched.
    170 person numbers occur in train and in test. The release does not say whether they are the same children or
    whether each part was numbered anew; test patients are counted as others, and who needs to be sure should
    know that the test part may not be strictly unseen. No number of val occurs in train.
    Images are resized to image_size, 224 unless said, whatever their sides; grey files become three equal channels
    (one with grayscale).
    With `groups`, a regular expression, that says whose image a file is, in train and test alike.
    Raises UserError: no data_root, none of these folders in it, a class without images, classes that are others.
    """
    request = request.of_size(IMAGE_SIZE)
    places = find_parts(_find(request.data_root))
    listings = {part: _files(places[part]) for part in ("train", "test")}
    if "val" in places:
        for label, more in _files(places["val"]).items():
            listings["train"][label] += more
    parts = of_files(listings, CLASSES, request)
    paths = {name: part.images.paths for name, part in parts.items()}
    if request.groups:
        groups, notes = numbered(paths, by_pattern(request.groups), f"groups={request.groups}")
    else:
        groups, notes = numbered({"train": paths["train"]}, _known, "the release's naming")
        of_test, more = numbered({"test": paths["test"]}, _known, "the release's naming")
        groups["test"] = of_test["test"] + 1 + groups["train"].max()
        notes = list(dict.fromkeys(notes + more))
    train, test = (replace(parts[name], groups=groups[name]) for name in ("train", "test"))
    return Parts(CLASSES, train, test, notes=tuple(notes))


def patient_of(name: str) -> str:
    """Whose image a file name of the release says it is; a name of no known form is a patient of its own.

    person12_virus_46.jpeg and person12_bacteria_3.jpeg: person12. IM-0115-0001.jpeg: IM-0115.
    NORMAL2-IM-0115-0001.jpeg: NORMAL2-IM-0115, someone else. BACTERIA-1008087-0001.jpeg: 1008087.
    """
    return _known(name) or name


def _known(name: str) -> str | None:
    known = PATIENT.match(name)
    return next(filter(None, known.groups())) if known else None


def _find(root: Path | None) -> Path:
    """The folder that has the parts."""
    if root is None:
        raise UserError(f"data set 'chest_xray' needs --data-root DIR, a folder {HOLDS}")
    if not root.is_dir():
        raise UserError(f"no such folder: {root} (--data-root must be a folder {HOLDS})")
    for folder in (root, root / "chest_xray"):
        if is_tree(folder):
            return folder
    raise UserError(f"data set 'chest_xray' is not in {root}: pass --data-root DIR {HOLDS}")


def _files(folder: Path) -> dict[str, list[Path]]:
    """Image files of each class, sorted."""
    found = list_classes(folder)
    if set(found) != set(CLASSES):
        raise UserError(
            f"the class folders of {folder} must be {' and '.join(CLASSES)}, not {', '.join(sorted(found))}"
        )
    return found
