"""Write everything a study says into its folder, each file whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

from kdlib.files import whole
from kdlib.reporting.core.i18n import LANGS, say, text
from kdlib.reporting.core.results import Results
from kdlib.reporting.figures import Drawing, draw
from kdlib.reporting.findings import findings
from kdlib.reporting.tables import tables


def write(results: Results, out_dir: Path, lang: str) -> list[Path]:
    """Write tables and findings of a study in all languages, figures in ``lang``; return the paths written.

    ``tables/<id>.<lang>.{md,tex,csv}``, ``figures/<stem>.<lang>.{pdf,svg,png}``, ``figures/figures.<lang>.json``
    (alt text and caption of each figure), ``findings.<lang>.md``. Raises UserError, before anything is written, for a
    table whose cells mix settings.
    """
    out_dir, made, listed = Path(out_dir), tables(results), []
    paths: list[Path] = []
    for each in LANGS:
        for table in made:
            paths += _table(table, out_dir / "tables", each)
        paths.append(put(out_dir / f"findings.{each}.md", _findings(results, each)))
    for stem, drawing in draw(results, lang).items():
        paths += _figure(drawing, out_dir / "figures", stem)
        entry = {"file": f"{stem}.{lang}.svg", "kind": drawing.kind, "title": drawing.title}
        listed.append({**entry, "alt": drawing.alt, "caption": drawing.caption})
    sidecar = json.dumps(listed, ensure_ascii=False, indent=1) + "\n"
    return [*paths, put(out_dir / "figures" / f"figures.{lang}.json", sidecar)]


def _table(table, folder: Path, lang: str) -> list[Path]:
    name = f"{table.id}.{lang}"
    return [
        put(folder / f"{name}.md", table.markdown(lang)),
        put(folder / f"{name}.tex", table.latex(lang)),
        # Turkish Excel takes a file for UTF-8 only when it begins with the byte order mark.
        put(folder / f"{name}.csv", table.csv(lang), "utf-8-sig" if lang == "tr" else "utf-8"),
    ]


def _figure(drawing: Drawing, folder: Path, stem: str) -> list[Path]:
    made = {"pdf": drawing.pdf(), "svg": drawing.svg(), "png": drawing.png()}
    return [put(folder / f"{stem}.{drawing.lang}.{kind}", content) for kind, content in made.items()]


def _findings(results: Results, lang: str) -> str:
    study = results.study
    lines = ["# " + say("Findings: {study}", lang, study=text(study.title, lang)), ""]
    if source := text(study.source, lang):
        lines += [say("Source: {source}", lang, source=source), ""]
    return "\n".join([*lines, *(f"- {line}" for line in findings(results, lang))]) + "\n"


def put(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    """Write beside, then rename: a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as aside:
        aside.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path
