"""Differences as pictures: a row each, with its interval against zero and its seeds."""

from __future__ import annotations

import textwrap

from kdlib.reporting.core import canvas
from kdlib.reporting.core.i18n import N_, say, text
from kdlib.reporting.verdicts import Verdict, by_question, counted, verdicts

_WIDE = 42  # characters of a setting in one line
# A marker half filled is ◐: its interval knows test images alone.
_FILL = {"●": "full", "◐": "left", "○": "none", "–": "none"}
_LEGEND = {
    "●": N_("leaves zero out over seeds"),
    "◐": N_("leaves zero out over test images"),
    "○": N_("not told apart from zero (asked at several settings, after Holm's correction)"),
    "–": N_("no interval"),
}


def effects(results, lang: str, filters: dict):
    """Yield (stem, parts): one figure of all verdicts, where there are any."""
    if found := verdicts(results):
        asked = by_question(found)[0]
        title = f"{asked[0].asks(lang)}: {asked[0].cell.ours(lang)}"
        if len(asked) > 1:
            message = N_("{question}: {up} of {count} above zero, {down} below")
            title = say(message, lang, question=asked[0].asks(lang), **counted(asked))
        caption = say("Each verdict of the study: its difference, and as a line its 95% interval.", lang)
        yield "effects", _drawing(results, lang, found, title, caption)


def _drawing(results, lang: str, found: list[Verdict], title: str, caption: str) -> dict:
    each = 0.24 if all(len(text(one.setting, lang)) <= _WIDE for one in found) else 0.34  # inches a row
    figure, ((ax,),) = canvas.panels(
        1, 1, (canvas.PAGE, 1.5 + each * (len(found) + len({one.question for one in found})))
    )
    labels: list[str] = []
    heads: dict[str, int] = {}  # where each question stands
    for one in found:
        if one.question not in heads:
            heads[one.question] = len(labels)
            labels.append(one.asks(lang))
        _row(ax, len(labels), one, lang)
        labels.append("\n".join(textwrap.wrap(text(one.setting, lang).replace(" = ", "\u00a0=\u00a0"), _WIDE)))
    ax.axvline(0, color=canvas.BLACK, linewidth=1.2, zorder=2)
    ax.set_yticks(range(len(labels)), labels)
    for head in heads.values():
        ax.get_yticklabels()[head].set_fontweight("bold")
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    auroc = any(one.metric == "auroc" for one in found)
    axis = N_("Difference (accuracy in points, AUROC in hundredths)") if auroc else N_("Difference (points)")
    ax.set_xlabel(say(axis, lang))
    canvas.ticks(ax.xaxis, lang)
    said = [f"{mark} {say(_LEGEND[mark], lang)}" for mark in dict.fromkeys(one.mark for one in found)]
    said += [say("small dots: seeds", lang)] if any(len(one.found.values) > 1 for one in found) else []
    return canvas.finished(results, figure, title, caption, lang, "; ".join(said))


def _row(ax, y: int, one: Verdict, lang: str) -> None:
    colour = canvas.colours()[0]
    if one.found.interval:
        ax.plot([100 * end for end in one.found.interval], [y, y], color=colour, linewidth=1.6, zorder=3)
    seeds = one.found.values if len(one.found.values) > 1 else ()
    ax.scatter([100 * value for value in seeds], [y] * len(seeds), s=9, color=canvas.GREY, zorder=5)
    look = {"fillstyle": _FILL[one.mark], "markerfacecoloralt": "white", "markeredgewidth": 1.2, "markersize": 6.5}
    ax.plot(100 * one.found.mean, y, marker="d" if one.mark == "–" else "o", color=colour, zorder=4, **look)
    place = {"transform": ax.get_yaxis_transform(), "va": "center", "ha": "left", "fontsize": 8}
    ax.text(1.02, y, one.cell.ours(lang), **place)
