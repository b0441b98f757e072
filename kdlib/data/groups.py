"""Whose image each file is (a patient's, a subject's), by a regular expression on its name."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from kdlib.errors import UserError


def by_pattern(pattern: str) -> Callable[[str], str | None]:
    """A rule that takes a file's name and returns whose image it is: what the pattern's first group finds.

    Without a group in it, all that the pattern finds. None where it finds nothing.
    Raises UserError for what is no regular expression.
    """
    try:
        known = re.compile(pattern)
    except re.error as error:
        raise UserError(f'groups={pattern} is no regular expression ({error}): say one such as "(\\d+)_"') from None

    def owner(name: str) -> str | None:
        found = known.search(name)
        return (found and (found[1] if known.groups else found[0])) or None

    return owner


def numbered(
    parts: dict[str, Sequence[Path]], owner: Callable[[str], str | None], what: str
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The group of each image of each part, int64 (N,), and what is to be said of them.

    One owner has one number in all parts; a file without one is a group of its own. what: names the rule.
    """
    numbers: dict[str, int] = {}
    groups: dict[str, torch.Tensor] = {}
    members: dict[str, set[int]] = {}
    strangers = total = 0
    example = ""
    for part, paths in parts.items():
        found = []
        for path in paths:
            name = owner(path.name)
            if name is None:
                strangers, example = strangers + 1, example or path.name
            # A path is no owner's name, as an owner is part of a file's name.
            found.append(numbers.setdefault(name if name is not None else f"/{path}", len(numbers)))
        groups[part], members[part], total = torch.tensor(found, dtype=torch.int64), set(found), total + len(found)
    said = []
    if strangers:
        many = "any" if strangers == total else strangers
        said.append(f"{what} finds no patient in {many} of {total} file names, such as {example}")
    if len(numbers) == total and strangers < total:
        said.append(f"{what} finds as many patients as images ({total})")
    if said:
        said[-1] += ': each of these images counts as a patient; say another pattern, such as --set groups="(\\d+)_"'
    for part in sorted(members.keys() - {"train"} if "train" in members else ()):
        if shared := len(members["train"] & members[part]):
            said.append(f"{shared} patients are in train and in {part}: {part} is not of patients never seen")
    return groups, said
