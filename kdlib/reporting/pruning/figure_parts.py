"""What the figures of pruning share: which settings there are, what they are called, and how a criterion looks."""

from __future__ import annotations

from kdlib.reporting.core import canvas, names, numbers
from kdlib.reporting.core.i18n import say
from kdlib.reporting.pruning.figure_text import BOOK

TUNED = ("finetuned", "distilled")
DASHED = (0, (5, 2))
DOTTED = (0, (1, 1.5))


def spec(results, filters: dict):
    """What the study says of pruning; None for a study of something else, or of another model than is asked for."""
    found = getattr(results.study, "pruning", None)
    return None if found is None or filters.get("model") not in (None, found.model) else found


def criteria(results, **where) -> list[str]:
    """Criteria that have runs, in the study's order."""
    have = dict.fromkeys(condition.criterion for condition, _ in results.select(**where) if condition.criterion)
    order = [name for name in results.study.pruning.criteria if name in have]
    return order + [name for name in have if name not in order]


def report_setting(results) -> dict:
    """The part of a `where` that picks the report's setting."""
    said = results.study.pruning
    return {"ratio": said.ratio, "macs": None, "protect_se": said.protect_se}


def setting_name(results, where: dict, lang: str) -> str:
    """A setting in words: ratio or share of MACs, and that squeeze-excite is protected where the report leaves it."""
    if where["ratio"] is None:
        said = [say("{macs} of MACs kept", lang, macs=share(where["macs"], lang))]
    else:
        said = [say("ratio {ratio}", lang, ratio=share(where["ratio"], lang))]
    if where["protect_se"] and not results.study.pruning.protect_se:
        said.append(say("squeeze-excite protected", lang))
    return "; ".join(said)


def look(results, criterion: str) -> dict:
    """Colour, marker and dashes of a criterion, the same in every figure; random, the control, is grey."""
    order = list(results.study.pruning.criteria)
    k = order.index(criterion) if criterion in order else len(order)
    colour = canvas.GREY if criterion == "random" else canvas.colours()[k % len(canvas.colours())]
    marker = canvas.MARKERS[k % len(canvas.MARKERS)]
    return {"color": colour, "marker": marker, "linestyle": canvas.DASHES[k % len(canvas.DASHES)]}


def converged(results, **where) -> list:
    """The records that match and did not diverge, each once."""
    return list({record.id: record for _, record in results.select(**where) if not record.diverged}.values())


def title(results, key: str, lang: str) -> str:
    """The figure's title: which model, pruned globally or layer by layer."""
    said = results.study.pruning
    scope = say(BOOK[said.scope], lang) if said.scope in BOOK else said.scope
    return say(BOOK[key], lang, model=names.label(results.study, said.model, lang), scope=scope)


def parts(results, lang: str, figure, head: str, caption: str, spread: str = "", handles=(), accuracies=True):
    """Close a figure: title, footer with its `spread` sentence, caption and what diverged."""
    footer = f"{spread} {names.provenance(results, lang)}".strip()
    canvas.titled(figure, head, footer, handles)
    # What a network looks like right after pruning does not depend on how its fine-tuning ended.
    if runs := accuracies and sum(bool(record.diverged) for record in results.used):
        caption += " " + say("Runs that diverged and are left out: {runs}.", lang, runs=runs)
    return {"figure": figure, "title": head, "caption": f"{caption} {footer}"}


def share(fraction: float, lang: str) -> str:
    """A fraction as a percentage with one decimal where it needs one."""
    return numbers.percent(fraction, numbers.decimals_of([round(100 * fraction, 6)], 1), lang)
