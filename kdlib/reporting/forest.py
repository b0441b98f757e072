"""The verdicts of a study as a picture: each difference with its interval against zero, question by question."""

from __future__ import annotations

import textwrap

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import N_, say, text
from kdlib.reporting.verdicts import Verdict, by_question, counted, verdicts

_WIDE = 42  # characters of a setting in one line
# A marker half filled is ◐: its interval knows test images alone.
_FILL = {"●": "full", "◐": "left", "○": "none", "–": "none"}
_LEGEND = {
    "●": N_("leaves zero out over seeds"),
    "◐": N_("leaves zero out over test images"),
    "○": N_("not told apart from zero"),
    "–": N_("no interval"),
}


def effects(results, lang: str, filters: dict):
    """Yield (stem, parts): one figure of all verdicts, where there are any."""
    found = verdicts(results)
    if found:
        yield "effects", _drawing(results, found, lang)


def _drawing(results, found: list[Verdict], lang: str) -> dict:
    questions = dict.fromkeys(str(one.question) for one in found)
    each = 0.24 if all(len(text(one.setting, lang)) <= _WIDE for one in found) else 0.34  # inches a row
    figure, ((ax,),) = canvas.panels(1, 1, (canvas.PAGE, 1.5 + each * (len(found) + len(questions))))
    labels: list[str] = []
    for question in questions:
        asked = [one for one in found if str(one.question) == question]
        labels.append(names.capital(text(asked[0].question, lang), lang))
        for one in asked:
            _row(ax, len(labels), one, lang)
            labels.append("\n".join(textwrap.wrap(text(one.setting, lang), _WIDE)))
    ax.axvline(0, color=canvas.BLACK, linewidth=1.2, zorder=2)
    ax.set_yticks(range(len(labels)), labels)
    heads = {names.capital(text(one.question, lang), lang) for one in found}
    for label in ax.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in heads else "normal")
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    auroc = any(one.metric == "auroc" for one in found)
    axis = N_("Difference (accuracy in points, AUROC in hundredths)") if auroc else N_("Difference (points)")
    ax.set_xlabel(say(axis, lang))
    canvas.ticks(ax.xaxis, lang)
    title, marks = _title(found, lang), dict.fromkeys(one.mark for one in found)
    footer = "; ".join(f"{mark} {say(_LEGEND[mark], lang)}" for mark in marks) + ". " + names.provenance(results, lang)
    canvas.titled(figure, title, footer)
    caption = say("Each verdict of the study: its difference, and as a line its 95% interval.", lang)
    return {"figure": figure, "title": title, "caption": f"{caption} {footer}"}


def _title(found: list[Verdict], lang: str) -> str:
    """The first question's answer."""
    asked = by_question(found)[0]
    question = names.capital(text(asked[0].question, lang), lang)
    if len(asked) == 1:
        return f"{question}: {_said(asked[0], lang)}"
    return say("{question}: {up} of {count} above zero, {down} below", lang, question=question, **counted(asked))


def _row(ax, y: int, one: Verdict, lang: str) -> None:
    colour = canvas.colours()[0]
    if one.found.interval:
        ax.plot([100 * end for end in one.found.interval], [y, y], color=colour, linewidth=1.6, zorder=3)
    ax.plot(
        100 * one.found.mean,
        y,
        marker="d" if one.mark == "–" else "o",
        fillstyle=_FILL[one.mark],
        color=colour,
        markerfacecoloralt="white",
        markeredgewidth=1.2,
        markersize=6.5,
        zorder=4,
    )
    place = {"transform": ax.get_yaxis_transform(), "va": "center", "ha": "left", "fontsize": 8}
    ax.text(1.02, y, _said(one, lang), **place)


def _said(one: Verdict, lang: str) -> str:
    said = numbers.signed(100 * one.found.mean, 2, lang)
    if one.found.interval:
        said += " " + numbers.interval(*(100 * end for end in one.found.interval), 2, lang)
    return said
