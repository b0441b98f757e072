"""What reporting says: English stands in the code, Turkish in ``locale/tr/LC_MESSAGES/kdlib.po``.

``make extract`` brings the catalogue up to date with the code. A Turkish message names the ending of a number or a name
after an apostrophe, ``{n:'si}``; `suffix` gives it the vowels of how the value is read aloud.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

from kdlib.reporting.core.suffix import suffixed
from kdlib.studies.report import LANGUAGES as LANGS

LOCALE = Path(__file__).parents[1] / "locale"
SAYING = (LOCALE.parent, LOCALE.parents[1] / "export")  # the parts of kdlib that speak to readers
SOURCES = [("**.py", "python"), ("**.jinja", "jinja2")]  # what messages are extracted from


class Message(str):
    """An English text that `say` and `text` can give in another language."""


N_ = Message  # gettext's name for what marks a text to be translated where it is used


def say(message: str, lang: str, /, **values: Any) -> str:
    """``message`` in ``lang``, its {fields} filled with ``values``; as it is where the catalogue does not have it."""
    return _fill(_catalogue(lang).get(message, message), **values)


def translations(message: str, /, **values: Any) -> dict[str, str]:
    """``message`` in every language; a value that depends on the language is a function of it."""
    return {lang: say(message, lang, **{k: v(lang) if callable(v) else v for k, v in values.items()}) for lang in LANGS}


def both(said: Callable[..., str], /, *about: Any) -> dict[str, str]:
    """What a function says of ``about`` in every language; it takes the language last."""
    return {lang: said(*about, lang) for lang in LANGS}


def text(value: Any, lang: str) -> str:
    """A label in ``lang``: a `Message`, a study's own {en, tr}, or a plain string or number; None is empty."""
    if value is None:
        return ""
    if isinstance(value, Message):
        return _catalogue(lang).get(value, value)
    if isinstance(value, dict):
        return value[lang]
    return str(value)


class _Formatter(Formatter):
    def format_field(self, value: Any, spec: str) -> str:
        if spec.startswith("'"):
            return suffixed(str(value), spec[1:])
        return super().format_field(value, spec)


_fill = _Formatter().format


REASONS = (
    N_("the loss or the logits became NaN or infinite"),
    N_("validation cross-entropy ended far above guessing"),
    N_("accuracy fell back to guessing"),
)
"""Why a run diverged."""


@lru_cache(maxsize=2)
def _catalogue(lang: str) -> dict[str, str]:
    if lang not in LANGS:
        raise KeyError(lang)
    if lang == "en":
        return {}
    from babel.messages.pofile import read_po

    with (LOCALE / lang / "LC_MESSAGES" / "kdlib.po").open("rb") as file:
        return {entry.id: entry.string for entry in read_po(file) if entry.id and entry.string}


def extract() -> None:
    """Bring the catalogues up to date with the code: new messages come untranslated, those no longer used go."""
    from babel.messages.catalog import Catalog
    from babel.messages.extract import extract_from_dir
    from babel.messages.pofile import read_po, write_po

    keywords = {name: None for name in ("say", "N_", "translations")}
    found = Catalog(fuzzy=False)
    for folder in SAYING:
        for file, _line, message, *_ in extract_from_dir(folder, method_map=SOURCES, keywords=keywords):
            found.add(message, locations=[(file, None)])
    for path in LOCALE.glob("*/LC_MESSAGES/kdlib.po"):
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.parts[-3])
        found.creation_date = catalogue.creation_date  # no other change than that of the texts
        catalogue.update(found, no_fuzzy_matching=True)
        with path.open("wb") as file:
            write_po(file, catalogue, width=120, include_lineno=False, ignore_obsolete=True, omit_header=False)
