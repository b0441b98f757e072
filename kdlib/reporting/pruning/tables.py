"""Tables of the pruning studies: the report's own with our numbers, and what an honest measurement adds to them.

Everything is read from run records and ``pruned.json`` of the study's folder; see `pruning_runs`.
"""

from __future__ import annotations

from dataclasses import replace

from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.i18n import LANGS, N_, say, text, translations
from kdlib.reporting.core.results import Results, estimate
from kdlib.reporting.core.table import Cell, Row, Table, Text, difference_cell
from kdlib.reporting.pruning import beside as other_studies
from kdlib.reporting.pruning.cells import (
    accuracy,
    beside,
    best_of,
    change,
    diverged_note,
    evidence,
    image,
    leader,
    named,
    places,
    provenance,
    setting_words,
    share,
    span,
    spread,
)
from kdlib.reporting.pruning.runs import Pruning, percent, read, shown
from kdlib.reporting.pruning.text import BOOK

GIGA, MEBI = 1e9, 2**20


def sheets(results: Results) -> list[Table]:
    """Every table of a pruning study whose runs are there; [] for a study that is none."""
    study = read(results)
    if study is None:
        return []
    made = [comparison(study), every_setting(study), latency(study), configuration(study)]
    made += [other_studies.strategies(study), other_studies.reference(study)]
    return [sheet for sheet in made if sheet]


def configuration(study: Pruning) -> Table | None:
    """What the runs at the report's setting were asked, beside the report's own configuration."""
    found = [r for _, r in study.results.select(role="finetuned", **study.settings.get("report", {}))]
    if "report" not in study.settings or not found:
        return None
    rows = []
    for key, said in study.spec.configuration.items():
        label = BOOK.get(f"key_{key}") or key.replace("_", " ")
        cells = [{lang: _asked(study, found, key, lang) for lang in LANGS}]
        rows.append(Row([label], [*cells, {lang: _said(study, key, said, lang) for lang in LANGS}]))
    columns = [N_("Here"), N_("Report")]
    notes = [N_("Read from the records of the report's setting."), provenance(study)]
    head, title = [N_("Setting")], N_("Configuration, here and in the report")
    return Table("configuration", title, head, columns, rows, "", notes, study.study.name)


def _asked(study: Pruning, found: list, key: str, lang: str) -> str:
    """One entry as our runs have it; an en dash where no record says it."""
    run = found[0].run
    config, data = run["config"], run["dataset"]
    asked, recipe = config.get("pruning") or {}, config.get("recipe") or {}
    sizes = {part: numbers.integer(size, lang) for part, size in data["sizes"].items()}
    special = {
        "model": lambda: study.name(study.spec.model, lang),
        "data": lambda: say(
            "{name}, {train} training, {val} validation, {test} test images",
            lang,
            name=names.label(study.study, data["name"], lang),
            **sizes,
        ),
        "train_images": lambda: sizes["train"],
        "test_images": lambda: sizes["test"],
        "image_size": lambda: image(data),
        "classes": lambda: numbers.integer(len(data["classes"]), lang),
        "criteria": lambda: ", ".join(study.name(criterion, lang) for criterion in study.criteria("report")),
        "calibration_batches": lambda: _batches(found, asked, lang),
    }
    if key in special:
        return special[key]()
    value = recipe.get(key, asked.get(key))
    return numbers.DASH if value is None else _said(study, key, value, lang)


def _batches(found: list, asked: dict, lang: str) -> str:
    """How many batches the criteria that look at images saw; what was asked where none did."""
    seen = [record.run["pruning"]["calibration"] for record in found if record.run.get("pruning")]
    most = max(seen, key=lambda one: one["batches"], default={"batches": 0})
    if not most["batches"]:
        return shown(asked.get("calibration_batches"), lang) or numbers.DASH
    said = {key: numbers.integer(most[key], lang) for key in ("batches", "images")}
    return say("{batches} ({images} images)", lang, **said)


def _said(study: Pruning, key: str, value, lang: str) -> str:
    if key == "ratio" and isinstance(value, float):
        return percent(value, lang)
    if key == "scope" and f"scope_{value}" in BOOK:
        return say(BOOK[f"scope_{value}"], lang)
    if key == "image_size" and isinstance(value, int):
        return f"{value}×{value}"
    if isinstance(value, str):
        return names.label(study.study, value, lang)
    return shown(value, lang)


def comparison(study: Pruning) -> Table | None:
    """The report's table in its columns: the original, then each criterion after plain fine-tuning."""
    criteria = study.criteria("report")
    if not criteria:
        return None
    means = {c: study.cell("finetuned", c, "report").mean for c in criteria}
    given = {c: value for c in study.spec.criteria if (value := study.reported(c, "accuracy")) is not None}
    ranks = places(means, 100), places(given, 1)
    rows = [_compared(study, row, *(rank.get(row) for rank in ranks)) for row in ["original", *criteria]]
    best = leader(study, "report")
    theirs = best_of([given.get(c) for c in criteria], 1, 2)
    for k, row in enumerate(rows[1:]):
        cell = row.cells[0]
        row.cells[0] = replace(cell, best=criteria[k] == best, reported_best=k in theirs)
    columns = ["accuracy", "place", "kept", "accuracy_loss", "size", "size_change", "latency", "flops", "flops_change"]
    title = translations("Criteria compared: {setting}, {scope}, after fine-tuning", **setting_words(study, "report"))
    notes = [
        N_("Place: by test accuracy, as in the report; random removal is the least that a criterion has to beat."),
        N_("Size counts parameters and buffers, in MiB (2²⁰ bytes)."),
        *_measured_notes(study),
        *_hooks(study),
        *diverged_note(rows),
        provenance(study),
    ]
    head, columns = [N_("Criterion")], [BOOK[key] for key in columns]
    return Table("comparison", title, head, columns, rows, spread(study), notes, study.study.name)


def _compared(study: Pruning, row: str, place: int | None, reported_place: int | None) -> Row:
    found = measures(study, row)
    cells = {"accuracy": found.pop("accuracy"), "place": Cell(place, kind="count"), **found}
    kept = None if row == "original" else study.reported_kept(row)
    kept = None if kept is None else numbers.rounded(kept, 1)  # worked out where the report prints none
    given = {"place": reported_place, "kept": kept}
    said = {key: given[key] if key in given else study.reported(row, key) for key in cells}
    return Row([named(study, row)], [beside(cell, said[key]) for key, cell in cells.items()])


def measures(study: Pruning, row: str) -> dict[str, Cell]:
    """What the report compares of a criterion, or of ``original``, as measured here; accuracies after fine-tuning."""
    measured = {**study.models(), **study.models("report")}.get(row, {})
    found = [one for criterion in study.criteria("report") for one in study.structures(criterion, "report")]
    if row == "original":
        cell, lost, left = study.original, Cell(), Cell()
        sizes = [one["size_bytes"][0] / MEBI for one in found][:1]
    else:
        cell, left = study.cell("finetuned", row, "report"), change(study.left("size_bytes", row, "report"))
        lost = Cell(None if study.original.mean is None else 100 * (cell.mean - study.original.mean), 2, "signed")
        sizes = [one["size_bytes"][1] / MEBI for one in study.structures(row, "report")]
    size = estimate(sizes)
    flops, whole = measured.get("macs_thop_report"), study.models().get("original", {}).get("macs_thop_report")
    fewer = 100 * (flops / whole - 1) if row != "original" and flops and whole else None
    kept = 100 * cell.mean / study.original.mean if row != "original" and study.original.mean else None
    return {
        "accuracy": accuracy(cell),
        "kept": Cell(kept, 1),
        "loss": lost,
        "size_mb": Cell(size.mean, 2, sd=size.sd),
        "size_change": left,
        "latency_ms": Cell(measured.get("latency", {}).get("1", {}).get("median_ms"), 2),
        "flops_g": Cell(flops / GIGA if flops else None, 2),
        "flops_change": Cell(fewer, 1, "signed"),
    }


def _measured_notes(study: Pruning) -> list[dict[str, str]]:
    if not study.models("report"):
        return []
    size = f"{study.measured['report_size']}×{study.measured['report_size']}"
    here = f"{study.measured['image_size']}×{study.measured['image_size']}"
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


def _hooks(study: Pruning) -> list[dict[str, str]]:
    """The report's slow networks, where some are many times slower than its original though they compute less."""
    slow, rest = study.slow_in_report()
    if not slow:
        return []
    listed = {"names": lambda lang: ", ".join(study.name(criterion, lang) for criterion in slow)}
    spans = {"slow": list(slow.values()), "fast": list(rest.values())}
    return [
        translations(
            "The report's {slow} ms for {names}, against {fast} ms for the others, cannot come from the "
            "pruned networks themselves: none of them has more to compute than the original. It smells "
            "of forward hooks left on the model.",
            **listed,
            **{key: lambda lang, v=v: span(v, 2, lang) for key, v in spans.items()},
        )
    ]


def every_setting(study: Pruning) -> Table | None:
    """Each criterion at each setting: accuracy right after pruning, fine-tuned and distilled, what distillation added
    with its evidence, and what is left of the network."""
    rows, over, teacher = [], set(), None
    for setting in study.settings:
        label = {lang: study.called(study.settings[setting], lang) for lang in LANGS}
        best = leader(study, setting)
        for criterion in study.criteria(setting):
            wheres = [study.where(role, criterion, setting) for role in ("distilled", "finetuned")]
            gap, teacher = study.gap(*wheres), wheres[0] or teacher
            over |= {gap.over} if gap else set()
            cells = [accuracy(study.cell(role, criterion, setting)) for role in ("pruned", "finetuned", "distilled")]
            cells[1] = replace(cells[1], best=criterion == best)
            cells += [difference_cell(gap), evidence(gap), *_left(study, criterion, setting)]
            rows.append(Row([label, named(study, criterion)], cells, setting))
    if not rows:
        return None
    columns = ["pruned", "finetuned", "distilled", "distilled_gap", "evidence"]
    columns += ["channels_removed", "macs_left", "params_left", "size", "narrowest"]
    if not teacher:  # nothing was distilled
        columns = columns[:2] + columns[5:]
        rows = [Row(row.labels, row.cells[:2] + row.cells[5:], row.group) for row in rows]
    data = next(record.run["dataset"] for _, record in study.results.select(role="finetuned"))
    said = {
        "original": translations(
            "The original's own accuracy: {accuracy}.",
            accuracy=lambda lang: numbers.percent(study.original.mean, 2, lang),
        ),
        "teacher": translations(
            "Distilled: the original model is the teacher ({setting}).",
            setting=lambda lang: names.setting(study.results, teacher, lang),
        )
        if teacher
        else "",
        "macs": translations("MACs are counted for one image at {here}.", here=image(data)),
        "narrowest": N_(
            "Fewest channels left: in any one layer but the output, before → after, the fewest of all seeds; of "
            "several such layers the first."
        ),
        "images": N_("An interval over test images leaves out the noise between seeds.") if "images" in over else "",
    }
    legend = spread(study)
    if teacher:
        brackets = N_("brackets: 95% interval of the difference")
        legend = {lang: f"{text(spread(study), lang)}; {say(brackets, lang)}" for lang in LANGS}
    notes = [*said.values(), *_checked(study), *diverged_note(rows), provenance(study)]
    title = translations("Every setting, {scope}: test accuracy (%) and what is left", scope=study.scope)
    head, columns = [N_("Setting"), N_("Criterion")], [BOOK[key] for key in columns]
    return Table("settings", title, head, columns, rows, legend, notes, study.study.name)


def _left(study: Pruning, criterion: str, setting: str) -> list[Cell | str]:
    found = study.structures(criterion, setting)
    sizes = estimate(one["size_bytes"][1] / MEBI for one in found)
    shares = [share(study.left(key, criterion, setting)) for key in ("macs", "params")]
    few = study.narrowest(criterion, setting)
    return [
        share(estimate(one["removed"][0] / one["removed"][1] for one in found)),
        *shares,
        Cell(sizes.mean, 2, sd=sizes.sd),
        f"{few[1]} → {few[0]} ({few[2]})" if few else numbers.DASH,
    ]


def _checked(study: Pruning) -> list[Text]:
    """Whether the pruned networks were seen to compute what the whole ones do without the same channels; nothing of
    records that do not say it."""
    found = [one for s in study.settings for c in study.criteria(s) for one in study.structures(c, s)]
    checks = [one["check"] for one in found if "check" in one]
    if not checks:
        return []
    equal = [check for check in checks if check["verdict"] == "equal"]
    kept = list(dict.fromkeys(name for check in checks for name in check["kept"]))
    said = {"equal": len(equal), "all": len(checks)}
    message = N_(
        "Checked after the cut: {equal} of {all} networks compute what the whole one does without the same channels."
    )
    out = [translations(message, **said)]
    if len(equal) < len(checks):
        layers = {check["verdict"].removeprefix("unchecked: ") for check in checks} - {"equal"}
        message = N_("The others agree but for layers that look at all their channels at once: {layers}.")
        out.append(translations(message, layers="; ".join(sorted(layers))))
    if kept:
        message = N_("Kept whole, as cut they would compute something else: {layers}.")
        out.append(translations(message, layers=", ".join(kept)))
    return out


def latency(study: Pruning) -> Table | None:
    """Measured latency of every network at each batch size, its ratio to the original, and odd channel counts."""
    base = study.models().get("original")
    if not base:
        return None
    sizes, here = sorted(base["latency"], key=int), study.measured["image_size"]
    rows = [_timed(study, base, base, sizes)]
    if "latency_again" in base:
        again = {**base, "latency": base["latency_again"]}
        rows.append(replace(_timed(study, again, base, sizes), labels=[numbers.DASH, N_("Original, once more")]))
    for setting in study.settings:
        rows += [_timed(study, model, base, sizes, setting) for model in study.models(setting).values()]
    columns = [translations(BOOK[key], n=n) for n in sizes for key in ("latency_batch", "latency_ratio")]
    title = translations("Measured latency of the networks, images of {here}", here=f"{here}×{here}")
    legend = N_("Median [lower; upper quartile] for a batch")
    about = study.measured["hardware"]
    hardware = (lambda lang: about["gpu"]) if study.measured["device"] != "cpu" and about.get("gpu") else None
    hardware = hardware or (lambda lang: say("{processor}, cores: {cores}, threads: {threads}", lang, **about))
    said = {key: study.measured[key] for key in ("repeats", "warm_up", "device")}
    head = [N_("Setting"), N_("Criterion")]
    notes = [
        translations(
            "{repeats} timings of each network, a few in a row after {warm_up} untimed ones and the "
            "networks in turns, so that drift of the machine hits all alike; one seed's networks. On "
            "{device}: {hardware}.",
            hardware=hardware,
            **said,
        )
    ]
    if "latency_again" in base:
        notes.append(
            N_("The original stands there twice: what its two rows differ by is noise, and so is any such difference.")
        )
    notes.append(provenance(study))
    return Table(
        "latency",
        title,
        head,
        [*columns, N_("Layers with an odd channel count")],
        rows,
        legend,
        notes,
        study.study.name,
    )


def _timed(study: Pruning, model: dict, base: dict, sizes: list[str], setting: str | None = None) -> Row:
    cells = []
    for size in sizes:
        timed, against = model["latency"][size], base["latency"][size]["median_ms"]
        cells.append(Cell(timed["median_ms"], 2, interval=(timed["q1_ms"], timed["q3_ms"])))
        cells.append(Cell(timed["median_ms"] / against, 2))
    label = {lang: study.called(study.settings[setting], lang) for lang in LANGS} if setting else numbers.DASH
    called = named(study, model["criterion"] if setting else "original")
    return Row([label, called], [*cells, Cell(model["odd_channels"], kind="count")], setting)
