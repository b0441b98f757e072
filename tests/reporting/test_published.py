"""Every table in outputs/published comes out of the committed records again, cell by cell, in both languages; and every
result that the READMEs give stands in one of them."""

import csv
import io
import re
import shutil
import subprocess
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from kdlib import reporting
from kdlib.reporting import page

PUBLISHED = Path(__file__).resolve().parents[2] / "outputs" / "published"
STUDIES = sorted(path.parent for path in PUBLISHED.glob("*/*/runs.json"))


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))


def test_there_is_something_published():
    assert len(STUDIES) >= 12


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_every_table_is_what_its_records_say(folder):
    committed = {path.name: path for path in (folder / "tables").glob("*.csv")}
    made = {}
    for table in reporting.tables(reporting.read(folder)):
        for lang in ("en", "tr"):
            made[f"{table.id}.{lang}.csv"] = table.csv(lang)
    assert set(made) == set(committed)
    for name, text in made.items():
        assert cells(text) == cells(committed[name].read_text(encoding="utf-8")), name


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_latex_of_every_table_compiles(lang, tmp_path):
    tables = [table.latex(lang) for folder in STUDIES for table in reporting.tables(reporting.read(folder))]
    text = "\n\\clearpage\n".join(tables)
    # What a T1 font has as a letter; all else is a command by now.
    assert set(re.findall(r"[^\x00-\x7f]", text)) <= set("çğıöşüâîûÇĞİÖŞÜÂÎÛ")
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here; Debian has one: apt-get install texlive-latex-recommended lmodern")
    needed = r"\usepackage[T1]{fontenc}\usepackage{lmodern,booktabs,xcolor,graphicx}"
    document = rf"\documentclass{{article}}{needed}\begin{{document}}{text}\end{{document}}"
    (tmp_path / "tables.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said[-2000:]
    assert "Overfull" not in said


@pytest.mark.parametrize(
    ("name", "heading"), [("README.md", "## What you get"), ("README.tr.md", "## Ne elde edersiniz")]
)
def test_every_number_among_the_readmes_results_stands_in_a_published_table(name, heading):
    published = set()
    for path in PUBLISHED.glob("*/*/tables/*.en.csv"):
        for number in re.findall(r"\d+\.\d+|\d+", path.read_text(encoding="utf-8")):
            for value in (Decimal(number), 100 * Decimal(number)):  # fractions are shown in per cent
                published |= {str(value.quantize(Decimal(1).scaleb(-d), ROUND_HALF_UP)) for d in (1, 2, 3)}
    section = (PUBLISHED.parents[1] / name).read_text(encoding="utf-8").split(f"{heading}\n")[1].split("\n## ")[0]
    section = re.sub(r"\(outputs[^)]*\)|<img[^>]*>", "", section)
    if name == "README.tr.md":
        section = re.sub(r"(\d),(\d)", r"\1.\2", re.sub(r"(\d)\.(\d{3})", r"\1\2", section))
    said = re.findall(r"\d+\.\d+", section)
    assert len(said) > 15
    assert [number for number in said if number not in published] == []


def test_the_published_page_is_what_the_records_say():
    def text(html: str) -> str:
        return re.sub(r'<img src="data:[^>]*>', "", html)  # a picture's bytes are those of the machine that drew it

    made = page.page(page.studies(PUBLISHED / "reduced"), "en")
    assert text(made) == text((PUBLISHED / "report.en.html").read_text(encoding="utf-8"))
