"""Methods side by side: the table, the figure and the sentences say what the records bear out, and no more."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from methods_data import methods_results
from report_data import Outcome, condition, records_of, study_of, table_of

from kdlib.reporting import all_runs
from kdlib.reporting.core import names
from kdlib.reporting.core.names import METHODS
from kdlib.reporting.core.results import Results
from kdlib.reporting.distillation import methods
from kdlib.reporting.figures import draw
from kdlib.reporting.tables import report_table, tables
from kdlib.studies import schema

NAN = {"reason": "the loss or the logits became NaN or infinite", "epoch": 2}
ALONE = [0.700, 0.705, 0.710]
DISTILLED = {None: [0.715, 0.722, 0.719], "dkd": [0.735, 0.742, 0.739], "at": [0.69, 0.68, 0.705], "sp": [0.72] * 3}


def sheet(results):
    (found,) = methods.sheets(results)
    return found


def shown(results, lang="en") -> dict[str, list[str]]:
    """Method -> its cells as a reader sees them."""
    frame = sheet(results).frame(lang)
    return {label[0]: list(row) for label, row in zip(frame.index, frame.to_numpy().tolist(), strict=True)}


def figures(*kinds):
    return [SimpleNamespace(kind=kind, model=None, recipe=None) for kind in kinds]


# The table


def test_a_row_for_the_student_alone_and_one_for_each_method(tmp_path):
    found = shown(methods_results(tmp_path, ALONE, DISTILLED))
    assert list(found) == ["Student alone", "KD (Hinton)", "DKD", "AT (attention transfer)", "SP (similarities)"]
    # differences 1.5, 1.7, 0.9: mean 1.3667, sd 0.41633, half width 4.303 * 0.41633 / sqrt(3) = 1.0343
    assert found["KD (Hinton)"][:3] == ["71.87 ± 0.35", "3", "+1.37 [+0.33; +2.40]"]
    assert found["Student alone"][:3] == ["70.50 ± 0.50", "3", "–"]


def test_the_table_in_turkish(tmp_path):
    found = shown(methods_results(tmp_path, ALONE, DISTILLED), "tr")
    assert found["KD (Hinton)"][:3] == ["71,87 ± 0,35", "3", "+1,37 [+0,33; +2,40]"]
    assert found["AT (dikkat aktarımı)"][-1] == "öznitelikler"


def test_time_of_a_step_against_the_student_alone(tmp_path):
    seconds = {None: 3.0, "at": 5.0}
    found = shown(methods_results(tmp_path, ALONE, DISTILLED, seconds=seconds))
    # 6400 images in batches of 128 are 50 steps, 5 epochs of them 250: 2.5 s are 10 ms a step
    assert found["Student alone"][3:5] == ["1.00", "10.0"]
    assert found["KD (Hinton)"][3:5] == ["1.20", "12.0"]
    assert found["AT (attention transfer)"][3:5] == ["2.00", "20.0"]


def test_a_batch_of_one_image_is_no_step(tmp_path):
    results = methods_results(tmp_path, 0.7, DISTILLED)
    record = results.records["alone-0"]
    record.run["dataset"]["sizes"]["train"] = 6401  # 50 whole batches and one image that is left out
    assert methods.step_ms(record) == pytest.approx(10.0)
    record.run["dataset"]["sizes"]["train"] = 6402
    assert methods.step_ms(record) == pytest.approx(2500 / 255)


def test_a_run_of_another_group_is_marked_and_one_of_another_machine_not_compared(tmp_path):
    results = methods_results(tmp_path, ALONE, DISTILLED, groups={"sp": {"size": 1, "seconds": 9.0}})
    for seed in range(3):
        results.records[f"at-{seed}"].run["hardware"] = {"processor": "another"}
    found = shown(results)
    assert found["SP (similarities)"][3] == "1.00‡"
    assert found["AT (attention transfer)"][3] == "–"
    assert any(note.startswith("‡") for note in sheet(results).notes("en"))


def test_where_each_method_looks(tmp_path):
    results = methods_results(tmp_path, ALONE, DISTILLED, layers={"at": ["layer2:layer3", "layer4"]})
    looks = {method: row[-1] for method, row in shown(results).items()}
    assert looks == {
        "Student alone": "–",
        "KD (Hinton)": "logits",
        "DKD": "logits",
        "AT (attention transfer)": "features: layer2:layer3, layer4",
        "SP (similarities)": "features",
    }


def test_where_it_looked_in_the_end_is_said_if_it_is_on_record(tmp_path):
    results = methods_results(tmp_path, ALONE, DISTILLED)
    for seed in range(3):
        results.records[f"sp-{seed}"].run["taps"] = [["layer3", "layer3"], ["pool", "layer4"]]
    assert shown(results)["SP (similarities)"][-1] == "features: layer3, pool:layer4"


def test_a_temperature_is_said_only_where_there_is_one(tmp_path):
    frame = sheet(methods_results(tmp_path, ALONE, DISTILLED)).frame("en")
    assert dict(list(frame.index)) == {
        "Student alone": "",
        "KD (Hinton)": "T = 4, α = 0.9, λ = 0.1",
        "DKD": "T = 4, α = 1, λ = 1",
        "AT (attention transfer)": "α = 1, λ = 1",
        "SP (similarities)": "α = 1, λ = 1",
    }


def test_one_seed_draws_the_test_images(tmp_path):
    results = methods_results(tmp_path, 0.70, {None: 0.71, "sp": 0.72})
    assert shown(results)["SP (similarities)"][:2] == ["72.00", "1"]
    assert shown(results)["SP (similarities)"][2].startswith("+2.00 [+1.")
    assert "of fewer than three over their test images" in sheet(results).legend("en")


def test_diverged_runs_enter_no_mean_and_are_marked(tmp_path):
    sp = [0.72, Outcome(0.1, diverged=NAN), 0.73]
    results = methods_results(tmp_path, ALONE, {**DISTILLED, "sp": sp})
    assert shown(results)["SP (similarities)"][:2] == ["72.50 ± 0.71 †1", "2"]
    # seeds 0 and 2 are shared: 2.0 and 2.0, too few for an interval over seeds
    assert shown(results)["SP (similarities)"][2].startswith("+2.00 [+1.")
    assert any(note.startswith("†") for note in sheet(results).notes("tr"))


def test_a_study_of_one_method_has_no_such_table(tmp_path):
    results = methods_results(tmp_path, ALONE, {None: DISTILLED[None]})
    assert methods.sheets(results) == []
    assert "methods" not in [table.id for table in tables(results)]
    assert "methods" in [table.id for table in tables(methods_results(tmp_path / "b", ALONE, DISTILLED))]


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_the_table_in_every_format(tmp_path, lang):
    found = sheet(methods_results(tmp_path, ALONE, DISTILLED))
    assert "DKD" in found.html(lang)
    assert found.markdown(lang).count("\n|") == 1 + 1 + 5  # the head, its line, five rows
    assert found.latex(lang).count(r"\toprule") == 1
    assert len(found.csv(lang).splitlines()) == 1 + 5 * 6


def test_another_method_is_no_answer_to_the_reports_numbers(tmp_path):
    rows = [{"label": ["KD"], "where": {"role": "student", "T": 4.0}, "reported": [91.0]}]
    study = study_of(tables=[table_of(rows)], loss="weighted_kl")
    theirs = report_table(methods_results(tmp_path, ALONE, {"dkd": 0.9}, study=study), study.tables[0])
    assert theirs.frame("en").to_numpy().tolist() == [["– / 91"]]
    assert any("in that of methods" in note for note in theirs.notes("en"))
    mixed = methods_results(tmp_path / "both", ALONE, {None: 0.8, "dkd": 0.9}, study=study)
    assert report_table(mixed, study.tables[0]).frame("tr").to_numpy().tolist() == [["80,00 / 91"]]


# Names


def test_a_setting_says_its_method_where_some_run_has_one(tmp_path):
    results = methods_results(tmp_path, ALONE, DISTILLED)
    said = {lang: [names.setting(results, w, lang) for w in results.settings(role="student")] for lang in ("en", "tr")}
    assert said["en"][0] == "KD (Hinton), T = 4, α = 0.9, λ = 0.1"
    assert said["en"][3] == "SP (similarities), α = 1, λ = 1"
    assert said["tr"][0] == "KD (Hinton); T = 4; α = 0,9; λ = 0,1"
    assert said["tr"][3] == "SP (benzerlikler); α = 1; λ = 1"
    plain = methods_results(tmp_path / "plain", ALONE, {None: 0.7})
    assert names.setting(plain, plain.settings(role="student")[0], "en") == "T = 4, α = 0.9, λ = 0.1"


def test_methods_of_one_setting_each_are_called_by_their_name(tmp_path):
    results = methods_results(tmp_path, ALONE, DISTILLED)
    wheres = results.settings(role="student")
    assert names.compact(results, wheres, "en")[1][:2] == ["KD (Hinton)", "DKD"]
    assert names.compact(results, wheres[3:], "en") == ("", ["SP (similarities), α = 1, λ = 1"])


def test_a_studys_own_name_for_a_method_wins(tmp_path):
    study = study_of(labels={"sp": {"en": "Mine", "tr": "Benim"}}, loss="weighted_kl")
    results = methods_results(tmp_path, ALONE, DISTILLED, study=study)
    assert names.method(study, "sp", "tr") == "Benim"
    assert "Mine" in shown(results)
    assert names.method(study, "somebody_elses", "en") == "somebody_elses"


def test_the_table_of_all_runs_has_a_column_for_the_method(tmp_path):
    spec = all_runs.spec(methods_results(tmp_path, ALONE, DISTILLED))
    heads = [head if isinstance(head, str) else head["en"] for head in spec.head]
    assert heads == ["Model", "Training", "Recipe", "Method", "T", "α", "λ"]
    cold = all_runs.spec(methods_results(tmp_path / "cold", ALONE, {"sp": 0.7, "at": 0.7}))
    assert "T" not in cold.head
    plain = all_runs.spec(methods_results(tmp_path / "plain", ALONE, {None: 0.7}))
    assert [head if isinstance(head, str) else head["en"] for head in plain.head] == heads[:3] + heads[4:]


def test_two_methods_are_not_averaged(tmp_path):
    results = methods_results(tmp_path, ALONE, {"sp": 0.72, "at": 0.68})
    with pytest.raises(Exception, match="differ in method"):
        results.cell({"role": "student"})
    assert results.cell({"role": "student", "method": "sp"}).mean == 0.72


def test_a_study_without_a_report_says_nothing_of_one(tmp_path):
    study = study_of(loss="weighted_kl", report=False)
    assert names.provenance(methods_results(tmp_path, 0.7, DISTILLED, study=study), "en").startswith(
        "Profile: reduced; data: cifar10"
    )


# Figures


def test_the_figure_has_a_row_for_each_method_with_its_seeds(tmp_path):
    drawing = draw(methods_results(tmp_path, ALONE, DISTILLED, figures=figures("effects")), "tr")["effects"]
    (ax,) = drawing.figure.axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert [label.split(";")[0] for label in labels[1:]] == [names.method(study_of(), m, "tr") for m in DISTILLED]
    assert ax.yaxis.get_inverted()  # the study's order from the top
    assert "+1,37 [+0,33; +2,40]" in [text.get_text() for text in ax.texts]
    assert sorted(ax.collections[0].get_offsets()[:, 0]) == pytest.approx([0.9, 1.5, 1.7])
    assert list(ax.lines[0].get_xdata()) == pytest.approx([0.3324, 2.4009], abs=1e-3)
    assert drawing.png()
    assert drawing.svg()


def test_without_the_student_alone_there_is_no_figure(tmp_path):
    results = methods_results(tmp_path, Outcome(0.1, diverged=NAN), DISTILLED, figures=figures("effects"))
    assert draw(results, "en") == {}
    assert shown(results)["DKD"][2] == "–"


def test_no_axis_of_temperatures_for_methods_without_one(tmp_path):
    kinds = figures("temperature", "heatmap", "curves")
    cold = draw(methods_results(tmp_path, ALONE, {"sp": 0.72, "at": 0.68}, figures=kinds), "en")
    assert list(cold) == ["curves"]
    mixed = draw(methods_results(tmp_path / "mixed", ALONE, DISTILLED, figures=kinds), "en")
    labels = mixed["temperature"].figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["alone", "KD (Hinton), α = 0.9, λ = 0.1", "DKD, α = 1, λ = 1"]


def test_many_methods_are_lines_of_their_own_and_no_colour_bar(tmp_path):
    many = dict.fromkeys([None, "kd_std", "dkd", "dist", "fitnets", "at", "sp", "rkd"], 0.7)
    drawing = draw(methods_results(tmp_path, ALONE, many, figures=figures("curves")), "en")["curves"]
    assert len(drawing.figure.axes) == 2  # one row: loss and accuracy
    labels = drawing.figure.axes[1].get_legend_handles_labels()[1]
    assert labels == ["alone", *(names.method(study_of(), method, "en") for method in many)]


def test_a_grid_of_one_method_is_a_map_of_its_own(tmp_path):
    conditions = [
        condition("baseline", "m"),
        *(_of("dkd", T, alpha) for T in (1, 2) for alpha in (0.1, 0.9)),
        _of("sp", None, 0.5),
    ]
    results = Results(
        study_of(figures=figures("heatmap")),
        conditions,
        records_of(conditions, tmp_path, lambda a: 0.7, test_size=50),
        "quick",
    )
    assert list(draw(results, "en")) == ["heatmap-dkd"]
    assert "DKD" in draw(results, "en")["heatmap-dkd"].title


def _of(method, T, alpha):
    return replace(condition("student", "m", T=T, alpha=alpha, id=f"{method}-{T}-{alpha}"), method=method)


# Sentences


def test_one_method_at_several_weights_is_no_comparison_of_methods(tmp_path):
    conditions = [condition("baseline", "m"), _of("sp", None, 0.1), _of("sp", None, 0.9)]
    results = Results(study_of(), conditions, records_of(conditions, tmp_path, lambda a: 0.7, test_size=50), "quick")
    assert len(methods.sheets(results)) == 1


# Texts


def test_every_method_of_the_study_has_a_name():
    points = schema.load("kd_methods").points
    assert {point.loss for point in points} - {"weighted_kl"} <= set(METHODS)
