"""Figures of what pruning sees and leaves: channels layer by layer, activation coverage, agreement of criteria.

Every maker is a generator (results, lang, filters) -> (stem, parts) that yields nothing where no run can be shown.
Scores lie in the records of runs on this machine; published records have none.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np

from kdlib.reporting import canvas, names, numbers
from kdlib.reporting.names import stem
from kdlib.reporting.pruning.figure_parts import criteria, look, parts, report_setting, setting_name, spec, title
from kdlib.reporting.pruning.figure_text import BOOK
from kdlib.reporting.results import estimate
from kdlib.reporting.text import pick

LEAST = 4  # a rank correlation over fewer channels says next to nothing
BINS = 20
REASONS = ("squeeze-excite", "output", "asked", "not prunable")


# Channels left


def channels(results, lang: str, filters: dict):
    """Yield (stem, parts): the share of its channels each layer keeps at the report's setting, a row a criterion."""
    if spec(results, filters) is None or not (rows := _left(results)):
        return
    layers = list(next(iter(rows.values()))["before"])
    figure, axes = canvas.panels(len(rows), 1, (10.0, 1.5 + 1.12 * len(rows)), sharex=True, sharey=True)
    protected = _protected(results)
    told = []
    for ax, (name, row) in zip(axes[:, 0], rows.items(), strict=True):
        told.append(_channel_panel(results, ax, name, row, layers, protected, lang))
    _stages(axes[:, 0], layers)
    axes[-1][0].set_xlabel(pick(BOOK, "layer_axis", lang, layers=numbers.integer(len(layers), lang)))
    axes[len(rows) // 2][0].set_ylabel(pick(BOOK, "left_axis", lang))
    setting = setting_name(results, report_setting(results), lang)
    several = any(len(_pruned(results, name)) > 1 for name in rows)
    said = {"setting": setting, "seeds": pick(BOOK, "over_seeds", lang) if several else ""}
    said["least"] = "; ".join(_least(results, name, row, protected, lang) for name, row in rows.items())
    caption = pick(BOOK, "channels_caption", lang, protected=_said_of(protected, layers, lang), **said)
    alt = pick(BOOK, "channels_alt", lang, layers=numbers.integer(len(layers), lang), panels="; ".join(told))
    head, handles = title(results, "channels_title", lang), _channel_handles(protected, layers, lang)
    yield (
        stem(results, "channels", filters),
        parts(results, lang, figure, head, alt, caption, handles=handles, accuracies=False),
    )


def _pruned(results, criterion: str) -> list:
    """Records at the report's setting that say what was removed: right after pruning, else fine-tuned."""
    for role in ("pruned", "finetuned", "distilled"):
        found = {r.id: r for _, r in results.select(role=role, criterion=criterion, **report_setting(results))}
        if kept := [record for record in found.values() if (record.run.get("pruning") or {}).get("channels")]:
            return kept
    return []


def _left(results) -> dict[str, dict]:
    """Criterion -> before and after (mean over seeds) by layer in network order."""
    out = {}
    for name in criteria(results):
        runs = [record.run["pruning"]["channels"] for record in _pruned(results, name)]
        if runs:
            before = {layer: counts[0] for layer, counts in runs[0].items()}
            after = {layer: float(np.mean([run[layer][1] for run in runs if layer in run])) for layer in before}
            out[name] = {"before": before, "after": after}
    return out if any(layer not in _protected(results) for row in out.values() for layer in row["before"]) else {}


def _protected(results) -> dict[str, str]:
    """Layer -> why none of its channels may leave, at the report's setting."""
    out: dict[str, str] = {}
    for name in criteria(results):
        for record in _pruned(results, name):
            out |= record.run["pruning"].get("protected") or {}
    return out


def _channel_panel(results, ax, name: str, row: dict, layers: list, protected: dict, lang: str) -> str:
    """Draw a criterion's row; return what its title says. Shares count the layers that may lose channels."""
    shares = np.array([100 * row["after"][layer] / row["before"][layer] for layer in layers])
    open_ = [k for k, layer in enumerate(layers) if layer not in protected]
    kept = sum(row["after"][layers[k]] for k in open_) / max(1, sum(row["before"][layers[k]] for k in open_))
    edges = np.arange(len(layers) + 1) - 0.5
    ax.stairs(shares, edges, fill=True, color=look(results, name)["color"], alpha=0.85, gid=name)
    drawn = [k for k, layer in enumerate(layers) if layer in protected]
    ax.bar(drawn, shares[drawn], width=1.0, **_hatch())
    ax.axhline(100 * kept, color=canvas.BLACK, linewidth=0.9)
    said = {"criterion": names.label(results.study, name, lang), "removed": numbers.percent(1 - kept, 1, lang)}
    text = pick(BOOK, "channels_panel", lang, least=numbers.percent(shares[open_].min() / 100, 1, lang), **said)
    ax.set_title(text)
    ax.set(xlim=(-0.5, len(layers) - 0.5), ylim=(0, 105), yticks=(0, 50, 100))
    ax.grid(visible=False, axis="x")
    return text


def _hatch() -> dict:
    return {"facecolor": "#e6e6e6", "edgecolor": canvas.GREY, "hatch": "/////", "linewidth": 0.0}


def _channel_handles(protected: dict, layers: list, lang: str) -> list:
    from matplotlib.patches import Patch

    drawn = any(layer in protected for layer in layers)
    return [Patch(**_hatch(), label=pick(BOOK, "protected_mark", lang))] if drawn else []


def stage_of(layers: list[str]) -> list[str]:
    """The part of the network each layer lies in: its name's first word, the first two where most share the first."""
    first, count = Counter(layer.split(".")[0] for layer in layers).most_common(1)[0]
    words = {layer: layer.split(".") for layer in layers}
    return [".".join(words[name][: 2 if words[name][0] == first and count > len(layers) / 2 else 1]) for name in layers]


def _stages(axes, layers: list[str]) -> None:
    """A line where a new part of the network begins; its name below, as far as there is room."""
    stages = stage_of(layers)
    begins = [k for k in range(len(stages)) if k == 0 or stages[k] != stages[k - 1]]
    spans = [(a, b) for a, b in zip(begins, [*begins[1:], len(stages)], strict=True)]
    if len(spans) > len(layers) / 2:  # every layer is a part of its own: count them instead
        return
    shown: list[tuple[float, str]] = []
    for a, b in sorted(spans, key=lambda span: span[0] - span[1]):  # wide parts first
        middle, half = (a + b - 1) / 2, 0.0045 * len(layers) * (len(stages[a]) + 2)  # about 9 pt a letter
        if all(abs(middle - at) >= half + 0.0045 * len(layers) * (len(name) + 2) for at, name in shown):
            shown.append((middle, stages[a]))
    shown.sort()
    for ax in axes:
        for a in begins[1:]:
            ax.axvline(a - 0.5, color="white", linewidth=1.6)
            ax.axvline(a - 0.5, color=canvas.GREY, linewidth=0.6, linestyle=(0, (1, 1.5)))
        ax.set_xticks([at for at, _ in shown], [name for _, name in shown])
        ax.tick_params(axis="x", length=0, pad=6)


def _least(results, name: str, row: dict, protected: dict, lang: str) -> str:
    """The layer with the smallest share left."""
    may = [layer for layer in row["before"] if layer not in protected]
    layer = min(may, key=lambda layer: row["after"][layer] / row["before"][layer])
    left = row["after"][layer]
    left = numbers.decimal(left, numbers.decimals_of([round(left, 6)], 1), lang, grouping=True)
    said = {"layer": layer, "left": left, "of": numbers.integer(row["before"][layer], lang)}
    return pick(BOOK, "least_layer", lang, criterion=names.label(results.study, name, lang), **said)


def _said_of(protected: dict, layers: list, lang: str) -> str:
    """The caption's sentences on protected layers: which kinds are drawn, which are not, and how many of each."""
    said = ""
    for key, drawn in (("protected_drawn", True), ("protected_absent", False)):
        kinds = Counter(reason for layer, reason in protected.items() if (layer in layers) == drawn)
        order = [*(r for r in REASONS if r in kinds), *(r for r in kinds if r not in REASONS)]
        reasons = [pick(BOOK, r, lang, n=kinds[r]) if r in BOOK else f"{r} ({kinds[r]})" for r in order]
        said += pick(BOOK, key, lang, reasons=", ".join(reasons)) if reasons else ""
    return said


# Activation coverage


def coverage(results, lang: str, filters: dict):
    """Yield (stem, parts): how many channels are active in which share of the calibration images."""
    if spec(results, filters) is None:
        return
    runs = [(record, scores) for record, scores in _scored(results, "coverage").values()]
    if not runs:
        return
    seeds = [_activity(record, scores) for record, scores in runs]
    shares = {key: float(np.mean([seed[key] for seed in seeds])) for key in ("never", "always")}
    heights = np.mean([seed["heights"] for seed in seeds], axis=0)
    figure, axes = canvas.panels(1, 1, (7.4, 4.2))
    _histogram(axes[0][0], heights, shares, lang)
    record, scores = runs[0]
    fullest = int(heights.argmax())
    low, high = (numbers.percent(edge / BINS, 0, lang) for edge in (fullest, fullest + 1))
    said = {key: numbers.percent(value, 1, lang) for key, value in shares.items()}
    said["median"] = numbers.percent(float(np.mean([seed["median"] for seed in seeds])), 1, lang)
    said["channels"] = numbers.integer(sum(map(len, scores.values())), lang)
    more = {"low": low, "high": high, "share": numbers.percent(heights[fullest] / 100, 1, lang)}
    alt = pick(BOOK, "coverage_alt", lang, **said, **more)
    threshold = (record.run.get("config", {}).get("pruning") or {}).get("threshold")
    threshold = "" if threshold is None else pick(BOOK, "threshold", lang, threshold=numbers.short(threshold, lang))
    told = {"layers": numbers.integer(len(scores), lang), "images": numbers.integer(_images(record), lang)}
    several = pick(BOOK, "mean_shares", lang, n=len(seeds)) if len(seeds) > 1 else ""
    caption = pick(BOOK, "coverage_caption", lang, **said, **told, threshold=threshold, seeds=several)
    head = title(results, "coverage_title", lang)
    yield stem(results, "coverage", filters), parts(results, lang, figure, head, alt, caption, accuracies=False)


def _scored(results, criterion: str) -> dict[int, tuple]:
    """Seed -> (record, scores by layer) of a criterion's pruned runs at the report's setting."""
    out = {}
    for arm, record in results.select(role="pruned", criterion=criterion, **report_setting(results)):
        if scores := record.scores():
            out[arm.seed] = record, {layer: np.asarray(s, dtype=float).ravel() for layer, s in scores.items()}
    return out


def _images(record) -> int:
    return int((record.run["pruning"].get("calibration") or {}).get("images") or 0)


def _activity(record, scores: dict[str, np.ndarray]) -> dict:
    """Shares of channels (percent a bin, fractions never and always) and the median coverage of one run.

    A score is the share of calibration images that activate a channel, plus less than one image's worth that settles
    ties: below one image is never, a whole share is always.
    """
    values = np.concatenate(list(scores.values()))
    heights = np.histogram(values.clip(0, 1), bins=BINS, range=(0, 1))[0] * (100 / len(values))
    never = values < 1 / _images(record) if _images(record) else values <= 0
    found = {"never": float(never.mean()), "always": float((values >= 1 - 1e-9).mean())}
    return {**found, "heights": heights, "median": float(np.median(values.clip(0, 1)))}


def _histogram(ax, heights: np.ndarray, shares: dict[str, float], lang: str) -> None:
    left, width = 100 * np.arange(BINS) / BINS, 100 / BINS
    ends = np.zeros(BINS)
    ends[0], ends[-1] = 100 * shares["never"], 100 * shares["always"]
    ends = np.minimum(ends, heights)  # one image in few may be more than a bin is wide
    bar = {"width": width, "align": "edge", "edgecolor": "white", "linewidth": 0.6}
    between = numbers.percent(max(0.0, 1 - sum(shares.values())), 1, lang)
    colour = canvas.colours()[0]
    label = pick(BOOK, "sometimes", lang, share=between)
    ax.bar(left, heights - ends, bottom=ends, color=colour, **bar, label=label, gid="between")
    for key, at, style in (
        ("never", 0, {"color": canvas.BLACK}),
        ("always", BINS - 1, {"color": canvas.colours()[1], "hatch": "////"}),
    ):
        label = pick(BOOK, key, lang, share=numbers.percent(shares[key], 1, lang))
        ax.bar(left[at], ends[at], **{**bar, **style}, label=label)
    ax.set(xlim=(0, 100), xlabel=pick(BOOK, "coverage_axis", lang), ylabel=pick(BOOK, "channel_axis", lang))
    ax.set_ylim(0, 1.25 * max(heights.max(), 1e-9))  # room for the legend
    between, never, always = ax.get_legend_handles_labels()[0]
    ax.legend(handles=[never, between, always], loc="upper center", ncols=3)
    canvas.ticks(ax.xaxis, lang)
    canvas.ticks(ax.yaxis, lang)


# Agreement of criteria


def agreement(results, lang: str, filters: dict):
    """Yield (stem, parts): a heat map of the rank correlation between the scores of every two criteria."""
    if spec(results, filters) is None:
        return
    scored = {name: found for name in criteria(results, role="pruned") if (found := _scored(results, name))}
    cells = {pair: found for pair in combinations(scored, 2) if (found := _agreed(*(scored[name] for name in pair)))}
    if not cells:
        return
    order = [name for name in scored if any(name in pair for pair in cells)]
    side = 0.95 * (len(order) - 1)
    figure, axes = canvas.panels(1, 1, (max(5.6, side + 3.2), max(3.4, side + 1.7)))
    _agreement_map(figure, axes[0][0], results, order, cells, lang)
    label = {name: names.label(results.study, name, lang) for name in order}
    told = {
        pair: pick(BOOK, "pair", lang, first=label[pair[0]], second=label[pair[1]], value=_value(found, lang))
        for pair, (found, _) in cells.items()
    }
    ranked = sorted(told, key=lambda pair: cells[pair][0].mean)
    said = {"closest": told[ranked[-1]], "furthest": told[ranked[0]], "least": LEAST}
    said |= {"layers": numbers.integer(max(layers for _, layers in cells.values()), lang)}
    setting = setting_name(results, report_setting(results), lang)
    caption = pick(BOOK, "agreement_caption", lang, setting=setting, **said)
    alt = pick(BOOK, "agreement_alt", lang, pairs="; ".join(told.values()))
    head = title(results, "agreement_title", lang)
    spread = pick(BOOK, "cell_sd", lang) if any(found.n > 1 for found, _ in cells.values()) else ""
    yield (
        stem(results, "agreement", filters),
        parts(results, lang, figure, head, alt, caption, spread, accuracies=False),
    )


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation of two (n,) arrays, ties at their mean rank; None where one holds a single value."""
    ranks = [_ranks(np.asarray(values, dtype=float)) for values in (a, b)]
    ranks = [rank - rank.mean() for rank in ranks]
    scale = np.sqrt(np.prod([(rank**2).sum() for rank in ranks]))
    return float((ranks[0] * ranks[1]).sum() / scale) if scale > 0 else None


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def agree(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> tuple[float | None, int]:
    """Mean rank correlation of two criteria's scores over layers, weighted by channels, and how many layers count.

    Left out: layers of fewer than `LEAST` channels, with scores that are not finite, or where one criterion gives all
    channels the same score. None when no layer is left.
    """
    found, weights = [], []
    for layer in first:
        a, b = first[layer], second.get(layer, ())
        if len(a) < LEAST or len(a) != len(b) or not (np.isfinite(a).all() and np.isfinite(b).all()):
            continue
        if (rho := spearman(a, b)) is not None:
            found.append(rho)
            weights.append(len(a))
    return (float(np.average(found, weights=weights)), len(found)) if found else (None, 0)


def _agreed(first: dict[int, tuple], second: dict[int, tuple]):
    """(estimate over seeds, layers) of two criteria, by the seeds both have; None where nothing can be compared."""
    found = [agree(first[seed][1], second[seed][1]) for seed in first if seed in second]
    found = [(rho, layers) for rho, layers in found if rho is not None]
    return (estimate(rho for rho, _ in found), max(layers for _, layers in found)) if found else None


def _value(found, lang: str) -> str:
    mean = numbers.rounded(found.mean, 2) + 0.0  # no minus before a zero
    return numbers.mean_sd(mean, found.sd, 2, lang)


def _agreement_map(figure, ax, results, order: list[str], cells: dict, lang: str) -> None:
    """The lower triangle: the first criterion has no row, the last no column."""
    grid = np.full((len(order) - 1, len(order) - 1), np.nan)
    for (first, second), (found, _) in cells.items():
        grid[order.index(second) - 1, order.index(first)] = found.mean
    mesh = ax.imshow(grid, cmap="RdBu", vmin=-1.25, vmax=1.25)  # the darkest ends would swallow the numbers
    for (first, second), (found, _) in cells.items():
        place = {"ha": "center", "va": "center", "color": "white" if abs(found.mean) > 0.8 else canvas.BLACK}
        text = _value(found, lang).replace(" ± ", "\n± ")
        ax.text(order.index(first), order.index(second) - 1, text, **place, fontsize=10, linespacing=1.3)
    label = [names.label(results.study, name, lang) for name in order]
    ax.set_xticks(range(len(order) - 1), label[:-1])
    ax.set_yticks(range(len(order) - 1), label[1:])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    edges = np.arange(len(order)) - 0.5
    for lines in (ax.hlines, ax.vlines):
        lines(edges, edges[0], edges[-1], color="white", linewidth=1.5)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(edges[-1], edges[0]))
    ends = {"boundaries": np.linspace(-1, 1, 201), "ticks": [-1, -0.5, 0, 0.5, 1]}
    bar = figure.colorbar(mesh, ax=ax, pad=0.03, aspect=18, **ends)
    bar.outline.set_visible(False)
    bar.set_label(pick(BOOK, "agreement_axis", lang))
    canvas.ticks(bar.ax.yaxis, lang)
