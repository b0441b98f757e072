"""What every figure shares: style, panels, colours, numbers on axes, and the line that says where from.

Figures are made through the object API: no pyplot, so nothing stays open and no global state changes.
"""

from __future__ import annotations

import textwrap
import warnings
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path

from kdlib.progress import note
from kdlib.reporting.core import names, numbers

STYLE_FILE = Path(__file__).with_name("style.mplstyle")
FURTHER_FONTS = (
    *(f"Noto Sans CJK {region}" for region in ("SC", "JP", "KR", "TC")),
    *("Source Han Sans", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAGothic"),
    *("PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS"),
)
COLUMN, PAGE = 3.5, 7.1  # inches: the width of a column of a paper, and of both
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
BLACK, GREY = "#111111", "#6f6f6f"


@cache
def _rc():
    import matplotlib
    from matplotlib.font_manager import fontManager

    rc = matplotlib.rc_params_from_file(STYLE_FILE, use_default_template=False)
    # matplotlib takes a glyph from the first font that has it; names of classes may be in any script.
    installed = {font.name for font in fontManager.ttflist}
    rc["font.family"] = [*rc["font.sans-serif"], *(name for name in FURTHER_FONTS if name in installed)]
    return rc


@contextmanager
def style():
    """The project's matplotlib style; what was set before is back afterwards.

    Glyphs that no font here has are named in one note, not in a warning each.
    """
    import matplotlib

    with warnings.catch_warnings(record=True) as caught, matplotlib.rc_context(_rc()):
        yield
    missing = [warning for warning in caught if " missing from " in str(warning.message)]
    if missing:
        note("a figure shows boxes for characters that no installed font has; a Noto CJK font has most of them")
    for warning in caught:
        if warning not in missing:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def panels(rows: int, columns: int, size: tuple[float, float], **options):
    """A figure of `size` inches (as wide as a COLUMN or the PAGE) with a rows × columns array of axes (always 2-D)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


@cache
def colours() -> list:
    """Seaborn's colour-blind-safe palette; black is kept for baselines."""
    import seaborn

    return [*seaborn.color_palette("colorblind")]


@cache
def sequence(n: int) -> list:
    """`n` colours from dark to light that keep their order in grey; the pale end is left out."""
    import seaborn

    return [*seaborn.color_palette("viridis", n + 1)][:n]


def cycle(keys, *looks) -> dict:
    """Each key with what stands at its place in each of ``looks`` (colours, markers, dashes), which begin again."""
    return {key: tuple(look[k % len(look)] for look in looks) for k, key in enumerate(dict.fromkeys(keys))}


def labelled(axes, skip: str = "") -> dict:
    """Label -> handle of all axes, each label once; the same label looks the same in each."""
    found = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            if label != skip:
                found.setdefault(label, handle)
    return found


def finished(results, figure, title: str, caption: str, lang: str, notes: str = "", handles=()) -> dict:
    """What a `Drawing` is made of, the figure `titled`: below it, and after its caption, ``notes`` and where from."""
    footer = (f"{notes}. " if notes else "") + names.provenance(results, lang)
    titled(figure, title, footer, handles)
    return {"figure": figure, "title": title, "caption": f"{caption} {footer}"}


def titled(figure, title: str, footer: str, handles=()) -> None:
    """Title on top left, a one-line legend of `handles` top right, and below, grey, where the numbers come from."""
    width = figure.get_figwidth()
    room = width - 0.2
    if handles:
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
        room -= sum(0.075 * len(handle.get_label()) + 0.55 for handle in handles)  # inches, at the legend's size
    figure.suptitle("\n".join(textwrap.wrap(title, max(24, int(room / 0.095)))), x=0.01, ha="left")
    lines = textwrap.wrap(footer, max(40, int(width * 18.5)))
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7, color=GREY, linespacing=1.4)


def ticks(axis, lang: str) -> None:
    """Write an axis' numbers as the language does."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, lang)))


@lru_cache(maxsize=1024)
def _tick(value: float, lang: str) -> str:
    return numbers.short(value, lang)
