"""Turkish case endings of numbers and names, by how they are read aloud: %87,55'i, 4'ün, 2025'te, ResNet18'e."""

from __future__ import annotations

import re

_ONES = ("sıfır", "bir", "iki", "üç", "dört", "beş", "altı", "yedi", "sekiz", "dokuz")
_TENS = ("", "on", "yirmi", "otuz", "kırk", "elli", "altmış", "yetmiş", "seksen", "doksan")
_SPOKEN = {"taylor": "teylır"}  # names that are not read as they are written
# Case -> letter after a vowel, ending: E is a or e, I is ı, i, u or ü, D is t after a hard consonant.
_CASES = {
    "i": ("y", "I"),  # accusative
    "si": ("s", "I"),  # possessive: 10'un 3'ü
    "sinde": ("s", "IndE"),
    "in": ("n", "In"),
    "e": ("y", "E"),
    "de": ("", "DE"),
    "den": ("", "DEn"),
    "le": ("y", "lE"),
}


def suffixed(word: str, case: str) -> str:
    """``word`` with an apostrophe and its ending, before what is in parentheses; a bare dash gets none."""
    word, space, aside = word.partition(" (")
    spoken = _spoken(word)
    if not spoken:
        return word + space + aside
    vowel = re.findall("[aeıioöuü]", spoken)[-1]
    narrow = {"a": "ı", "e": "i", "o": "u", "ö": "ü"}.get(vowel, vowel)
    between, ending = _CASES[case]
    ending = ending.replace("D", "t" if spoken[-1] in "fstkçşhpx" else "d")
    ending = ending.replace("E", "a" if vowel in "aıou" else "e").replace("I", narrow)
    return f"{word}'{between if spoken[-1] == vowel else ''}{ending}{space}{aside}"


def _spoken(word: str) -> str:
    """The last word that is said: of a number, an abbreviation's last letter (ka-de), or a word as it is written."""
    if word[-1:].isdigit():
        # Points group thousands; what follows a comma is read as a number of its own.
        digits = re.search(r"(?:\d{1,3}(?:\.\d{3})+|\d+)$", word)[0].replace(".", "")
        zeros = len(digits) - len(digits.rstrip("0"))
        if zeros == len(digits):
            return _ONES[0]
        if zeros < 2:
            return (_TENS if zeros else _ONES)[int(digits[-1 - zeros])]
        return "yüz" if zeros == 2 else "bin" if zeros < 6 else "milyon"
    last = (re.findall(r"[^\W\d_]+", word.lower()) or [""])[-1]
    return _SPOKEN.get(last, last if not last or re.search("[aeıioöuü]", last) else "e")
