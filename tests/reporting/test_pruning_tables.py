"""Tables of the pruning studies: cells by hand, beside the report's, and left out where their runs are."""

import pytest
from pruning_data import measured, results

from kdlib.reporting.core.results import Results
from kdlib.reporting.pruning import tables as pruning_tables
from kdlib.reporting.tables import tables

ALL = ["comparison", "settings", "latency", "configuration", "strategies", "reference"]


def sheets(*args, **options) -> dict:
    return {sheet.id: sheet for sheet in pruning_tables.sheets(results(*args, **options))}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return sheets(tmp_path_factory.mktemp("pruning"), test_size=200)


def cells(sheet, lang="en") -> list[list[str]]:
    return sheet.frame(lang).to_numpy().tolist()


def labels(sheet, lang="en") -> list:
    return sheet.frame(lang).index.tolist()


def test_every_sheet_is_there_in_order_and_renders_in_every_format(made):
    assert list(made) == ALL
    for sheet in made.values():
        for lang in ("en", "tr"):
            assert all((sheet.html(lang), sheet.markdown(lang), sheet.latex(lang), sheet.csv(lang), sheet.title(lang)))
            assert "{" not in sheet.markdown(lang)


def test_tables_hold_them(tmp_path):
    found = [table.id for table in tables(results(tmp_path, seeds=(0,), beside=False, test_size=200))]
    assert found == ["verdicts", *(id for id in ALL if id != "strategies"), "all_runs"]


def test_a_study_that_prunes_nothing_has_none(tmp_path):
    whole = results(tmp_path, seeds=(0,), beside=False)
    whole.study.pruning = None
    assert pruning_tables.sheets(whole) == []
    assert pruning_tables.sheets(Results(results(tmp_path).study, [], {}, "quick")) == []


def test_configuration_stands_beside_the_reports(made):
    assert dict(zip(labels(made["configuration"]), cells(made["configuration"]), strict=True)) == {
        "Model": ["EfficientNet-B4", "EfficientNet-B4"],
        "Data": [
            "Food-101, 19,392 training, 4,848 validation, 200 test images",
            "Food-101 (75,750 training, 25,250 test images)",
        ],
        "Image size (pixels)": ["64×64", "380×380"],
        "Pruning ratio (share of channels)": ["10%", "10%"],
        "Scope": ["global", "global"],
        "Iterative steps": ["1", "1"],
        "Fine-tuning epochs": ["4", "10"],
        "Calibration batches": ["20 (640 images)", "100"],
    }
    turkish = dict(zip(labels(made["configuration"], "tr"), cells(made["configuration"], "tr"), strict=True))
    assert turkish["Budama oranı"] == ["%10", "%10"]
    assert turkish["Veri"][0] == "Food-101, 19.392 eğitim, 4.848 doğrulama, 200 test görüntüsü"


def test_a_configuration_of_plain_numbers_is_written_as_ours(tmp_path):
    said = {"image_size": 380, "ratio": 0.1, "scope": "global", "train_images": 75750, "classes": 101, "optimizer": "x"}
    found = sheets(tmp_path, seeds=(0,), beside=False, pruning={"configuration": said})["configuration"]
    assert cells(found, "tr") == [
        *(["64×64", "380×380"], ["%10", "%10"], ["global", "global"], ["19.392", "75.750"], ["101", "101"]),
        ["–", "x"],
    ]


def test_comparison_has_the_reports_columns_and_rows(made):
    sheet = made["comparison"]
    assert labels(sheet) == ["Original", "Coverage", "Wanda", "Magnitude", "Taylor", "Random"]
    first = cells(sheet)[0]
    assert first[0] == "80.00 / 89.20"
    assert first[1] == first[2] == first[3] == first[5] == first[8] == "– / –"
    assert (first[6], first[7]) == ("20.00 / 0.588", "4.61 / 4.61")
    # seeds 0.775 and 0.777: mean 77.60, sd 0.14; MACs left 1 - 0.12 - 0.03: 0.85 of 4.61 G
    taylor = cells(sheet)[4]
    # and of the original's 80 it keeps 97.0 %; the report 87.99 of 89.20
    assert taylor[:4] == ["77.60 ± 0.14 / 87.99", "1 / 1", "97.0 / 98.6", "-2.40 / -1.21"]
    assert taylor[7:] == ["3.92 / 4.11", "-15.0 / -10.9"]
    assert cells(sheet, "tr")[4][:4] == ["77,60 ± 0,14 / 87,99", "1 / 1", "97,0 / 98,6", "-2,40 / -1,21"]
    assert cells(sheet)[5][1] == "5 / –"
    assert not any(row[0].best for row in sheet.cells)  # 0.4 points on 200 images show nothing
    assert [row[0].reported_best for row in sheet.cells] == [False, False, False, False, True, False]
    assert cells(sheet)[5][0].endswith("/ –")


def test_sizes_are_those_of_the_records(tmp_path):
    found = results(tmp_path, seeds=(0,), beside=False)
    for record in found.records.values():
        if "pruning" in record.run:
            record.run["pruning"]["size_bytes"] = [68 * 2**20, 51 * 2**20]
    row = cells(pruning_tables.comparison(pruning_tables.read(found)))[4]
    assert row[4:6] == ["51.00 / 59.14", "-25.0 / -13.2"]


def test_comparison_says_what_counts_and_what_cannot_be(made):
    notes = "\n".join(made["comparison"].notes("en"))
    assert "at 380×380 as in the report" in notes
    assert "images of 64×64" in notes
    assert "The report's 5.32 ms for Coverage, Wanda, against 0.58–0.59 ms for the others, cannot come" in notes
    assert "forward hooks" in notes
    turkish = "\n".join(made["comparison"].notes("tr"))
    assert "Raporda ötekiler için verilen 0,58–0,59 ms karşısında Kapsama, Wanda için verilen 5,32 ms" in turkish


def test_the_hooks_go_unsaid_where_the_report_gives_no_latency(tmp_path):
    found = sheets(tmp_path, "ts5", seeds=(0,), beside=False)
    assert "hooks" not in "\n".join(found["comparison"].notes("en"))


def test_a_sure_lead_is_bold(tmp_path):
    given = {("finetuned", "taylor"): 0.95}
    found = sheets(tmp_path, seeds=(0,), given=given, beside=False, test_size=200)
    assert [row[0].best for row in found["comparison"].cells] == [False, False, False, False, True, False]
    assert (
        found["comparison"].legend("en").startswith("One seed; bold: ahead of the next by more than its 95% interval")
    )
    assert sum(row[1].best for row in found["settings"].cells) == 1


def test_ties_share_a_place(tmp_path):
    given = {("finetuned", "magnitude"): 0.78, ("finetuned", "taylor"): 0.70, ("finetuned", "coverage"): 0.70}
    found = sheets(tmp_path, seeds=(0,), given=given, beside=False)["comparison"]
    places = dict(zip(labels(found), (row[1] for row in cells(found)), strict=True))
    assert places == {
        "Original": "– / –",
        **{"Coverage": "3 / 4", "Wanda": "2 / 3", "Magnitude": "1 / 2", "Taylor": "3 / 1", "Random": "5 / –"},
    }


def test_distillation_over_seeds_has_a_paired_interval(tmp_path):
    sheet = sheets(tmp_path, seeds=(0, 1, 2), beside=False)["settings"]
    assert labels(sheet)[0] == ("10% of channels", "Coverage")
    assert [row[0] for row in labels(sheet)[::5]] == [
        "10% of channels",
        "10% of channels, squeeze-excite protected",
        "85% of its MACs kept",
        *("5% of channels", "20% of channels", "30% of channels"),
    ]
    # seeds 0 to 2: 78.7 - 77.5 = 1.2, 79.0 - 77.7 = 1.3, 79.3 - 77.9 = 1.4; half width 4.303 * 0.1 / sqrt(3) = 0.25
    taylor = cells(sheet)[3]
    assert taylor[:3] == ["46.62 ± 0.12", "77.70 ± 0.20", "79.00 ± 0.30"]
    assert taylor[3] == "+1.30 [+1.05; +1.55]"
    assert cells(sheet, "tr")[3][3] == "+1,30 [+1,05; +1,55]"
    assert "leaves out" not in " ".join(sheet.notes("en"))
    assert "T = 4, α = 0.5, λ = 0.5" in sheet.notes("en")[1]


def test_distillation_of_one_seed_draws_the_test_images(tmp_path):
    sheet = sheets(tmp_path, seeds=(0,), beside=False)["settings"]
    taylor = cells(sheet)[3]
    assert taylor[:3] == ["46.50", "77.50", "78.70"]
    assert "[" in taylor[3]
    assert "over the test images: it leaves out the noise between seeds" in " ".join(sheet.notes("en"))


def test_nothing_distilled_leaves_the_plain_columns(tmp_path):
    sheet = sheets(tmp_path, seeds=(0,), roles=("pruned", "finetuned"), beside=False)["settings"]
    assert sheet.columns("en")[:3] == ["Right after pruning", "Fine-tuned", "Channels removed (%)"]


def test_what_is_left_at_each_setting(made):
    rows = dict(zip(labels(made["settings"]), cells(made["settings"]), strict=True))
    assert rows["85% of its MACs kept", "Taylor"][1] == "76.80 ± 0.14"
    assert rows["85% of its MACs kept", "Taylor"][5] == "85.0 ± 0.0"
    protected = rows["10% of channels, squeeze-excite protected", "Taylor"]
    assert (rows["10% of channels", "Taylor"][1], protected[1]) == ("77.60 ± 0.14", "78.20 ± 0.14")
    assert "MAC'lerinin %85'i korunarak" in {setting for setting, _ in labels(made["settings"], "tr")}


def test_whether_cuts_were_checked_is_said(tmp_path):
    found = results(tmp_path, seeds=(0,), settings=("report",), beside=False)
    pruned = [record.run["pruning"] for record in found.records.values() if "pruning" in record.run]
    for one in pruned:
        if one["removed"] == pruned[-1]["removed"]:
            one["check"] = {"verdict": "unchecked: softmax", "kept": ["features.1"]}
    notes = " ".join(pruning_tables.every_setting(pruning_tables.read(found)).notes("en"))
    assert "networks compute what the whole one does without the same channels." in notes
    assert "but for layers that look at all their channels at once: softmax." in notes
    assert "Kept whole, as cut they would compute something else: features.1." in notes


def test_equal_macs_may_have_protected_runs_alone(tmp_path):
    found = results(tmp_path, seeds=(0,), settings=("report", "macs"), beside=False)
    for condition in found.conditions:
        if condition.macs is not None:
            object.__setattr__(condition, "protect_se", True)
    made = {sheet.id: sheet for sheet in pruning_tables.sheets(found)}
    assert "85% of its MACs kept, squeeze-excite protected" in {setting for setting, _ in labels(made["settings"])}


def test_latency_of_both_batch_sizes(made):
    sheet = made["latency"]
    assert sheet.columns("en")[:2] == ["Batch of 1 (ms)", "Ratio to the original, batch of 1"]
    assert labels(sheet)[0] == ("–", "Original")
    assert cells(sheet)[0] == ["20.00 [19.50; 20.90]", "1.00", "300.00 [298.00; 303.00]", "1.00", "0"]
    # 0.85 of the MACs: 300 * (0.2 + 0.8 * 0.85)
    assert cells(sheet)[4][2:4] == ["264.00 [262.24; 266.64]", "0.88"]
    assert cells(sheet, "tr")[4][2] == "264,00 [262,24; 266,64]"
    assert "Some CPU, cores: 2, threads: 1" in sheet.notes("en")[0]
    assert len(labels(sheet)) == 1 + 3 * 5  # the sweep's networks are no rows


def test_the_original_timed_twice_shows_the_noise(tmp_path):
    found = results(tmp_path, seeds=(0,), beside=False)
    said = measured(found.study, [(condition, "") for condition in found.conditions], found.records)
    again = {"1": {"median_ms": 21.0, "q1_ms": 20.5, "q3_ms": 22.0}, "32": said["models"][0]["latency"]["32"]}
    said["models"][0]["latency_again"] = again
    sheet = sheets(tmp_path / "b", seeds=(0,), beside=False, pruned_json=said)["latency"]
    assert labels(sheet)[:2] == [("–", "Original"), ("–", "Original, once more")]
    assert cells(sheet)[1][:2] == ["21.00 [20.50; 22.00]", "1.05"]
    assert any("is noise" in note for note in sheet.notes("en"))


def test_strategies_set_the_studies_beside_each_other(made):
    sheet = made["strategies"]
    rows = dict(zip(labels(sheet), cells(sheet), strict=True))
    assert rows["Taylor", "EfficientNet-B4", "global"][:2] == ["77.60 ± 0.14 / 87.99", "-2.40 / -1.21"]
    assert rows["Taylor", "EfficientNet-B4", "layer-wise"][:2] == ["76.60 ± 0.14 / 86.67", "-2.40 / -2.54"]
    assert rows["Taylor", "ResNet50", "global"][:2] == ["72.60 ± 0.14 / 76.83", "-2.40 / -1.76"]
    assert rows["Magnitude", "EfficientNet-B4", "layer-wise"][2].endswith("/ -18.8")
    assert ("Taylor", "EfficientNet-B4", "katman bazlı") in labels(sheet, "tr")
    assert sheet.legend("en") == ""  # each study has seeds of its own
    assert sum("Mean ± standard deviation over seeds" in note for note in sheet.notes("en")) == 3


def test_a_study_that_was_not_run_is_named(tmp_path):
    found = results(tmp_path, seeds=(0,))
    del found.beside["ts4"]
    sheet = next(sheet for sheet in pruning_tables.sheets(found) if sheet.id == "strategies")
    assert sheet.notes("en")[-1] == (
        "Study ts4 is not shown: it has not been run in profile quick. To run it: kdlib run ts4 --profile quick"
    )


def test_reference_is_the_counted_structure(made):
    sheet = made["reference"]
    assert cells(sheet) == [
        ["68.11 / 68.11", "– / –", "4.61 / 4.61"],
        ["55.34 / –", "-18.75 / -18.8", "3.79 / –"],
        ["56.46 / –", "-17.11 / -18.8", "3.79 / –"],
    ]
    assert labels(sheet)[1] == "layer-wise, 10% of channels, squeeze-excite open"
    assert (
        "One row comes to the report's change of size (-18.8%): layer-wise, 10% of channels, squeeze-excite open."
        in sheet.notes("en")
    )
    assert cells(sheet, "tr")[1][1] == "-18,75 / -18,8"


def test_what_a_report_gave_stands_beside_though_its_study_was_not_run(tmp_path):
    found = sheets(tmp_path, seeds=(0,), beside=False)["reference"]
    assert cells(found)[1][1] == "-18.75 / -18.8"


def test_published_records_without_measurements_keep_the_rest(tmp_path):
    found = sheets(tmp_path, pruned_json=False, published=True)
    assert set(ALL) - set(found) == {"latency", "reference"}
    assert cells(found["comparison"])[4][6:] == ["– / 0.59", "– / 4.11", "– / -10.9"]


def test_each_sheet_leaves_itself_out_without_its_runs(tmp_path):
    assert list(sheets(tmp_path, seeds=(0,), settings=("report",), beside=False)) == [
        *("comparison", "settings", "latency", "configuration", "reference"),
    ]
    only = sheets(tmp_path / "b", seeds=(0,), roles=("pruned",), beside=False)
    assert list(only) == ["latency", "reference"]


def test_resnet_has_no_open_bottlenecks(tmp_path):
    found = sheets(tmp_path, "ts4", seeds=(0,))
    assert cells(found["reference"]) == [["68.11", "–", "4.61"]]


def test_a_diverged_run_is_marked_and_left_out(tmp_path):
    bad = {"diverged": {"reason": "accuracy fell back to guessing", "epoch": 2}}
    found = sheets(tmp_path, given={("finetuned", "taylor"): [0.775, bad]}, beside=False)
    assert cells(found["comparison"])[4][0] == "77.50 †1 / 87.99"
    assert any("†k" in note for note in found["comparison"].notes("en"))
    given = {("finetuned", "taylor"): [bad, bad]}
    assert "Taylor" not in labels(sheets(tmp_path / "b", given=given, beside=False)["comparison"])


def test_a_measurement_without_batch_one_is_a_dash(tmp_path):
    found = results(tmp_path, seeds=(0,), beside=False)
    plan = [(condition, "") for condition in found.conditions]
    said = measured(found.study, plan, found.records)
    for model in said["models"]:
        model["latency"] = {"2": model["latency"]["1"]}
    other = sheets(tmp_path / "b", seeds=(0,), beside=False, pruned_json=said)
    assert cells(other["comparison"])[4][6] == "– / 0.59"
    assert other["latency"].columns("en")[0] == "Batch of 2 (ms)"
