"""Tables of the pruning studies: the report's own with our numbers, and what an honest measurement adds to them.

Everything is read from run records and ``pruned.json`` of the study's folder; see `PruningStudy`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.i18n import N_, both, say, text, translations
from kdlib.reporting.core.results import MIN_SEEDS, Results, estimate
from kdlib.reporting.core.table import Cell, Row, Table, Text, accuracy_cell, difference_cell, estimate_cell
from kdlib.reporting.pruning.study import (
    GIGA,
    SCOPES,
    PruningStudy,
    as_reported,
    bottlenecks,
    left,
    neighbours,
    read,
    size,
)

COLUMNS = {
    "accuracy": N_("Accuracy (%)"),
    "place": N_("Place"),
    "kept": N_("Share of the original's accuracy (%)"),
    "loss": N_("Accuracy change (points)"),
    "size_mb": N_("Size (MiB)"),
    "size_change": N_("Size change (%)"),
    "latency_ms": N_("Latency (ms)"),
    "flops_g": N_("FLOPs (G)"),
    "flops_change": N_("FLOPs change (%)"),
}
"""What a report compares, by the names of its fields."""

CONFIGURATION = {
    "model": N_("Model"),
    "data": N_("Data"),
    "train_images": N_("Training images"),
    "test_images": N_("Test images"),
    "image_size": N_("Image size (pixels)"),
    "ratio": N_("Pruning ratio (share of channels)"),
    "scope": N_("Scope"),
    "steps": N_("Iterative steps"),
    "epochs": N_("Fine-tuning epochs"),
    "calibration_batches": N_("Calibration batches"),
    "classes": N_("Classes"),
    "batch_size": N_("Batch size"),
    "criteria": N_("Criteria"),
}
PROCESSOR = N_("{processor}, cores: {cores}, threads: {threads}")
COUNTED = N_("Size counts parameters and buffers, in MiB (2²⁰ bytes).")


def sheets(results: Results) -> list[Table]:
    """Every table of a pruning study whose runs are there; [] for a study that is none."""
    study = read(results)
    makers = (comparison, every_setting, latency, configuration, strategies, reference) if study else ()
    return [made for maker in makers if (made := maker(study))]


# The report's own table


def comparison(study: PruningStudy) -> Table | None:
    """The report's table in its columns: the original, then each criterion after plain fine-tuning."""
    criteria = study.criteria("report")
    if not criteria:
        return None
    ours = _places({c: 100 * study.cell("finetuned", c, "report").mean for c in criteria})
    theirs = _places({c: study.reported(c, "accuracy") for c in study.spec.criteria})
    best, rows = _leader(study, "report"), []
    for row in ["original", *criteria]:
        found = {"place": Cell(ours.get(row), kind="count"), **measures(study, row)}
        given = {key: study.reported(row, key) for key in found}
        given |= {"place": theirs.get(row), "kept": _reported_kept(study, row)}
        cells = {key: _beside(cell, given[key]) for key, cell in found.items()}
        first = len(theirs) > 1 and theirs.get(row) == 1
        cells["accuracy"] = replace(cells["accuracy"], best=row == best, reported_best=first)
        rows.append(Row([named(study, row)], [cells[key] for key in COLUMNS]))
    title = translations(
        "Criteria compared: {setting}, {scope}, after fine-tuning",
        setting=lambda lang: study.called(study.report, lang),
        scope=study.scope,
    )
    notes = [
        N_("Place: by test accuracy, as in the report; random removal is the least that a criterion has to beat."),
        COUNTED,
        *_measured_notes(study),
        *_hooks(study),
        *_dagger(rows),
        both(study.provenance),
    ]
    columns, legend = list(COLUMNS.values()), _spread(study, ["report"])
    return Table("comparison", title, [N_("Criterion")], columns, rows, legend, notes, study.study.name)


def measures(study: PruningStudy, row: str) -> dict[str, Cell]:
    """What the report compares of a criterion, or of ``original``, as measured here; accuracies after fine-tuning."""
    model, whole = {**study.models(), **study.models("report")}.get(row, {}), study.models().get("original", {})
    flops = model.get("macs_thop_report")
    found = {
        "latency_ms": Cell(model.get("latency", {}).get("1", {}).get("median_ms"), 2),
        "flops_g": Cell(flops / GIGA if flops else None, 2),
    }
    if row == "original":
        blank = dict.fromkeys(("kept", "loss", "size_change", "flops_change"), Cell())
        return {**blank, **found, "accuracy": accuracy_cell(study.original), "size_mb": Cell(study.original_size, 2)}
    cuts = study.structures(row, "report")
    fewer = 100 * (flops / whole["macs_thop_report"] - 1) if flops and whole else None
    cell, base = study.cell("finetuned", row, "report"), study.original.mean
    kept = Cell(100 * cell.mean / base if base else None, 1)
    found |= {"kept": kept, "size_mb": estimate_cell(size(cuts), 1, 2), "flops_change": Cell(fewer, 1, "signed")}
    return found | _changes(study, row)


def _changes(study: PruningStudy, criterion: str) -> dict[str, Cell]:
    """Accuracy after fine-tuning at the report's setting, its change and that of the size."""
    cell, base = study.cell("finetuned", criterion, "report"), study.original.mean
    smaller = left(study.structures(criterion, "report"), "size_bytes")
    change = None if smaller.mean is None else 100 * (smaller.mean - 1)
    return {
        "accuracy": accuracy_cell(cell),
        "loss": Cell(None if base is None else 100 * (cell.mean - base), 2, "signed"),
        "size_change": Cell(change, 1, "signed", sd=None if smaller.sd is None else 100 * smaller.sd),
    }


def _reported_kept(study: PruningStudy, row: str) -> float | None:
    """The report's share of the original's accuracy that is kept, in per cent: as printed, else from accuracies."""
    base, own, printed = (study.reported(*of) for of in (("original", "accuracy"), (row, "accuracy"), (row, "kept")))
    if printed is not None or row == "original" or own is None or not base:
        return printed
    return numbers.rounded(100 * own / base, 1)


def _measured_notes(study: PruningStudy) -> list[Text]:
    if not study.models("report"):
        return []
    size, here = (f"{side}×{side}" for side in (study.measured["report_size"], study.measured["image_size"]))
    return [
        translations(
            "FLOPs are what thop counts for one image, that is multiply-accumulates, at {size} as in the "
            "report; accuracy and latency (batch of 1, median) are from images of {here}. The report "
            "names no hardware: of its latencies only ratios compare.",
            size=size,
            here=here,
        ),
        N_("FLOPs and latency are those of one seed's networks."),
    ]


def _hooks(study: PruningStudy) -> list[Text]:
    """The report's slow networks, where some take over three times as long as its original though they compute less.

    Nothing where some pruned network computes more than the original: then slowness needs no other reason.
    """
    given = {row: study.reported(row, "latency_ms") for row in ("original", *study.spec.criteria)}
    given = {row: value for row, value in given.items() if value is not None}
    flops = [study.reported(row, "flops_change") for row in given if row != "original"]
    if "original" not in given or any(change is None or change > 0 for change in flops):
        return []
    slow = [row for row, value in given.items() if value > 3 * given["original"]]

    def span(rows: list[str], lang: str) -> str:
        ends = (numbers.decimal(pick(given[row] for row in rows), 2, lang) for pick in (min, max))
        return "–".join(dict.fromkeys(ends))

    message = translations(
        "The report's {slow} ms for {names}, against {fast} ms for the others, cannot come from the "
        "pruned networks themselves: none of them has more to compute than the original. It smells "
        "of forward hooks left on the model.",
        names=lambda lang: ", ".join(study.name(row, lang) for row in slow),
        slow=lambda lang: span(slow, lang),
        fast=lambda lang: span([row for row in given if row not in slow], lang),
    )
    return [message] if slow else []


# Every setting


def every_setting(study: PruningStudy) -> Table | None:
    """Each criterion at each setting: accuracy right after pruning, fine-tuned and distilled, what distillation added,
    and what is left of the network."""
    rows, over, teacher, spread = [], set(), None, _spread(study, study.settings)
    for setting in study.settings:
        best = _leader(study, setting)
        for criterion in study.criteria(setting):
            wheres = [study.where(role, criterion, setting) for role in ("distilled", "finetuned")]
            gap, teacher = study.gap(*wheres), wheres[0] or teacher
            over |= {gap.over} if gap else set()
            cells = [
                accuracy_cell(study.cell(role, criterion, setting)) for role in ("pruned", "finetuned", "distilled")
            ]
            cells[1] = replace(cells[1], best=criterion == best)
            cells += [difference_cell(gap), *_what_is_left(study.structures(criterion, setting))]
            rows.append(Row([_setting(study, setting), named(study, criterion)], cells, setting))
    if not rows:
        return None
    columns = [N_("Right after pruning"), N_("Fine-tuned"), N_("Fine-tuned, distilled")]
    columns += [N_("Distilled − plain (points)"), N_("Channels removed (%)"), N_("MACs left (%)"), COLUMNS["size_mb"]]
    legend = spread
    accuracy = translations(
        "The original's own accuracy: {accuracy}.",
        accuracy=lambda lang: numbers.percent(study.original.mean, 2, lang),
    )
    notes = [accuracy]
    if teacher:
        called = translations(
            "Distilled: the original model is the teacher ({setting}).",
            setting=lambda lang: names.setting(study.results, teacher, lang),
        )
        notes.append(called)
        brackets = N_("brackets: 95% interval of the difference")
        legend = both(lambda lang: f"{text(spread, lang)}; {say(brackets, lang)}")
    else:  # nothing was distilled
        columns = columns[:2] + columns[4:]
        rows = [Row(row.labels, row.cells[:2] + row.cells[4:], row.group) for row in rows]
    data = next(record.run["dataset"] for _, record in study.results.select(role="finetuned"))
    notes.append(translations("MACs are counted for one image at {here}.", here=_image(data)))
    if "images" in over:
        few = N_("Of fewer than {n} seeds an interval is over the test images: it leaves out the noise between seeds.")
        notes.append(translations(few, n=MIN_SEEDS))
    notes += [*_checked(study), *_dagger(rows), both(study.provenance)]
    title = translations("Every setting, {scope}: test accuracy (%) and what is left", scope=study.scope)
    return Table("settings", title, [N_("Setting"), N_("Criterion")], columns, rows, legend, notes, study.study.name)


def _what_is_left(cuts: list[dict]) -> list[Cell]:
    removed = estimate(one["removed"][0] / one["removed"][1] for one in cuts)
    return [*(estimate_cell(share, 100, 1) for share in (removed, left(cuts, "macs"))), estimate_cell(size(cuts), 1, 2)]


def _checked(study: PruningStudy) -> list[Text]:
    """Whether the pruned networks were seen to compute what the whole ones do without the same channels."""
    checks = [one["check"] for s in study.settings for c in study.criteria(s) for one in study.structures(c, s)]
    verdicts = [check["verdict"] for check in checks]
    message = N_(
        "Checked after the cut: {equal} of {all} networks compute what the whole one does without the same channels."
    )
    out = [translations(message, equal=verdicts.count("equal"), all=len(checks))]
    if layers := sorted({verdict.removeprefix("unchecked: ") for verdict in verdicts} - {"equal"}):
        message = N_("The others agree but for layers that look at all their channels at once: {layers}.")
        out.append(translations(message, layers="; ".join(layers)))
    if kept := dict.fromkeys(name for check in checks for name in check["kept"]):
        message = N_("Kept whole, as cut they would compute something else: {layers}.")
        out.append(translations(message, layers=", ".join(kept)))
    return out


# Latency


def latency(study: PruningStudy) -> Table | None:
    """Measured latency of every network at each batch size, its ratio to the original, and odd channel counts."""
    base, about = study.models().get("original"), study.measured
    if not base:
        return None
    rows = [Row([numbers.DASH, named(study, "original")], _timed(base, base))]
    hardware = about["hardware"]
    notes = [
        translations(
            "{repeats} timings of each network, a few in a row after {warm_up} untimed ones and the "
            "networks in turns, so that drift of the machine hits all alike; one seed's networks. On "
            "{device}: {hardware}.",
            hardware=lambda lang: (
                hardware["gpu"]
                if about["device"] != "cpu" and hardware.get("gpu")
                else say(PROCESSOR, lang, **hardware)
            ),
            **{key: about[key] for key in ("repeats", "warm_up", "device")},
        )
    ]
    if "latency_again" in base:
        cells = _timed({**base, "latency": base["latency_again"]}, base)
        rows.append(Row([numbers.DASH, N_("Original, once more")], cells))
        notes.append(
            N_("The original stands there twice: what its two rows differ by is noise, and so is any such difference.")
        )
    for setting in study.settings:
        for criterion, model in study.models(setting).items():
            rows.append(Row([_setting(study, setting), named(study, criterion)], _timed(model, base), setting))
    titles = (N_("Batch of {n} (ms)"), N_("Ratio to the original, batch of {n}"))
    columns = [translations(title, n=batch) for batch in sorted(base["latency"], key=int) for title in titles]
    columns.append(N_("Layers with an odd channel count"))
    title = translations(
        "Measured latency of the networks, images of {here}", here=f"{about['image_size']}×{about['image_size']}"
    )
    head, legend = [N_("Setting"), N_("Criterion")], N_("Median [lower; upper quartile] for a batch")
    return Table("latency", title, head, columns, rows, legend, [*notes, both(study.provenance)], study.study.name)


def _timed(model: dict, base: dict) -> list[Cell]:
    """A network's latency at each batch size with its ratio to the original's, and its odd channel counts."""
    cells = []
    for batch, whole in sorted(base["latency"].items(), key=lambda one: int(one[0])):
        timed = model["latency"][batch]
        cells.append(Cell(timed["median_ms"], 2, interval=(timed["q1_ms"], timed["q3_ms"])))
        cells.append(Cell(timed["median_ms"] / whole["median_ms"], 2))
    return [*cells, Cell(model["odd_channels"], kind="count")]


# Configuration


def configuration(study: PruningStudy) -> Table | None:
    """What the runs at the report's setting were asked, beside the report's own configuration."""
    found = [record for _, record in study.results.select(role="finetuned", **study.report)]
    if not found:
        return None
    rows = []
    for key, said in study.spec.configuration.items():
        cells = [both(_asked, study, found, key), both(_said, study, key, said)]
        rows.append(Row([CONFIGURATION.get(key) or key.replace("_", " ")], cells))
    title, columns = N_("Configuration, here and in the report"), [N_("Here"), N_("Report")]
    notes = [N_("Read from the records of the report's setting."), both(study.provenance)]
    return Table("configuration", title, [N_("Setting")], columns, rows, "", notes, study.study.name)


def _asked(study: PruningStudy, found: list, key: str, lang: str) -> str:
    """One entry as our runs have it; an en dash where no record says it."""
    run = found[0].run
    config, data = run["config"], run["dataset"]
    sizes = {part: numbers.integer(count, lang) for part, count in data["sizes"].items()}
    asked = {
        **(config.get("pruning") or {}),
        **(config.get("recipe") or {}),
        "model": study.spec.model,
        "data": say(
            "{name}, {train} training, {val} validation, {test} test images",
            lang,
            name=names.label(study.study, data["name"], lang),
            **sizes,
        ),
        **{f"{part}_images": sizes[part] for part in ("train", "test")},
        "image_size": _image(data),
        "classes": len(data["classes"]),
        "criteria": ", ".join(study.name(criterion, lang) for criterion in study.criteria("report")),
    }
    # Criteria that look at images may have seen fewer than were asked for.
    seen = [record.run["pruning"]["calibration"] for record in found if record.run.get("pruning")]
    most = max(seen, key=lambda one: one["batches"], default={"batches": 0})
    if key == "calibration_batches" and most["batches"]:
        said = {part: numbers.integer(most[part], lang) for part in ("batches", "images")}
        return say("{batches} ({images} images)", lang, **said)
    return numbers.DASH if asked.get(key) is None else _said(study, key, asked[key], lang)


def _said(study: PruningStudy, key: str, value, lang: str) -> str:
    """An entry of the configuration: a number in the language's own way, a text as the study calls it."""
    if isinstance(value, str):
        return say(SCOPES[value], lang) if value in SCOPES else names.label(study.study, value, lang)
    if not isinstance(value, (int, float)):
        return text(value, lang)
    if key == "ratio":
        return numbers.share(value, lang)
    if key == "image_size":
        return f"{value}×{value}"
    return numbers.integer(value, lang) if float(value).is_integer() else numbers.short(value, lang)


# Beside other studies


def strategies(study: PruningStudy) -> Table | None:
    """Layer-wise beside global, and one network beside the other: accuracy, its change, and the change of size."""
    every = [study, *(other for other in neighbours(study) if other.criteria("report"))]
    if len(every) == 1 or not study.criteria("report"):
        return None
    rows = []
    for criterion in study.criteria("report"):
        for one in every:
            if criterion in one.criteria("report"):
                labels = [named(study, criterion), named(one, one.spec.model), translations(SCOPES[one.spec.scope])]
                cells = [_beside(cell, one.reported(criterion, key)) for key, cell in _changes(one, criterion).items()]
                rows.append(Row(labels, cells, criterion))
    notes = [N_("Accuracy change is against each network's own original."), *_dagger(rows)]
    for one in every:
        spread = partial(text, _spread(one, ["report"]))
        said = {"study": one.study.name, "spread": spread, "provenance": one.provenance}
        notes.append(translations(N_("Study {study}. {spread}. {provenance}"), **said))
    notes += [names.not_run(study.results, name) for name in study.study.beside if name not in study.results.beside]
    head = [N_("Criterion"), N_("Model"), N_("Scope")]
    columns = [COLUMNS[key] for key in ("accuracy", "loss", "size_change")]
    title = N_("Strategies and networks beside each other, after fine-tuning")
    return Table("strategies", title, head, columns, rows, "", notes, study.study.name)


# The architecture itself


def reference(study: PruningStudy) -> Table | None:
    """The architecture with the report's classes at its image size, unpruned and pruned layer by layer."""
    if not study.measured:
        return None
    whole, *_ = counts = study.measured["reference"]
    report = as_reported(study.study.name) or study.spec
    model, classes, _, side, _ = study.measured["asked"]["counted"]
    given, rows, matching = _layerwise_reported(study, model), [], []
    original = report.reported.get("original") if report.model == model else None
    for one in counts:
        size, flops = Cell(one["size_mib"], 2), Cell(one["macs_thop"] / GIGA, 2)
        change = Cell(100 * (one["size_mib"] / whole["size_mib"] - 1), 2, "signed")
        label = both(_structure, one, len(counts) > 2)
        if one is whole:
            size, flops = _beside(size, original and original.size_mb), _beside(flops, original and original.flops_g)
            change = Cell()
        elif given is not None and one["ratio"] == report.ratio:
            # As printed: -18.75 comes to a reported -18.8, whichever way its next decimals lean.
            if numbers.rounded(abs(change.number - given), 2) <= 0.05:
                matching.append(label)
            change = replace(change, reported=given, reported_digits=1)
        rows.append(Row([label], [size, change, flops]))
    notes = [
        N_(
            "Counted, not trained: layer by layer the same share leaves every layer, whatever the "
            "weights, so these numbers hold for any training and can be checked against the report's."
        )
    ]
    if len(matching) == 1:
        message = N_("One row comes to the report's change of size ({change}%): {row}.")
        said = {"change": lambda lang: numbers.signed(given, 1, lang), "row": lambda lang: matching[0][lang]}
        notes.append(translations(message, **said))
    notes += [COUNTED, names.counted_with(study.measured["packages"])]
    title = translations(
        "What the architecture itself gives: {model}, {classes} classes, {size}",
        model=lambda lang: names.label(study.study, model, lang),
        classes=classes,
        size=f"{side}×{side}",
    )
    columns = [COLUMNS[key] for key in ("size_mb", "size_change", "flops_g")]
    return Table("reference", title, [N_("Structure")], columns, rows, "", notes, study.study.name)


def _layerwise_reported(study: PruningStudy, model: str) -> float | None:
    """The change of size (%) that a report gives for layer-wise pruning of a network; None where none gives it.

    Layer by layer every criterion removes as many channels, so one number stands for all.
    """
    for spec in (as_reported(study.study.name) or study.spec, *map(as_reported, study.study.beside)):
        if spec and spec.scope == "layerwise" and spec.model == model:
            given = {row.size_change for row in spec.reported.values()} - {None}
            if len(given) == 1:
                return given.pop()
    return None


def _structure(one: dict, both_ways: bool, lang: str) -> str:
    """A row of the architecture's own counts; where it was pruned in one way alone it has no squeeze-excite."""
    if one["scope"] is None:
        return say("unpruned", lang)
    se = bottlenecks(one["protect_se"], lang) if both_ways else ""
    ratio = say("{ratio} of channels", lang, ratio=numbers.share(one["ratio"], lang))
    return f"{say(SCOPES[one['scope']], lang)}, {ratio}{se}"


# Cells, labels and notes


def _beside(cell: Cell, reported: float | None) -> Cell:
    """The cell with what the report gave, as precise as the report was, but two decimals where ours has them."""
    if reported is None:
        return cell
    given = numbers.decimals_of([reported], 3)
    return replace(cell, reported=reported, reported_digits=max(given, min(cell.digits, 2)))


def _leader(study: PruningStudy, setting: str) -> str | None:
    """The criterion that fine-tuned lies surely above the next one at a setting; None where none does."""
    cells = {c: study.cell("finetuned", c, setting) for c in study.criteria(setting)}
    ranked = sorted((c for c in cells if not cells[c].diverged), key=lambda c: cells[c].mean, reverse=True)
    gap = study.gap(*(study.where("finetuned", c, setting) for c in ranked[:2])) if len(ranked) > 1 else None
    return ranked[0] if gap and gap.verdict == "up" else None


def _places(values: dict[str, float | None]) -> dict[str, int]:
    """Place by value as printed, 1 the highest; equal values share a place, None has none."""
    printed = {key: numbers.rounded(value, 2) for key, value in values.items() if value is not None}
    return {key: 1 + sum(other > value for other in printed.values()) for key, value in printed.items()}


def named(study: PruningStudy, criterion: str) -> dict[str, str]:
    """A criterion's name, or the original's, in both languages, as a row begins with it."""
    return both(lambda lang: names.capital(study.name(criterion, lang), lang))


def _setting(study: PruningStudy, setting: str) -> dict[str, str]:
    return both(study.called, study.settings[setting])


def _spread(study: PruningStudy, settings: Iterable[str]) -> Text:
    """What the numbers at some settings are: means over seeds, or those of one; whether all seeds share an original."""
    counts = {study.cell("finetuned", c, setting).n for setting in settings for c in study.criteria(setting)}
    if max(counts, default=1) < 2:
        return N_("One seed")
    parts = [N_("Mean ± standard deviation over seeds")]
    if len({record.id for _, record in study.results.select(role="original")}) == 1:
        parts = [N_("Mean ± standard deviation over seeds, which all start from one original model")]
    parts += [N_("without ±: one seed")] if 1 in counts else []
    return both(lambda lang: "; ".join(say(part, lang) for part in parts))


def _dagger(rows: list[Row]) -> list[Text]:
    """What the dagger says, where a cell has one."""
    cells = (cell for row in rows for cell in row.cells if isinstance(cell, Cell))
    return [N_("†k: k runs diverged and enter no mean.")] if any("†" in cell.mark for cell in cells) else []


def _image(data: dict) -> str:
    """The size of a dataset's images: 64×64."""
    return "×".join(str(side) for side in data["shape"][1:])
