"""What `write` leaves on disk: every file, both languages, the same bytes each time, no state behind."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pandas as pd
import pytest
from report_data import Outcome, conditions_of, records_of

from kdlib import reporting
from kdlib.errors import UserError
from kdlib.studies import schema

SVG = "{http://www.w3.org/2000/svg}"


def outcome(condition):
    if condition.role == "teacher":
        return 0.9
    if condition.role == "baseline":
        return 0.6 + condition.seed / 500
    if (condition.T, condition.alpha) == (20, 0.9):
        return None  # not run yet
    if (condition.T, condition.alpha, condition.seed) == (1, 0.5, 1):
        return Outcome(0.1, diverged={"reason": "the loss or the logits became NaN or infinite", "epoch": 2})
    return Outcome(round(0.6 + condition.T / 1000 + condition.alpha / 100 + condition.seed / 300, 4))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A small grid study with every kind of figure, two seeds, a gap and a diverged run."""
    study = schema.load("cnn_grid")
    points = [schema.Point(T=[1, 5, 20], alpha=[0.1, 0.5, 0.9])]
    study = study.model_copy(update={"points": points, "students": ["cnn2"]})
    conditions = conditions_of(study, seeds=(0, 1))
    records = records_of(conditions, tmp_path_factory.mktemp("runs"), outcome, test_size=100)
    return reporting.Results(study, conditions, records, "quick")


@pytest.fixture(scope="module")
def written(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    return folder, {path for lang in ("en", "tr") for path in reporting.write(results, folder, lang)}


FIGURES = ("pdf", "svg", "png")
STEMS = ("effects", "curves", "heatmap-cnn2-sgd", "temperature-cnn2")


def test_every_file_is_there_and_returned(written):
    folder, paths = written
    expected = {f"figures/{stem}.{lang}.{kind}" for stem in STEMS for lang in ("en", "tr") for kind in FIGURES}
    expected |= {
        f"tables/{id}.{lang}.{kind}"
        for id in ("verdicts", "performance", "grid", "resnet18_students", "all_runs")
        for lang in ("en", "tr")
        for kind in ("md", "tex", "csv")
    }
    expected |= {"findings.en.md", "findings.tr.md", "figures/figures.en.json", "figures/figures.tr.json"}
    assert {str(path.relative_to(folder)) for path in paths} == expected
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == expected


def test_nothing_stays_open_and_no_setting_is_changed(written):
    import matplotlib
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []
    assert matplotlib.rcParams["svg.hashsalt"] is None
    assert matplotlib.rcParams["font.size"] == matplotlib.rcParamsDefault["font.size"]


def test_a_second_write_gives_the_same_bytes(results, written, tmp_path):
    folder, _ = written
    fresh = reporting.Results(results.study, results.conditions, results.records, results.profile)
    paths = reporting.write(fresh, tmp_path, "tr")
    assert len(paths) == len(FIGURES) * len(STEMS) + 1 + 2 * (5 * 3 + 1)  # figures in one language, tables in both
    for path in paths:
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes(), path.name


@pytest.mark.parametrize("lang", ["en", "tr"])
@pytest.mark.parametrize("stem", STEMS)
def test_svg_says_what_it_shows(written, stem, lang):
    folder, _ = written
    root = ElementTree.parse(folder / "figures" / f"{stem}.{lang}.svg").getroot()
    (title,), (desc,) = root.findall(f"{SVG}title"), root.findall(f"{SVG}desc")
    entries = json.loads((folder / "figures" / f"figures.{lang}.json").read_text())
    (entry,) = [e for e in entries if e["file"] == f"{stem}.{lang}.svg"]
    assert root.get("role") == "img"
    assert root.get("aria-labelledby").split() == [title.get("id"), desc.get("id")]
    assert (title.text, desc.text) == (entry["title"], entry["alt"])
    assert entry["alt"].startswith(entry["title"])
    assert ("not the report's own settings" if lang == "en" else "raporun kendi ayarları değil") in entry["caption"]


LABELS = {
    "curves": [("Cross-entropy (nats)", "Çapraz entropi (nat)"), ("Epoch", "Epok"), ("validation", "doğrulama")],
    "heatmap-cnn2-sgd": [("Temperature T", "Sıcaklık T"), ("best by validation", "doğrulamada en iyi")],
    "temperature-cnn2": [("Test accuracy (%)", "Test doğruluğu (%)"), ("α = 0.5", "α = 0,5")],
    "effects": [("Distilled − alone", "Damıtılmış − tek başına"), ("Difference (points)", "Fark (puan)")],
}


@pytest.mark.parametrize("stem", STEMS)
def test_labels_are_in_the_language(written, stem):
    folder, _ = written
    drawn = {lang: (folder / "figures" / f"{stem}.{lang}.svg").read_text() for lang in ("en", "tr")}
    for english, turkish in LABELS[stem]:
        for lang, there, absent in (("en", english, turkish), ("tr", turkish, english)):
            assert f">{there}</text>" in drawn[lang]
            assert f">{absent}</text>" not in drawn[lang]


def test_heat_map_cells_in_numbers(written):
    folder, _ = written
    svg = (folder / "figures" / "heatmap-cnn2-sgd.tr.svg").read_text()
    # T = 5, alpha 0.5: 61.00 and 61.33 against 60.00 and 60.20 alone
    assert ">61,17</text>" in svg
    assert ">+1,07</text>" in svg
    assert ">†1</text>" in svg  # T = 1, alpha 0.5: one of two seeds diverged
    assert ">–</text>" in svg  # T = 20, alpha 0.9: not run


def test_pictures_are_png_at_150_dpi(written):
    from PIL import Image

    folder, _ = written
    with Image.open(folder / "figures" / "curves.en.png") as picture:
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert (
            picture.info["Description"]
            == "Loss and accuracy over the epochs; its numbers stand in the tables of the study."
        )


def test_a_pdf_embeds_its_fonts_and_says_what_it_shows(written):
    folder, _ = written
    pdf = (folder / "figures" / "curves.en.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # TrueType
    assert b"/Type3" not in pdf
    assert b"/Title (Loss and accuracy over the epochs)" in pdf
    assert b"CreationDate" not in pdf


def test_a_drawing_shows_itself_with_its_alt_text(results):
    html = reporting.draw(results, "tr")["effects"]._repr_html_()
    assert '; sayıları çalışmanın tablolarındadır."' in html
    assert "data:image/png;base64," in html


def test_figures_fit_a_paper(results):
    from matplotlib.text import Text

    from kdlib.reporting.core import canvas

    for drawing in reporting.draw(results, "tr").values():
        assert drawing.figure.get_figwidth() in (canvas.COLUMN, canvas.PAGE)
        assert min(text.get_fontsize() for text in drawing.figure.findobj(Text) if text.get_text()) >= 7


def test_turkish_csv_opens_in_a_turkish_spreadsheet(written):
    folder, _ = written
    file = folder / "tables" / "grid.tr.csv"
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    read = pd.read_csv(file, sep=";", decimal=",", encoding="utf-8-sig")
    assert read.columns[0] == "alpha"
    assert read.loc[0, "rapor"] == 0.6113


def test_findings_are_a_list_under_the_study_title(written):
    folder, _ = written
    lines = (folder / "findings.tr.md").read_text().splitlines()
    assert lines[0] == "# Bulgular: Bilgi damıtma: iki katmanlı CNN için alfa × T"
    assert any("Iraksadığı için" in line for line in lines)


def test_a_table_that_cannot_be_right_stops_before_anything_is_written(results, tmp_path):
    broken = results.study.tables[1].model_copy(update={"columns": [schema.Column(label="all")]})
    rows = [row.model_copy(update={"reported": []}) for row in broken.rows]
    study = results.study.model_copy(update={"tables": [broken.model_copy(update={"rows": rows})]})
    with pytest.raises(UserError, match=r"table grid: .* differ in T"):
        reporting.write(reporting.Results(study, results.conditions, results.records, "quick"), tmp_path / "out", "en")
    assert not (tmp_path / "out").exists()


def test_one_epoch_and_no_runs_at_all_can_be_drawn(results, tmp_path):
    study, conditions = results.study, results.conditions
    records = records_of(conditions, tmp_path / "runs", outcome, epochs=1, test_size=20)
    short = reporting.draw(reporting.Results(study, conditions, records, "smoke"), "en")
    assert set(short) == set(STEMS)
    assert short["curves"].svg().count(b"<path") > 20
    assert reporting.draw(reporting.Results(study, conditions, {}, "smoke"), "en") == {}


def test_where_everything_diverged_figures_say_so(results, tmp_path):
    gone = {"reason": "the loss or the logits became NaN or infinite", "epoch": 1}
    records = records_of(results.conditions, tmp_path / "runs", lambda a: Outcome(0.1, diverged=gone), test_size=20)
    drawn = reporting.draw(reporting.Results(results.study, results.conditions, records, "smoke"), "en")
    assert drawn["heatmap-cnn2-sgd"].svg().count(">†2/2</text>".encode()) == 9
    assert "effects" not in drawn


def test_importing_reporting_loads_nothing_heavy():
    code = (
        "import sys, kdlib.reporting\n"
        "print(sorted({'torch', 'matplotlib', 'seaborn', 'pandas', 'babel'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_drawing_never_loads_torch():
    code = (
        "import sys\n"
        "from kdlib.reporting import curves, forest, writing\n"
        "from kdlib.reporting.distillation import heatmap, temperature\n"
        "print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
