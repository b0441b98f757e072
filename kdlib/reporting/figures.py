"""The figures a study asks for: drawn from records, with alt text and caption, saved as PDF, SVG and PNG.

matplotlib and seaborn are imported when something is drawn, not before.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

from kdlib.reporting import compression, curves, forest
from kdlib.reporting.core import canvas
from kdlib.reporting.core.guessing import only_guesses
from kdlib.reporting.core.i18n import say
from kdlib.reporting.core.results import Results
from kdlib.reporting.distillation import heatmap, temperature
from kdlib.reporting.pruning import figures as pruning_figures
from kdlib.reporting.radiology import figures as radiology_figures
from kdlib.reporting.transfer import figure as transfer_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 150
MAKERS = {
    "effects": forest.effects,
    "curves": curves.curves,
    "heatmap": heatmap.heatmap,
    "temperature": temperature.temperature,
    "transfer": transfer_figure.transfer,
    "roc": radiology_figures.roc_curves,
    "reliability": radiology_figures.reliability_diagrams,
    "attention": radiology_figures.attention,
    "pareto": pruning_figures.pareto,
    "sweep": pruning_figures.sweep,
    "channels": pruning_figures.channels,
    "compressed": compression.figure,
}
"""What draws each kind of figure: (results, lang, filters) -> (stem, parts of a `Drawing`), one or several or none."""


@dataclass
class Drawing:
    """A figure with what it says in words. In a notebook it shows itself, alt text and caption included."""

    figure: Figure
    kind: str
    title: str
    alt: str
    caption: str
    lang: str

    @cached_property
    def _laid_out(self) -> Figure:
        # Laying out costs as much as drawing: do it once for all formats, letters as wide as the PNG has them.
        self.figure.set_dpi(PNG_DPI)
        with canvas.style():
            self.figure.get_layout_engine().execute(self.figure)
        self.figure.set_layout_engine("none")
        return self.figure

    @cached_property
    def _png(self) -> bytes:
        return self._save("png", dpi=PNG_DPI, metadata={"Software": None, "Description": self.alt})

    def png(self) -> bytes:
        """The figure at 150 dpi, alt text in its Description."""
        return self._png

    def svg(self) -> bytes:
        """The figure as SVG with <title> and <desc>; the same figure gives the same bytes."""
        raw = _short(self._save("svg", metadata={"Date": None, "Creator": None}).decode("utf-8"))
        words = f'<title id="title">{escape(self.title)}</title>\n <desc id="desc">{escape(self.alt)}</desc>\n'
        opening = f'<svg role="img" aria-labelledby="title desc" lang="{self.lang}" '
        return re.sub(r"<svg ([^>]*>)\n?", lambda m: opening + m[1] + "\n " + words, raw, count=1).encode("utf-8")

    def pdf(self) -> bytes:
        """The figure as PDF for a paper, fonts embedded, alt text in its Subject; the same figure, the same bytes."""
        return self._save("pdf", metadata={"CreationDate": None, "Title": self.title, "Subject": self.alt})

    def _save(self, kind: str, **options) -> bytes:
        out = io.BytesIO()
        with canvas.style():
            self._laid_out.savefig(out, format=kind, **options)
        return out.getvalue()

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png()).decode("ascii")
        width = round(self.figure.get_figwidth() * 96)
        return (
            f'<figure lang="{self.lang}" style="margin:1em 0"><img style="max-width:100%;width:{width}px" '
            f'alt="{escape(self.alt)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


def _short(svg: str) -> str:
    """Take places to a hundredth of a point, finer than any print, and indentation away: a third of the file.

    Where DejaVu Sans is not installed a font of its widths stands in.
    """
    svg = re.sub(r"font-family: [^;\"]+", lambda m: f"{m[0]}, Verdana, sans-serif", svg)
    svg = re.sub(r' (?:d|x|y)="[^"]+"|translate\([^)]+\)', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), svg)
    return re.sub(r"\n +<", "\n<", svg)


def draw(results: Results, lang: str) -> dict[str, Drawing]:
    """Every figure the study names, keyed by file stem; one that has no runs to show is left out.

    Where nothing is better than guessing, only the curves of training. A figure that names no model or recipe is drawn
    for each that has something to show in it. Drawn once: a second call returns the same drawings.
    """
    if lang not in results.drawings:
        results.drawings[lang] = drawn(results, lang, results.study.figures)
    return results.drawings[lang]


def drawn(results: Results, lang: str, specs) -> dict[str, Drawing]:
    """Some of a study's figures, as `draw` has them all."""
    out: dict[str, Drawing] = {}
    guessing = only_guesses(results)
    for spec in specs:
        if guessing and spec.kind != "curves":
            continue
        filters = {key: value for key in ("model", "recipe") if (value := getattr(spec, key))}
        with canvas.style():
            for stem, parts in MAKERS[spec.kind](results, lang, filters):
                alt = say("{title}; its numbers stand in the tables of the study.", lang, title=parts["title"])
                out[stem] = Drawing(kind=spec.kind, lang=lang, alt=alt, **parts)
    return out
