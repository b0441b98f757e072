"""Transfer learning in sentences, tables and figures: numbers by hand, and no more than they bear out."""

import json
from types import SimpleNamespace

import pytest
from report_data import DATASET, Outcome, study_of, table_of
from transfer_data import SOURCE_DATA, VARIANTS, distilled_results, transfer_results

from kdlib.errors import UserError
from kdlib.reporting import draw, findings, tables
from kdlib.reporting.core import names
from kdlib.reporting.core.names import layers
from kdlib.reporting.reading import read
from kdlib.studies import schema
from kdlib.studies.records import Condition, write_conditions

ONE = {"head": 0.5, "4": 0.6, "3-4": 0.66, "2-3-4": 0.7, "all": 0.69, "scratch": 0.64}
FIGURES = [SimpleNamespace(kind=kind, model=None, recipe=None) for kind in ("transfer", "curves")]
LABELS = {"net": "Net", "adam128": "Adam", "sgd128": "SGD", "m": "Small", "big": "Big"}


def study(name="tr_transfer", **more):
    return study_of(**{"name": name, "labels": LABELS, "figures": FIGURES, **more})


def kd(**more):
    return study_of(name="tr_kd", labels=LABELS, loss="weighted_kl", **more)


def said(tmp_path, outcomes, lang="en", **options) -> str:
    return "\n".join(findings(transfer_results(tmp_path, outcomes, study(), **options), lang))


def test_a_diverged_variant_is_named_and_left_out(tmp_path):
    bad = Outcome(0.1, diverged={"reason": "accuracy fell back to guessing", "epoch": 3})
    lines = findings(transfer_results(tmp_path, {**ONE, "all": bad}, study()), "en")
    assert lines[-1].startswith("Diverged and left out of every mean: Net, transfer: all layers, seed 0, epoch 3")
    assert "11,342,794" not in "\n".join(lines)


def test_weights_from_outside_are_named(tmp_path):
    results = transfer_results(tmp_path, ONE, study())
    results.conditions = [condition for condition in results.conditions if condition.role == "transfer"]
    results.records.pop("source")
    for record in results.records.values():
        if "weights" in record.run["config"]:
            record.run["config"]["weights"]["from"] = "imagenet"
    assert "Transfer starts from weights that were not trained here: imagenet." in findings(results, "en")[1]


ROWS = [
    {"label": ["Distilled"], "study": "tr_kd", "where": {"role": "student", "model": "m"}, "reported": [88.9]},
    {"label": ["Transfer"], "where": {"role": "transfer", "variant": "2-3-4"}, "reported": [86.3]},
]
COLUMNS = [{"label": "Adam", "where": {"recipe": "adam128"}}]


def test_a_row_shows_the_runs_of_the_study_beside(tmp_path):
    beside = {"tr_kd": distilled_results(tmp_path / "kd", {"m": 0.72}, kd())}
    made = study(tables=[table_of(ROWS, COLUMNS)])
    table = tables(transfer_results(tmp_path, ONE, made, beside=beside))[1]
    assert [row[0].number for row in table.cells] == pytest.approx([72.0, 70.0])
    notes = table.notes("en")
    assert len(notes) == 2
    assert notes[0].startswith("Study tr_transfer. Profile: quick")
    assert notes[1].startswith("Study tr_kd. Profile: quick")
    assert "epochs: 4" in notes[1]


def test_a_study_beside_that_was_not_run_leaves_dashes_and_says_how_to_run_it(tmp_path):
    made = study(tables=[table_of(ROWS, COLUMNS)])
    table = tables(transfer_results(tmp_path, ONE, made))[1]
    assert table.frame("en")["Adam"].tolist() == ["– / 88.9", "70.00 / 86.3"]
    assert table.notes("en")[1] == (
        "Study tr_kd is not shown: it has not been run in profile quick. To run it: kdlib run tr_kd --profile quick"
    )
    assert table.notes("tr")[1].endswith("Çalıştırmak için: kdlib run tr_kd --profile quick")


def test_all_runs_names_open_layers_only_where_there_are_some(tmp_path):
    made = tables(transfer_results(tmp_path, ONE, study()))[-1]
    assert made.head("tr") == ["Model", "Eğitim", "Eğitim ayarları", "Eğitilen katmanlar"]
    assert made.row_labels("tr")[0] == ["Net", "kaynak görev", "kaynak görev", ""]
    assert made.row_labels("en")[1] == ["Net", "transfer", "Adam", "classifier only"]
    # the source task's accuracy is no rival of transfer's
    assert [row[0].best for row in made.cells] == [False, False, False, False, True, False, False]
    other = tables(distilled_results(tmp_path / "kd", {"m": 0.72}, kd()))[-1]
    assert other.head("en") == ["Model", "Training", "Recipe", "T", "α", "λ"]


def test_a_source_task_is_no_student_and_its_data_no_change(tmp_path):
    results = distilled_results(tmp_path, {"m": 0.72}, kd())
    results.conditions.insert(0, Condition("source", "m", "source", 0, None, None, None, "teacher"))
    results.records["teacher"].run["dataset"] = {**SOURCE_DATA, "sizes": DATASET["sizes"]}
    assert names.recipes(results) == ["adam128"]
    text = "\n".join(findings(results, "en"))
    assert "Small, T = 2, α = 0.5, λ = 0.5 72.00" in text
    assert "alone" not in text
    paper = {"data": {"name": "cifar10"}}
    transfer = transfer_results(tmp_path / "t", ONE, study(profiles={"paper": paper}), profile="paper")
    assert transfer.changed == []
    assert names.provenance(transfer, "en").startswith("Profile: paper (the report's own settings)")


def read_study(tmp_path, folders=("tr_transfer",)):
    for name in folders:
        condition = {"role": "teacher", "model": "m", "recipe": "r", "seed": 0, "T": None, "alpha": None, "lam": None}
        (tmp_path / name).mkdir(parents=True)
        about = {
            "study": name,
            "profile": "quick",
            "arms": [{**condition, "id": "x"}],
        }  # as runs.json was before variants
        (tmp_path / name / "runs.json").write_text(json.dumps(about))
    return read(tmp_path / "tr_transfer")


def test_reading_takes_studies_beside_from_the_folders_next_to_it(tmp_path):
    alone = read_study(tmp_path / "a")
    assert alone.folder == tmp_path / "a" / "tr_transfer"
    assert alone.beside == {}
    both = read_study(tmp_path / "b", ("tr_transfer", "tr_kd"))
    assert both.beside["tr_kd"].study.name == "tr_kd"
    assert both.conditions[0].variant is None


def test_reading_keeps_the_variant(tmp_path):
    conditions = [Condition("transfer", "m", "r", 0, None, None, None, "x", "3-4")]
    write_conditions(tmp_path / "tr_transfer", conditions, {"study": "tr_transfer", "profile": "quick"})
    assert read(tmp_path / "tr_transfer").conditions == conditions


def test_a_row_of_a_study_that_is_not_beside_is_refused():
    said = {**schema.load("tr_transfer").model_dump(), "beside": []}
    table = table_of(ROWS, COLUMNS)
    with pytest.raises(ValueError, match="row study 'tr_kd' is not among beside"):
        type(schema.load("tr_transfer")).model_validate({**said, "tables": [table.model_dump()]})
    assert type(schema.load("tr_transfer")).model_validate(
        {**said, "tables": [table.model_dump()], "beside": ["tr_kd"]}
    )


def test_cells_do_not_mix_open_layers(tmp_path):
    with pytest.raises(UserError, match="differ in variant"):
        transfer_results(tmp_path, ONE, study()).cell({"role": "transfer", "recipe": "adam128"})


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_figures_of_transfer(tmp_path, lang):
    drawn = draw(transfer_results(tmp_path, ONE, study(), recipes=("adam128", "sgd128")), lang)
    assert set(drawn) == {"transfer", "curves"}
    ax = drawn["transfer"].figure.axes[0]
    assert ax.get_xscale() == "log"
    points = [tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() not in ("None", None, "")]
    assert (11_185_290, 70.0) in [(x, pytest.approx(y)) for x, y in points]
    assert len(points) == len(VARIANTS)
    expected = "11.185.290 eğitilebilir, dondurulmuş %1,4" if lang == "tr" else "11,185,290 trainable, 1.4% frozen"
    assert expected in [text.get_text().split("\n")[1] for text in ax.get_legend().get_texts()]
    assert len(drawn["curves"].figure.axes) == 2 * 3  # the source task, and a row a column


def test_figures_of_distillation_show_nothing_of_transfer(tmp_path):
    kinds = [SimpleNamespace(kind=kind, model=None, recipe=None) for kind in ("temperature", "heatmap")]
    assert draw(transfer_results(tmp_path, ONE, study(figures=kinds)), "en") == {}
    only = [SimpleNamespace(kind="transfer", model=None, recipe=None)]
    assert draw(distilled_results(tmp_path / "kd", {"m": 0.72}, kd(figures=only)), "en") == {}


def test_without_runs_of_transfer_the_source_is_drawn(tmp_path):
    results = transfer_results(tmp_path, ONE, schema.load("tr_transfer"))
    results.records = {id: record for id, record in results.records.items() if id == "source"}
    assert set(draw(results, "en")) == {"curves"}


def test_names_of_open_layers():
    made = schema.load("tr_transfer")
    assert layers(made, "4", "tr") == "4. katman"
    assert layers(made, "2-3-4", "tr") == "2–4. katmanlar"
    choices = made.with_("reduced", {}).choices["timm/tf_efficientnet_lite0"]
    said = ["yalnızca sınıflandırıcı", "son aşama", "bütün katmanlar", "sıfırdan"]
    assert [layers(made, name, "tr") for name in choices] == said
    assert layers(made, "mine", "en") == "mine"
    assert layers(made, None, "en") == ""
