"""Gather what the report page shows from the studies' folders, and fill its template."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from kdlib import __version__
from kdlib.errors import UserError
from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.i18n import LANGS, N_, Message, say, text
from kdlib.reporting.core.results import Results
from kdlib.reporting.core.table import difference_cell
from kdlib.reporting.figures import drawn
from kdlib.reporting.findings import findings
from kdlib.reporting.page.answers import cards
from kdlib.reporting.pruning.study import as_reported
from kdlib.reporting.reading import read
from kdlib.reporting.reproduction import VERDICTS, Reproduced, counts, reproduced
from kdlib.reporting.tables import tables
from kdlib.reporting.verdicts import MARKED, Verdict, by_question, counted, verdicts
from kdlib.reporting.writing import put
from kdlib.studies import schema

# Of each study one picture: the first of these kinds that it has.
LEADS = ("sweep", "transfer", "heatmap", "temperature", "roc", "curves")
COLOURS = 64  # of an embedded picture
COLUMNS: dict[str, Message | str] = {
    "study": N_("Study"),
    "role": N_("Training"),
    "model": N_("Model"),
    "method": N_("Method"),
    "criterion": N_("Criterion"),
    **{"T": "T", "alpha": "α", "setting": N_("Setting"), "seed": N_("Seed")},
    "test": N_("Test accuracy (%)"),
    "val": N_("Validation (%)"),
    "epochs": N_("Epochs"),
    "seconds": N_("Seconds"),
    "recipe": N_("Recipe"),
    "commit": N_("Commit"),
    "data": N_("Data"),
    "id": N_("Run"),
}


def studies(folder: Path) -> list[Results]:
    """The results of every study that was run in a profile's folder, in the order of `kdlib list`.

    Raises UserError where there is none.
    """
    found = [read(folder / name) for name in schema.names() if (folder / name / "runs.json").is_file()]
    if not found:
        raise UserError(f"{folder} holds no study; run one first, such as: kdlib run tr_kd --profile {folder.name}")
    return found


def write(folder: Path, target: Path | None = None, langs: Sequence[str] = LANGS) -> list[Path]:
    """Write ``report.<lang>.html`` of a profile's folder into ``target``, or beside its studies."""
    found = studies(folder)
    return [put((target or folder) / f"report.{lang}.html", page(found, lang)) for lang in langs]


def page(found: Sequence[Results], lang: str) -> str:
    """The report page of studies in one language: one file that needs nothing else.

    Everything that comes from data is escaped by the template.
    """
    from jinja2 import Environment, StrictUndefined

    here = files("kdlib.reporting.page")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.globals |= {
        "say": lambda message, **values: say(message, lang, **values),
        "text": partial(text, lang=lang),
        "link": _link,
    }
    reports, runs = _reports(found), _runs(found, lang)
    return environment.from_string((here / "page.jinja").read_text(encoding="utf-8")).render(
        lang=lang,
        other=next(other for other in LANGS if other != lang),
        css=(here / "page.css").read_text(encoding="utf-8"),
        js=(here / "page.js").read_text(encoding="utf-8"),
        scope=_scope(found, lang),
        cards=cards(found, reports, lang),
        forest=[_forest(results, lang) for results in found if verdicts(results)],
        reports=[_beside(one, lang) for one in reports],
        held=[(say(VERDICTS[key], lang), n) for key, n in counts(reports).items()],
        oddities=_oddities(found, lang),
        blocks=[_block(results, lang) for results in found],
        columns={key: text(title, lang) for key, title in COLUMNS.items() if any(run[key] for run in runs)},
        runs=runs,
        marked=MARKED,
        version=__version__,
        decimal="," if lang == "tr" else ".",
    )


def _scope(found: Sequence[Results], lang: str) -> str:
    """Profile, seeds and runs in a line."""
    seeds = {len({condition.seed for condition, _ in results.select()}) for results in found}
    runs = {record.id for results in found for record in results.used}
    profile = say("profile {profile}", lang, profile=found[0].profile)
    if found[0].profile != "paper":
        scaled = say("scaled down, not the reports' own settings", lang)
        profile += f" ({scaled})"
    most = numbers.short(max(seeds), lang) if min(seeds) == max(seeds) else f"{min(seeds)}–{max(seeds)}"
    said = [say("studies: {n}", lang, n=len(found)), say("runs: {n}", lang, n=numbers.integer(len(runs), lang))]
    return " · ".join([profile, *said, say("seeds a study: {n}", lang, n=most)])


def _reports(found: Sequence[Results]) -> list[Reproduced]:
    """Every reported number once: two studies may count the same architecture."""
    once: dict[tuple, Reproduced] = {}
    for one in (one for results in found for one in reproduced(results)):
        key = str(one.where), one.reported
        if key not in once or (once[key].verdict == "absent" and one.verdict != "absent"):
            once[key] = one
    return list(once.values())


def _forest(results: Results, lang: str) -> dict:
    """A study's verdicts on an axis of its own: places in per cent of it, from the left, and four to eight ticks."""
    found = verdicts(results)
    ends = [end for one in found for end in (*(one.found.interval or ()), one.found.mean)]
    low, high = min(-0.01, *ends), max(0.01, *ends)
    low, high = low - 0.03 * (high - low), high + 0.03 * (high - low)
    step = next((step for step in (0.5, 1, 2, 5, 10, 20, 50) if 100 * (high - low) / step <= 8), 100)
    ticks = [k * step / 100 for k in range(int(100 * low / step), int(100 * high / step) + 1)]

    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return {
        "name": results.study.name,
        "title": text(results.study.title, lang),
        "network": _network(results, lang),
        "rows": [(one, at(one.found.mean), [at(end) for end in one.found.interval or ()]) for one in found],
        "zero": at(0.0),
        "ticks": [(at(value), numbers.short(100 * value, lang)) for value in ticks],
    }


def _network(results: Results, lang: str) -> str:
    """Which network stands in for the report's, where one does."""
    report = as_reported(results.study.name) if results.study.pruning else None
    if report is None or report.model == results.study.pruning.model:
        return ""
    return say("Here: {model}", lang, model=names.label(results.study, results.study.pruning.model, lang))


def _beside(one: Reproduced, lang: str) -> dict:
    """A reported number beside ours, and both changes where the report sets it against something."""
    counted = one.verdict in ("equal", "unequal")
    digits = one.digits + (counted and one.digits > 0)
    digits = digits if counted or one.ours is None else max(one.digits, 2 if one.scale == 100.0 else 4)
    written = partial(numbers.decimal, lang=lang, grouping=one.digits == 0)
    points = 100.0 / one.scale
    return {
        "study": one.study,
        "where": text(one.where, lang),
        "reported": written(one.reported, one.digits),
        "ours": written(one.ours, digits),
        "change": "" if one.change is None else numbers.signed(points * one.change, 2, lang),
        "found": difference_cell(one.found).ours(lang) if one.found else "",
        "verdict": say(VERDICTS[one.verdict], lang),
        "key": one.verdict,
        "runs": one.runs,
    }


def _oddities(found: Sequence[Results], lang: str) -> list[tuple[str, str]]:
    """What the reports themselves get wrong, as the studies' tables note it."""
    out = []
    for results in found:
        notes = [note for table in results.study.tables if (note := text(table.note, lang))]
        notes += [text(note, lang) for note in results.study.costs.notes] if results.study.costs else []
        out += [(results.study.name, note) for note in dict.fromkeys(notes)]
    return out


def _block(results: Results, lang: str) -> dict:
    study = results.study
    return {
        "name": study.name,
        "title": text(study.title, lang),
        "network": _network(results, lang),
        "source": text(study.source, lang),
        "answer": [_answer(asked, lang) for asked in by_question(verdicts(results))],
        "findings": findings(results, lang),
        "tables": tables(results),
        "picture": _picture(results, lang),
        "command": f"kdlib run {study.name} --profile {results.profile}",
    }


def _answer(asked: list[Verdict], lang: str) -> dict:
    """A question in a line: its difference, or of several settings the lowest and highest, and the sides."""
    low, high = (choose(asked, key=lambda one: one.found.mean) for choose in (min, max))
    sides = say("{up} of {count} above zero, {down} below", lang, **counted(asked)) if len(asked) > 1 else ""
    return {"question": asked[0].asks(lang), "ends": [low] if low is high else [low, high], "sides": sides}


def _picture(results: Results, lang: str) -> dict | None:
    """The study's lead figure as an embedded PNG of few colours: as its notebook has it, else drawn."""
    from PIL import Image

    for alt, png in (found for kind in LEADS for found in _drawn(results, kind, lang)):
        out = io.BytesIO()
        with Image.open(io.BytesIO(png)) as image:
            image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
            width, height = image.size
        return {"src": _link(out.getvalue(), "image/png"), "alt": alt, "width": width, "height": height}
    return None


def _drawn(results: Results, kind: str, lang: str) -> Iterator[tuple[str, bytes]]:
    """(alt text, PNG) of the study's figures of a kind."""
    listed = results.folder / "figures" / f"figures.{lang}.json"
    for entry in json.loads(listed.read_text(encoding="utf-8")) if listed.is_file() else []:
        png = (listed.parent / entry["file"]).with_suffix(".png")
        if entry["kind"] == kind and png.is_file():
            yield entry["alt"], png.read_bytes()
    for drawing in drawn(results, lang, [spec for spec in results.study.figures if spec.kind == kind]).values():
        yield drawing.alt, drawing.png()


def _link(content: bytes | str, kind: str) -> str:
    """A file of its own within the page."""
    if isinstance(content, str):
        kind, content = f"{kind};charset=utf-8", content.encode("utf-8")
    return f"data:{kind};base64," + base64.b64encode(content).decode("ascii")


def _runs(found: Sequence[Results], lang: str) -> list[dict]:
    """Every record once, with the studies that show it."""
    rows: dict[str, dict] = {}
    for results in found:
        for run in results.frame().astype(object).where(lambda frame: frame.notna(), None).to_dict("records"):
            row = rows.setdefault(run["id"], {**_run(results, run, lang), "study": []})
            if results.study.name not in row["study"]:
                row["study"].append(results.study.name)
    return [{**row, "study": ", ".join(row["study"])} for row in rows.values()]


def _run(results: Results, run: dict, lang: str) -> dict:
    def number(key: str, digits: int, scale: float = 1.0) -> str:
        return "" if run.get(key) is None else numbers.decimal(scale * run[key], digits, lang)

    role = run["role"]
    return {
        "role": say(names.ROLES[role], lang),
        "model": names.label(results.study, run["model"], lang),
        "method": names.method(results.study, run["method"], lang) if role in ("student", "distilled") else "",
        "criterion": names.label(results.study, run["criterion"], lang) if run["criterion"] else "",
        "recipe": names.recipe(results.study, run["recipe"], lang),
        "setting": names.amount(run, lang) if run["criterion"] else names.layers(results.study, run["variant"], lang),
        **{key: "" if run[key] is None else numbers.short(run[key], lang) for key in ("T", "alpha", "seed", "epochs")},
        "test": number("test_accuracy", 2, 100),
        "val": number("val_accuracy", 2, 100),
        "seconds": number("seconds", 1),
        "commit": (run["commit"] or "")[:9],
        "data": f"{run['data'] or ''} {(run['fingerprint'] or '')[:8]}".strip(),
        "id": run["id"],
    }
