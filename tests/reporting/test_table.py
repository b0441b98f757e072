"""Sheets: each cell in its own digits, in both languages and every format."""

import io
import math
import re

import pandas as pd
import pytest

from kdlib.reporting.core.table import Cell, Row, Table


def sheet(*cells: Cell | str, legend="", notes=(), columns=None) -> Table:
    columns = columns or [f"c{i}" for i in range(len(cells))]
    title = {"en": "Title", "tr": "Başlık"}
    return Table(
        "s", title, [{"en": "What", "tr": "Ne"}], columns, [Row(["1.5"], list(cells))], legend, notes, "study_x"
    )


def ours(cell: Cell, lang: str) -> str:
    return cell.ours(lang)


@pytest.mark.parametrize(
    ("cell", "en", "tr"),
    [
        (Cell(11342794, kind="count"), "11,342,794", "11.342.794"),
        (Cell(0, kind="count"), "0", "0"),
        (Cell(45.371, digits=2), "45.37", "45,37"),
        (Cell(0.03734, digits=4), "0.0373", "0,0373"),
        (Cell(0.986, digits=1, kind="percent"), "98.6%", "%98,6"),
        (Cell(-0.2, digits=1, kind="signed", interval=(-0.9, 0.5)), "-0.2 [-0.9; +0.5]", "-0,2 [-0,9; +0,5]"),
        (Cell(0.3, digits=1, kind="signed", sd=0.1), "+0.3 ± 0.1", "+0,3 ± 0,1"),
        (Cell(0.9, digits=3, interval=(0.88, 0.92)), "0.900 [0.880; 0.920]", "0,900 [0,880; 0,920]"),
        (Cell(0.5, digits=0, kind="percent", sd=0.01), "50% ± 1%", "%50 ± %1"),
        (Cell(5.31, digits=1, mark="†"), "5.3†", "5,3†"),
        (Cell(text={"en": "none", "tr": "yok"}), "none", "yok"),
        (Cell(), "–", "–"),
        (Cell(math.nan), "–", "–"),
        (Cell(0.5, interval=(math.nan, 1)), "0.50", "0,50"),
    ],
)
def test_a_cell_in_both_languages(cell, en, tr):
    assert ours(cell, "en") == en
    assert ours(cell, "tr") == tr


@pytest.mark.parametrize(
    ("cell", "en", "tr"),
    [
        (Cell(1, kind="count", reported=11335114), "11,335,114", "11.335.114"),
        (Cell(89.012, digits=3, reported=89.0, reported_digits=1), "89.0", "89,0"),
        (Cell(1), "–", "–"),
    ],
)
def test_the_reported_side(cell, en, tr):
    assert cell.theirs("en") == en
    assert cell.theirs("tr") == tr


def test_frame_shows_ours_beside_reported_only_where_anything_was_reported():
    both = sheet(Cell(1.0, reported=2.0), "text")
    assert both.frame("tr").to_numpy().tolist() == [["1,00 / 2,00", "text / –"]]
    assert both.frame("tr").columns.name == "bu çalışma / rapor"
    assert list(both.frame("tr").index) == ["1,5"]
    assert sheet(Cell(1.0)).frame("en").to_numpy().tolist() == [["1.00"]]


def test_every_format_has_title_numbers_bold_and_notes():
    table = sheet(Cell(1.5, best=True, reported=2.5, reported_best=True), legend="In g.", notes=["50 % of A_b", ""])
    html, markdown, tex = table.html("tr"), table.markdown("tr"), table.latex("tr")
    assert "<b>1,50</b>" in html
    assert "<b>2,50</b>" in html
    legend = "In g; kalın: sonrakinden farkının %95 aralığı sıfırı dışlıyor; raporda kalın: rapordaki en yüksek."
    assert f"<p>{legend}</p><p>50 % of A_b</p></div>" in html
    assert "| 1,5 | **1,50**<br><sub>**2,50**</sub> |" in markdown.splitlines()
    assert r"1,5 & \textbf{1,50} \\" in tex.splitlines()
    assert r"\label{study-x-s}" in tex
    assert r"50 \% of A\_b" in tex


def test_no_empty_line_where_there_is_no_legend():
    table = sheet(Cell(1.0))
    assert table.legend("en") == ""
    assert "<p></p>" not in table.html("en")
    assert "<sub></sub>" not in table.markdown("en")
    assert r"\footnotesize }" not in table.latex("en")


def test_rows_of_one_block_stay_together():
    rows = [Row([a, b], [Cell(1.0)], group) for a, b, group in (("A", "x", "1"), ("A", "y", "1"), ("B", "x", "2"))]
    table = Table("s", "t", ["one", "two"], ["c"], rows)
    assert table.starts() == [False, False, True]
    assert re.findall(r'rowspan="(\d)">(\w)', table.html("en"))[0] == ("2", "A")


def test_csv_reads_back():
    cells = (
        Cell(0.986, kind="percent", digits=1, sd=0.01, interval=(0.9, 1.0), reported=0.98),
        Cell(11342794, kind="count"),
    )
    table = sheet(*cells, Cell(5.0))
    read = pd.read_csv(io.StringIO(table.csv("en")))
    assert list(read.columns) == [
        *("What", "column", "value", "sd", "interval_low", "interval_high", "n", "diverged", "reported", "unit"),
    ]
    assert read["value"].tolist() == [0.986, 11342794, 5.0]
    assert read.iloc[0][["sd", "interval_low", "interval_high", "reported"]].tolist() == [0.01, 0.9, 1.0, 0.98]
    assert read["unit"].fillna("").tolist() == ["fraction", "", ""]
    turkish = pd.read_csv(io.StringIO(table.csv("tr")), sep=";", decimal=",")
    assert turkish["değer"].tolist() == [0.986, 11342794, 5.0]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="1 labels and 2 cells"):
        Table("s", "t", ["a"], ["x"], [Row(["r"], ["1", "2"])])
    with pytest.raises(ValueError, match="kind"):
        Cell(1.0, kind="ratio")
    with pytest.raises(ValueError, match="not both"):
        Cell(1.0, text="one")
