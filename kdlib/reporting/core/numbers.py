"""Numbers as each language writes them: 89.01 and 98.6% in English, 89,01 and %98,6 in Turkish.

All grouping marks, decimal marks and percent signs come from Babel's locale data. Rounding is half away from zero, as
a reader does it by hand; it happens here, before Babel, whose own percent formatting drops the decimals.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

LOCALES = {"en": "en_US", "tr": "tr_TR"}
DASH = "–"


def _rounded(value: float, digits: int) -> Decimal:
    """Round half away from zero; the twelve digits wash out what binary floats add (0.615 is 0.61499999...)."""
    return Decimal(f"{value:.12g}").quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def rounded(value: float, digits: int) -> float:
    """The number that is printed for `value`, for comparisons that must agree with what a reader sees."""
    return float(_rounded(value, digits))


def _written(value: Decimal, pattern: str, digits: int, lang: str) -> str:
    """A number by one of Babel's patterns, with ``digits`` decimals behind each of its zeros."""
    return _parsed(pattern, digits).apply(value, _locale(lang))


@lru_cache(maxsize=64)
def _parsed(pattern: str, digits: int):
    from babel.numbers import parse_pattern

    return parse_pattern(pattern.replace("0", "0." + "0" * digits if digits else "0"))


@lru_cache(maxsize=2)
def _locale(lang: str):
    from babel import Locale

    return Locale.parse(LOCALES[lang])


def decimal(value: float | None, digits: int, lang: str, *, grouping: bool = False) -> str:
    """`value` with exactly `digits` decimals; an en dash for None. Thousands are grouped when asked."""
    if value is None:
        return DASH
    return _written(_rounded(value, digits), "#,##0" if grouping else "0", digits, lang)


def integer(value: int, lang: str) -> str:
    """A count, thousands grouped: 60,000 and 60.000."""
    return decimal(value, 0, lang, grouping=True)


def short(value: float, lang: str, most: int = 4) -> str:
    """`value` with as few decimals as say it, `most` at the highest: 2, 2.5, 0.75."""
    return decimal(value, decimals_of([rounded(value, most)], most), lang)


def percent(fraction: float | None, digits: int, lang: str) -> str:
    """A fraction (0..1) as a percentage with `digits` decimals: 98.6% and %98,6."""
    if fraction is None:
        return DASH
    # The locale's pattern says on which side the sign stands; only its digits are ours.
    pattern = _locale(lang).percent_formats[None].pattern
    return _written(_rounded(fraction, digits + 2), pattern, digits, lang)


def share(fraction: float, lang: str) -> str:
    """A fraction as a percentage with as few decimals as say it, two at the most: 10%, 2.5%."""
    return percent(fraction, decimals_of([rounded(100 * fraction, 4)], 2), lang)


def signed(value: float | None, digits: int, lang: str) -> str:
    """A difference with its sign: +3.05, -0.20; what rounds to nothing is +0, as the ladder report writes it."""
    if value is None:
        return DASH
    exact = _rounded(value, digits)
    return _written(exact or abs(exact), "+0;-0", digits, lang)


def decimals_of(values, most: int) -> int:
    """How many decimals the most precise of `values` was given with (67 -> 0, 90.4 and 90.27 -> 2), at most `most`."""
    exponents = (Decimal(repr(float(v))).normalize().as_tuple().exponent for v in values if v is not None)
    return min(most, max((max(0, -int(e)) for e in exponents), default=0))


def localised(label: str, lang: str) -> str:
    """A label that is nothing but a number takes the language's decimal mark (1.5 -> 1,5); others stay as they are."""
    whole, _, part = label.partition(".")
    if whole.isdecimal() and (part.isdecimal() or not _):
        return decimal(float(label), len(part), lang)
    return label
