"""What the benches found, as tables in Markdown, a figure of the ratios, and JSON."""

import datetime
import json
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kdlib.files import write_text
from kdlib.reporting.core import canvas, numbers
from kdlib.studies import records

TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
OWN = ("ablation", "store", "engines")  # these compare kdlib with itself
PACKAGES = ("torchdistill", "torch-pruning")
QUICK = "Quick sizes: these numbers show that the benches work, and nothing else."


def about(quick: bool) -> dict:
    """Return machine, versions, commit and date of a result; JSON-able."""
    packages = dict(records.packages())
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "hardware": records.hardware(),
        "packages": packages,
        "code": records.code(),
        "date": now,
        "quick": quick,
        "load": round(os.getloadavg()[0], 2),
    }


def machine(facts: dict) -> str:
    """Return one line: what the numbers were measured on."""
    hardware, packages = facts["hardware"], facts["packages"]
    where = hardware["gpu"] or hardware["processor"] or hardware["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
    counts = f"{_count(hardware['cores'], 'core')}, {_count(hardware['threads'], 'thread')}"
    return (
        f"{where}, {counts}, {hardware['memory_gib']:g} GiB; "
        f"{versions}; {facts['date'][:10]}; load average before: {facts['load']:g}"
    )


def markdown(results: dict[str, dict], facts: dict) -> str:
    """Return all results as one Markdown document."""
    lines = ["# Benchmarks", "", machine(facts), ""]
    if facts["quick"]:
        lines += [f"**{QUICK}**", ""]
    for name, result in results.items():
        lines += [f"## {result['title']} (`{name}`)", "", settings(result["setting"]), ""]
        lines += [f"Measured in another call: {result['measured']}", ""] if "measured" in result else []
        lines += [table(result["rows"]), ""]
        for item in result["ratios"]:
            lines.append(f"- {sentence(item)}")
        lines += [""] if result["ratios"] else []
        lines += [f"- {note}" for note in [*result["left_out"], *result["notes"]]]
        lines.append("")
    return "\n".join(lines)


def together(folder: Path, names: Iterable[str], results: dict[str, dict], facts: dict) -> dict[str, dict]:
    """Return results in the order of ``names``, with those of earlier calls that lie in the folder, of this machine.

    These say under ``measured`` what they were measured with. Quick results and full ones are never put together.
    """
    found = {}
    for name in names:
        path = folder / f"{name}.json"
        if name in results:
            found[name] = results[name]
        elif path.is_file():
            saved = json.loads(path.read_text(encoding="utf-8"))
            if all(saved[key] == facts[key] for key in ("hardware", "quick")):
                found[name] = {key: saved[key] for key in saved if key not in facts} | {"measured": machine(saved)}
    return found


def sentence(item: dict) -> str:
    """Return a ratio in words: its median, and lowest and highest over the rounds."""
    low, middle, high = (times(item[key]) for key in ("min", "median", "max"))
    return f"{item['label']}: {middle} as fast ({low} to {high} in {_count(item['n'], 'round')})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def times(value: float) -> str:
    """1.4×, 13×: two digits where that many say something."""
    return f"{numbers.decimal(value, 0 if value >= 10 else 1 if value >= 2 else 2, 'en')}×"


def settings(facts: dict) -> str:
    """Return a bench's settings in one line."""
    return "; ".join(f"{name}: {_value(value)}" for name, value in facts.items())


def table(rows: list[dict]) -> str:
    """Return rows of one bench as a Markdown table; numbers stand on the right."""
    head = list(rows[0])
    cells = [[_cell(name, row[name]) for name in head] for row in rows]
    right = [all(not isinstance(row[name], str) for row in rows) for name in head]
    widths = [max(3, len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(head)]

    def line(texts: list[str]) -> str:
        padded = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return "\n".join([line(head), f"| {' | '.join(rule)} |", *(line(texts) for texts in cells)])


def _value(value: object) -> str:
    if isinstance(value, list):
        return "×".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, int):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return numbers.integer(value, "en")


def _cell(name: str, value: object) -> str:
    if value is None:
        return numbers.DASH
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return numbers.integer(value, "en")
    if name.startswith("share") or "accuracy" in name:
        return numbers.percent(value, 1, "en")
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 4
    return numbers.decimal(value, digits, "en", grouping=True)


def figure(results: dict[str, dict], facts: dict):
    """Return horizontal bars of the ratios to others, median with lowest and highest; None where there is no ratio."""
    items = [item for name, result in results.items() if name not in OWN for item in result["ratios"]]
    if not items:
        return None
    with canvas.style():
        drawn, axes = canvas.panels(1, 1, (7.5, 1.3 + 0.42 * len(items)))
        ax = axes[0, 0]
        for y, item in enumerate(reversed(items)):
            middle = item["median"]
            # On a scale of ratios a bar begins at 1, to the right where kdlib is the faster one.
            ax.barh(y, middle - 1, 0.62, left=1, color=canvas.colours()[0], zorder=2)
            whiskers = [[middle - item["min"]], [item["max"] - middle]]
            ax.errorbar(middle, y, xerr=whiskers, color=canvas.BLACK, capsize=3, linewidth=1.1, zorder=4)
            end = max(item["max"], 1)
            ax.annotate(times(middle), (end, y), (6, 0), textcoords="offset points", va="center", fontsize=8)
        ax.set_xscale("log")
        ax.axvline(1, color=canvas.BLACK, linewidth=1.0, zorder=3)
        ax.set_yticks(range(len(items)), [item["label"] for item in reversed(items)])
        low, high = min(0.8, *(item["min"] for item in items)), max(2.0, *(item["max"] for item in items))
        ax.set_xlim(0.9 * low, 1.5 * high)
        ticks = [tick for tick in TICKS if 0.9 * low <= tick <= 1.5 * high]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("times as fast: kdlib against the other (1 = equally fast, logarithmic)")
        ax.grid(False, axis="y")
        footer = f"Median, lowest and highest ratio within a round. {machine(facts)}"
        canvas.titled(drawn, "kdlib beside its peers", f"{QUICK} {footer}" if facts["quick"] else footer)
    return drawn


def save(folder: Path, results: dict[str, dict], facts: dict) -> list[Path]:
    """Write bench.json, bench.md, bench.png and bench.svg, each whole or not at all; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "bench.json", folder / "bench.md"]
    write_text(written[0], json.dumps({**facts, "benches": results}, indent=1))
    write_text(written[1], markdown(results, facts))
    drawn = figure(results, facts)
    if drawn is not None:
        for ending in ("png", "svg"):
            path = folder / f"bench.{ending}"
            aside = folder / f".bench.half.{ending}"
            with canvas.style():
                drawn.savefig(aside, metadata={"Date": None} if ending == "svg" else None)
            os.replace(aside, path)
            written.append(path)
    return written


def save_one(folder: Path, name: str, result: dict, facts: dict) -> Path:
    """Write one bench's JSON as soon as it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_text(path, json.dumps({**facts, **result}, indent=1))
    return path
