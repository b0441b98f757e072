"""The reports' tables: to the digit, in both languages, in every format."""

import io
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from report_data import Outcome, condition, conditions_of, records_of, study_of, table_of

from kdlib.errors import UserError
from kdlib.reporting.core.latex import escape
from kdlib.reporting.core.results import Results
from kdlib.reporting.core.table import Table
from kdlib.reporting.tables import report_table, tables
from kdlib.studies import schema

NAN = {"reason": "the loss or the logits became NaN or infinite", "epoch": 7}
STUDIES = ("tr_kd", "cnn_grid", "resnet_ladder", "cifar_conv")


def build(tmp_path, spec, outcomes, profile="quick", **study) -> Table:
    records = records_of(list(outcomes), tmp_path, outcomes.get)
    return report_table(Results(study_of(tables=[spec], **study), list(outcomes), records, profile), spec)


def shown(table: Table, lang: str = "en") -> list[list[str]]:
    return table.frame(lang).to_numpy().tolist()


def reported_bold(name: str, id: str) -> dict[str, set[float]]:
    """What is bold of the report's numbers, by column."""
    study = schema.load(name)
    table = next(t for t in tables(Results(study, [], {}, "paper")) if t.id == id)
    return {
        column: {row[j].reported for row in table.cells if row[j].reported_best}
        for j, column in enumerate(table.columns("en"))
    }


def test_bold_of_the_turkish_reports_table_3():
    assert list(reported_bold("tr_kd", "table3").values()) == [{90.27, 89.25}, {89.81, 88.21}, {91.29, 89.56}]


def test_bold_of_the_turkish_reports_table_4():
    assert list(reported_bold("tr_kd", "table4").values()) == [{90.24, 89.10}, {89.85, 88.13}, {91.29, 89.61}]


def test_table_1_of_the_turkish_report_has_no_bold():
    assert list(reported_bold("tr_kd", "table1").values()) == [set(), set(), set()]


def test_bold_of_the_grid_report():
    # At T = 1 the report sets 0.6118 in bold; the highest of that column is 0.6122.
    bold = [0.6122, 0.6227, 0.6257, 0.6218, 0.6255, 0.6238, 0.6233, 0.6245, 0.6245]
    assert list(reported_bold("cnn_grid", "grid").values()) == [{b} for b in bold]
    assert list(reported_bold("cnn_grid", "performance").values()) == [{0.9154}]


def test_cells_with_one_seed_in_both_languages(tmp_path):
    spec = table_of([{"label": ["M"], "where": {"model": "m"}, "reported": [89.01]}])
    table = build(tmp_path, spec, {condition("baseline", "m"): 0.8934})
    assert shown(table, "en") == [["89.34 / 89.01"]]
    assert shown(table, "tr") == [["89,34 / 89,01"]]
    assert table.frame("en").columns.name == "ours / reported"
    assert table.frame("tr").columns.name == "bu çalışma / rapor"


def test_fractions_have_four_decimals(tmp_path):
    spec = table_of([{"label": ["M"], "where": {"model": "m"}, "reported": [0.6128]}], unit="fraction")
    table = build(tmp_path, spec, {condition("baseline", "m"): 0.6134})
    assert shown(table, "tr") == [["0,6134 / 0,6128"]]


def test_several_seeds_show_mean_and_sd(tmp_path):
    # 89.0, 89.2, 89.7: mean 89.30, sd sqrt(0.26 / 2) = 0.3606
    spec = table_of([{"label": ["M"], "where": {"model": "m"}, "reported": [89.01]}])
    table = build(tmp_path, spec, {condition("baseline", "m", seed=s): v for s, v in enumerate([0.890, 0.892, 0.897])})
    assert shown(table, "en") == [["89.30 ± 0.36 / 89.01"]]
    assert shown(table, "tr") == [["89,30 ± 0,36 / 89,01"]]


def test_a_missing_number_on_either_side_is_an_en_dash(tmp_path):
    rows = [
        {"label": ["ours only"], "where": {"model": "m"}, "reported": [None]},
        {"label": ["theirs only"], "where": {"model": "absent"}, "reported": [86.36]},
    ]
    assert shown(build(tmp_path, table_of(rows), {condition("baseline", "m"): 0.9})) == [["90.00 / –"], ["– / 86.36"]]


def test_a_table_without_reported_numbers_shows_ours_alone(tmp_path):
    table = build(tmp_path, table_of([{"label": ["M"], "where": {"model": "m"}}]), {condition("baseline", "m"): 0.9})
    assert shown(table) == [["90.00"]]
    assert "reported" not in table.markdown("en")
    assert "grey" not in table.latex("en")


def test_diverged_runs_are_counted_named_and_not_averaged(tmp_path):
    spec = table_of([{"label": ["M"], "where": {"model": "m"}, "reported": [52.47]}])
    values = [0.90, Outcome(0.1, diverged=NAN), 0.91]
    table = build(tmp_path, spec, {condition("baseline", "m", seed=s): v for s, v in enumerate(values)})
    assert shown(table) == [["90.50 ± 0.71 †1/3 / 52.47"]]
    assert any(
        "M / Accuracy: seed 1, epoch 7 (the loss or the logits became NaN or infinite)" in n for n in table.notes("en")
    )
    assert any(
        "M / Accuracy: tohum 1, epok 7 (kayıp ya da logitler NaN ya da sonsuz oldu)" in n for n in table.notes("tr")
    )


def test_a_cell_of_which_all_seeds_diverged_has_no_number(tmp_path):
    spec = table_of([{"label": ["M"], "where": {"model": "m"}}])
    table = build(tmp_path, spec, {condition("baseline", "m"): Outcome(0.1, diverged=NAN)})
    assert shown(table) == [["– †1/1"]]


def test_fewer_seeds_than_elsewhere_are_said(tmp_path):
    spec = table_of([{"label": [m], "where": {"model": m}} for m in ("a", "b")])
    outcomes = {
        condition("baseline", "a", seed=0): 0.8,
        condition("baseline", "a", seed=1): 0.8,
        condition("baseline", "b"): 0.9,
    }
    made = build(tmp_path, spec, outcomes)
    assert shown(made) == [["80.00 ± 0.00"], ["90.00"]]
    assert "without ±: one seed" in made.legend("en")
    assert made.notes("en")[-1].endswith("seeds: 0, 1, of some settings fewer.")


def ladder(tmp_path, reported=((64, 67), (87, 87)), best="none"):
    rows = [{"label": [m], "where": {"model": m}, "reported": list(r)} for m, r in zip("ab", reported, strict=True)]
    columns = [{"label": "Baseline", "where": {"role": "baseline"}}, {"label": "KD", "where": {"role": "student"}}]
    spec = table_of(rows, columns, difference={"column": 1, "from": 0}, best=best)
    outcomes = {condition("baseline", "a"): 0.6412, condition("student", "a", T=2, alpha=0.5): 0.6717}
    outcomes |= {condition("baseline", "b"): 0.8720, condition("student", "b", T=2, alpha=0.5): 0.8700}
    return build(tmp_path, spec, outcomes)


def test_differences_as_the_ladder_report_writes_them(tmp_path):
    assert shown(ladder(tmp_path)) == [
        ["64.12 / 64", "67.17 (+3.05) / 67 (+3)"],
        ["87.20 / 87", "87.00 (-0.20) / 87 (+0)"],
    ]
    assert shown(ladder(tmp_path), "tr")[0][1] == "67,17 (+3,05) / 67 (+3)"


def test_best_in_a_row_and_ties_are_shared(tmp_path):
    table = ladder(tmp_path, best="row")
    assert [[e.best for e in row] for row in table.cells] == [[False, True], [True, False]]
    assert [[e.reported_best for e in row] for row in table.cells] == [[False, True], [True, True]]


def test_groups_compete_by_themselves_and_a_diverged_cell_not_at_all(tmp_path):
    rows = [{"label": [m], "where": {"model": m}, "group": g} for m, g in ("ax", "bx", "cx", "dy", "ey")]
    outcomes = {condition("baseline", m): v for m, v in zip("abde", (0.50, 0.91, 0.90, 0.40), strict=True)}
    outcomes |= {
        condition("baseline", "c", seed=0): 0.99,
        condition("baseline", "c", seed=1): Outcome(0.1, diverged=NAN),
    }
    table = build(tmp_path, table_of(rows, best="column"), outcomes)
    assert [row[0].best for row in table.cells] == [False, True, False, True, False]


def test_ours_is_bold_only_where_an_interval_says_so(tmp_path):
    rows = [{"label": [m], "where": {"model": m}, "reported": [v]} for m, v in zip("abc", (71, 71, 70), strict=True)]
    values = {condition("baseline", m): v for m, v in zip("abc", (0.90001, 0.90004, 0.3), strict=True)}
    table = build(tmp_path, table_of(rows, best="column"), values)
    assert [row[0].best for row in table.cells] == [False, False, False]
    assert [row[0].reported_best for row in table.cells] == [True, True, False]  # a tie as printed is shared
    assert table.legend("en").endswith("bold in the report's: its highest.")


def test_one_number_alone_is_not_best(tmp_path):
    rows = [{"label": [m], "where": {"model": m}} for m in "ab"]
    table = build(tmp_path, table_of(rows, best="column"), {condition("baseline", "a"): 0.9})
    assert not table.cells[0][0].best


def test_a_profile_that_is_not_paper_says_so_with_what_it_ran(tmp_path):
    spec = table_of([{"label": ["M"], "where": {"model": "m"}}])
    table = build(tmp_path, spec, {condition("baseline", "m"): 0.9}, profile="reduced")
    en = (
        "Profile: reduced (not the report's own settings); data: cifar10 (40,000 training, 10,000 validation, "
        "10,000 test images, 32×32 px); epochs: 5; seed: 0."
    )
    tr = (
        "Profil: reduced (raporun kendi ayarları değil); veri: cifar10 (40.000 eğitim, 10.000 doğrulama, "
        "10.000 test görüntüsü, 32×32 px); epok: 5; tohum: 0."
    )
    assert table.notes("en")[-1] == en
    assert table.notes("tr")[-1] == tr
    for lang, line in (("en", en), ("tr", tr)):
        assert line.replace("'", "&#x27;") in table.html(lang)
        assert line in table.markdown(lang)
        assert escape(line) in table.latex(lang)


def test_a_cell_that_mixes_settings_is_refused_with_the_table_named(tmp_path):
    spec = table_of([{"label": ["M"], "where": {"role": "student"}}])
    with pytest.raises(UserError, match=r"table t: .* differ in T"):
        build(tmp_path, spec, {condition("student", "m", T=T, alpha=0.5): 0.9 for T in (1, 2)})


def both_sides(tmp_path) -> Table:
    rows = [
        {"label": ["ResNet", "1.5"], "where": {"T": 1.5}, "reported": [89.67], "group": "g"},
        {"label": ["ResNet", "2"], "where": {"T": 2}, "reported": [90.24], "group": "g"},
    ]
    spec = table_of(rows, head=[{"en": "Models", "tr": "Modeller"}, "T"], best="column")
    return build(tmp_path, spec, {condition("student", "m", T=T, alpha=0.5): a for T, a in ((1.5, 0.91), (2, 0.90))})


def test_html_puts_ours_above_the_reported_number_and_merges_labels(tmp_path):
    html = both_sides(tmp_path).html("tr")
    root = ElementTree.fromstring(html.replace("<br>", "<br/>"))  # well-formed
    cells = [["".join(part.itertext()) for part in cell if part.tag != "br"] for cell in root.iter("td")]
    assert cells == [["91,00", "89,67"], ["90,00", "90,24"]]
    assert [part.text for part in root.iter("b")] == ["91,00", "90,24"]
    assert [(th.text, th.get("rowspan")) for th in root.iter("th") if th.get("rowspan")] == [
        ("ResNet", "2"),
        ("1,5", "1"),
        ("2", "1"),
    ]
    assert "Üstte: bu çalışma" in html
    assert "altta, gri: rapor" in html


def test_markdown_rows(tmp_path):
    lines = both_sides(tmp_path).markdown("en").splitlines()
    assert "| Models | T | Accuracy |" in lines
    assert "| ResNet | 1.5 | **91.00**<br><sub>89.67</sub> |" in lines
    assert "|  | 2 | 90.00<br><sub>**90.24**</sub> |" in lines


def test_latex_rows(tmp_path):
    lines = both_sides(tmp_path).latex("tr").splitlines()
    assert r"ResNet & 1,5 & \textbf{91,00} \\" in lines
    assert r" &  & {\footnotesize\textcolor{gray}{89,67}} \\" in lines
    assert r" &  & {\footnotesize\textcolor{gray}{\textbf{90,24}}} \\" in lines
    assert lines.count(r"\toprule") == lines.count(r"\bottomrule") == 1


def test_latex_escapes_what_is_special():
    assert escape(r"50 % of A_b & #1 {x} $y$ ~ ^ \z") == (
        r"50 \% of A\_b \& \#1 \{x\} \$y\$ \textasciitilde{} \textasciicircum{} \textbackslash{}z"
    )
    assert escape("T=2, α=0.5, 89 ± 1 (-0.20) – 3×3") == (r"T=2, $\alpha$=0.5, 89 $\pm$ 1 ($-$0.20) -- 3$\times$3")
    assert escape("ResNet-10 [teacher], %98,6 doğruluk") == r"ResNet-10 {[}teacher], \%98,6 doğruluk"


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("lang", ["en", "tr"])
def test_latex_of_every_study_is_balanced_and_escaped(name, lang, tmp_path):
    study = schema.load(name)
    conditions = conditions_of(study, seeds=(0, 1))
    results = Results(
        study, conditions, records_of(conditions, tmp_path, lambda a: 0.9 + a.seed / 100, test_size=50), "quick"
    )
    for table in tables(results):
        tex = "\n".join(line for line in table.latex(lang).splitlines() if not line.startswith("%"))
        bare = re.sub(r"\\[\\&%$#_{}]", "", tex)  # without line ends and escaped characters
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0
        assert not re.search(r"[#_~^]", bare)
        assert bare.count("%") == tex.count("{%\n") + tex.count("tabular}%\n")
        assert not re.search(r"[αλ×±†–“”]", tex)
        width = len(table.head(lang)) + len(table.columns(lang))
        rows = [line for line in tex.splitlines() if line.endswith(r"\\")]
        assert {len(re.sub(r"\\&", "", row).split("&")) for row in rows} == {width}


def test_csv_reads_back_in_english(tmp_path):
    table = both_sides(tmp_path)
    read = pd.read_csv(io.StringIO(table.csv("en")))
    assert list(read.columns) == [
        *("Models", "T", "column", "value", "sd", "interval_low", "interval_high"),
        *("n", "diverged", "reported", "unit"),
    ]
    assert read["value"].tolist() == [91.0, 90.0]
    assert read["reported"].tolist() == [89.67, 90.24]
    assert read["T"].tolist() == [1.5, 2.0]
    assert read["sd"].isna().all()
    assert set(read["unit"]) == {"percent"}


def test_csv_reads_back_in_turkish_with_semicolon_and_comma(tmp_path):
    table = both_sides(tmp_path)
    read = pd.read_csv(io.StringIO(table.csv("tr")), sep=";", decimal=",")
    assert read["değer"].tolist() == [91.0, 90.0]
    assert read["rapor"].tolist() == [89.67, 90.24]
    assert read["ıraksayan"].tolist() == [0, 0]


def test_csv_has_seeds_and_diverged_runs(tmp_path):
    spec = table_of([{"label": ["a, b"], "where": {"model": "m"}, "reported": [None]}])
    values = [0.90, Outcome(0.1, diverged=NAN), 0.91]
    table = build(tmp_path, spec, {condition("baseline", "m", seed=s): v for s, v in enumerate(values)})
    row = pd.read_csv(io.StringIO(table.csv("en"))).iloc[0]
    assert (row["Model"], row["n"], row["diverged"]) == ("a, b", 2, 1)
    assert row["value"] == 90.5
    assert row["sd"] == pytest.approx(0.707107)
    assert pd.isna(row["reported"])
