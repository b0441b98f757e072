"""Clinical tables and findings from faked records: numbers, verdicts, both languages, and what is left out when."""

import numpy as np
import pytest
import radiology_data
from radiology_data import clinical_study, conditions, record, results
from report_data import study_of

from kdlib.reporting.core.results import Results, estimate
from kdlib.reporting.radiology import tables as clinical
from kdlib.reporting.radiology.findings import Fit, findings, fit
from kdlib.reporting.radiology.study import paired, read
from kdlib.studies import schema

DISCLAIMER = {"en": "no medical device", "tr": "tıbbi cihaz değildir"}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return results(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return results(tmp_path_factory.mktemp("three"), seeds=(0, 1, 2), rise=0.4)


def sheet(found, id):
    return next(s for s in clinical.sheets(found) if s.id == id)


def exact(counts: tuple[int, int, int, int], folder, *, groups=False, study=None):
    """Three models with one confusion matrix (tn, fp, fn, tp)."""
    labels = np.repeat([0, 0, 1, 1], counts)
    called = np.repeat([0, 1, 0, 1], counts)
    logits = np.eye(2, dtype=np.float32)[called] * 2
    who = np.arange(len(labels)) if groups else None
    found = {of.id: record(folder, of, logits, labels, who) for of in conditions()}
    return Results(study or clinical_study(), conditions(), found, "paper")


def test_a_study_that_is_no_clinical_one_has_nothing():
    plain = Results(study_of(), [], {}, "quick")
    assert clinical.sheets(plain) == []
    assert findings(plain, "en") == []


def test_a_clinical_study_without_runs_has_nothing():
    assert clinical.sheets(Results(clinical_study(), conditions(), {}, "quick")) == []


def test_the_confusion_table_by_hand(tmp_path):
    frame = sheet(exact((6, 2, 1, 11), tmp_path), "clinical_confusion").frame("en")
    teacher = frame.loc["Teacher"]
    assert teacher.values.tolist() == [["6 (75.0%)", "2 (25.0%)"], ["1 (8.3%)", "11 (91.7%)"]]
    assert frame.columns.tolist() == ["Called normal", "Called pneumonia"]


def test_the_test_table_by_hand(tmp_path):
    row = sheet(exact((6, 2, 1, 11), tmp_path), "clinical_test").cells[0]
    accuracy, reported, auroc, sensitivity, specificity, f1, _ = [cell.number for cell in row]
    assert (accuracy, sensitivity, specificity) == pytest.approx((85.0, 100 * 11 / 12, 75.0))
    assert f1 == pytest.approx(22 / 25)
    assert auroc == pytest.approx((11 / 12 + 0.75) / 2)  # two probabilities only: the curve has one corner
    assert reported == 80.12


def test_the_reports_accuracies_stand_beside_teacher_and_student_with_teacher(one):
    frame = sheet(one, "clinical_test").frame("tr")
    assert frame["Doğruluk, rapor (%)"].tolist() == ["80,12", "–", "79,80"]


def test_without_reported_numbers_there_is_no_such_column(tmp_path):
    study = clinical_study(clinical=schema.Clinical(positive=1))
    found = sheet(results(tmp_path, study=study), "clinical_test")
    assert found.columns("en") == ["Accuracy (%)", "AUROC", "Sensitivity (%)", "Specificity (%)", "F1", "ECE"]


def test_one_seed_has_an_interval_and_no_deviation_and_three_have_both(one, three):
    for found, several in ((one, False), (three, True)):
        for row in sheet(found, "clinical_test").cells:
            assert row[0].interval is not None
            assert (row[0].sd is not None) == several


def test_the_bootstrap_says_what_it_draws(tmp_path, one):
    assert "test patients" in sheet(one, "clinical_test").legend("en")
    found = results(tmp_path, groups=False)
    assert "624 test images" in sheet(found, "clinical_test").legend("en")
    assert any("hasta bilgisi yok" in note for note in sheet(found, "clinical_test").notes("tr"))


def test_the_parts_table_counts_classes_and_patients(one):
    found = sheet(one, "clinical_parts")
    assert found.frame("en").loc["Training"].tolist() == ["4,195", "1,073", "3,122", "74.4%", "1,500"]
    assert any("not corrected" in note for note in found.notes("en"))


def test_balanced_class_weights_are_named(tmp_path):
    found = results(tmp_path, weights="balanced")
    assert any("inverse" in note for note in sheet(found, "clinical_parts").notes("en"))


def test_class_weights_of_some_models_name_them(tmp_path):
    found = results(tmp_path)
    student = next(condition.id for condition in found.conditions if condition.role == "student")
    found.records[student].run["config"]["recipe"]["class_weights"] = "balanced"
    note = next(n for n in sheet(found, "clinical_parts").notes("en") if "class weights" in n)
    assert "for Student with teacher; none for Teacher, Student alone" in note


def test_older_records_without_class_counts_leave_the_parts_out(tmp_path):
    found = results(tmp_path)
    for one in found.records.values():
        del one.run["dataset"]["class_counts"]
    assert [s.id for s in clinical.sheets(found)] == ["clinical_test", "clinical_confusion"]
    assert findings(found, "en")


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_every_rendering_works_in_both_languages(three, lang):
    for found in clinical.sheets(three):
        for made in (found.html(lang), found.markdown(lang), found.latex(lang), found.csv(lang)):
            assert made
            assert "{" not in found.title(lang) + found.legend(lang) + "".join(found.notes(lang))


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_the_last_finding_is_that_this_is_no_medical_device(one, three, lang):
    for found in (one, three):
        lines = findings(found, lang)
        assert DISCLAIMER[lang] in lines[-1]
        assert len(set(lines)) == len(lines)
        assert not any("{" in line for line in lines)


def test_turkish_findings_write_turkish_numbers(one):
    said = " ".join(findings(one, "tr"))
    assert "%62,50" in said
    assert "62.5" not in said


def test_the_constant_answer_is_stated(tmp_path):
    said = findings(exact((6, 2, 1, 11), tmp_path), "en")
    assert "A constant answer “pneumonia” reaches an accuracy of 60.00%, and an AUROC of 0.5." in said


def test_models_at_the_constant_answer_are_named(tmp_path):
    said = findings(exact((1, 7, 1, 11), tmp_path), "en")
    named = "Not shown to lie above it in accuracy: Teacher, Student alone, Student with teacher."
    assert any(line.endswith(named) for line in said)


def test_differences_are_paired_seed_by_seed(three):
    case = read(three).cases[0]
    first, second = case.models["student"], case.models["baseline"]
    patients, seeds = paired(first, second, "accuracy")
    by_hand = [first.by_seed[s].point["accuracy"] - second.by_seed[s].point["accuracy"] for s in range(3)]
    assert seeds.interval == pytest.approx(estimate(by_hand).interval)
    assert patients.mean == seeds.mean == pytest.approx(np.mean(by_hand))
    assert patients.interval[0] < patients.mean < patients.interval[1]
    assert (patients.over, seeds.over, seeds.n) == ("patients", "seeds", 3)


def test_one_teacher_is_set_against_every_seed_of_the_student(tmp_path):
    found = results(tmp_path, seeds=(0, 1))
    found.conditions = [one for one in found.conditions if one.role != "teacher" or one.seed == 0]
    models = read(found).cases[0].models
    assert paired(models["student"], models["teacher"], "auroc")[1].n == 2


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ({"train": 0.1, "val": 0.4, "rise": 0.1}, "overfits"),
        ({"train": 0.1, "val": 0.4, "rise": 0.01}, "gap_only"),
        ({"train": 0.4, "val": 0.4, "rise": 0.1}, "rise_only"),
        ({"train": 0.41, "val": 0.4, "rise": 0.0}, "fits"),
    ],
)
def test_overfitting_is_a_gap_and_a_rise(losses, verdict):
    assert Fit(20, **losses).verdict == verdict
    assert Fit(4, **losses).verdict == "few_epochs"


def test_the_end_of_training_by_hand():
    losses = {"train_loss": np.array([0.9, 0.6, 0.3, 0.3, 0.3]), "val_loss": np.array([0.9, 0.5, 0.4, 0.6, 0.8])}
    found = fit([{"epoch": np.arange(1.0, 6.0), **losses}])
    assert (found.epochs, found.train, found.val) == (5, pytest.approx(0.3), pytest.approx(0.6))
    assert found.rise == pytest.approx(0.1)  # the lowest three in a row: 0.5, 0.4, 0.6


def test_diverged_runs_enter_no_number(tmp_path):
    found = results(tmp_path, seeds=(0, 1))
    bad = next(condition for condition in found.conditions if condition.role == "student" and condition.seed == 1)
    found.records[bad.id].run["diverged"] = {"reason": "the loss or the logits became NaN or infinite", "epoch": 2}
    made = sheet(found, "clinical_test")
    assert made.cells[2][0].sd is None
    assert made.cells[2][0].mark == " †1"
    assert any(note.startswith("†") for note in made.notes("en"))


def test_records_without_logits_leave_the_measured_tables_out(tmp_path):
    found = results(tmp_path)
    for one in found.records.values():
        np.savez(one.path / "predictions.npz", top1=np.zeros(4, np.uint8), labels=np.zeros(4, np.uint8))
    assert [s.id for s in clinical.sheets(found)] == ["clinical_parts"]
    assert any("logits" in line for line in findings(found, "en"))


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_three_classes_are_said_in_one_sentence_and_do_not_crash(tmp_path, lang):
    found = results(tmp_path, classes=3, counts=(20, 30, 25))
    assert clinical.sheets(found) == []
    assert any("3" in line and "AUROC" in line for line in findings(found, lang))


def test_a_positive_class_that_the_data_lack_is_said(tmp_path):
    study = clinical_study(
        clinical=schema.Clinical(positive="opacity", positive_label={"en": "opacity", "tr": "opasite"})
    )
    found = results(tmp_path, study=study)
    assert read(found).positive == 1
    assert any("no class “opacity”" in note for note in sheet(found, "clinical_test").notes("en"))
    assert "Called pneumonia" in sheet(found, "clinical_confusion").columns("en")


def test_the_label_of_the_positive_class_is_used_where_the_class_has_none(tmp_path):
    spec = schema.Clinical(positive="pneumonia", positive_label={"en": "pneumonia", "tr": "zatürre"})
    found = results(tmp_path, study=clinical_study(clinical=spec, labels={}))
    study = read(found)
    assert [study.class_name(k, "tr") for k in (0, 1)] == ["NORMAL", "zatürre"]


def test_the_positive_class_may_come_first(tmp_path):
    found = results(tmp_path, study=clinical_study(clinical=schema.Clinical(positive="NORMAL")))
    turned = sheet(found, "clinical_test").cells[0]
    straight = sheet(results(tmp_path), "clinical_test").cells[0]
    assert turned[2].number == pytest.approx(straight[4].number)  # sensitivity of one is specificity of the other
    assert sheet(found, "clinical_confusion").columns("en") == ["Called pneumonia", "Called normal"]


def test_fake_data_have_the_patients_they_say():
    assert radiology_data.patients(6).tolist() == [0, 1, 1, 2, 2, 2]
