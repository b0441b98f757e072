"""Differences, intervals and marks of made-up studies."""

from dataclasses import replace

import pytest
from methods_data import methods_results
from pruning_data import results as pruning_results
from radiology_data import results as clinical_results
from report_data import DATASET, Outcome, study_of
from transfer_data import distilled_results, transfer_results

from kdlib.reporting import verdicts as module
from kdlib.reporting.core.evidence import Difference, over_seeds
from kdlib.reporting.core.i18n import text
from kdlib.reporting.radiology import study as radiology_runs
from kdlib.reporting.verdicts import Verdict, sentences, sheets, verdicts

ALONE = [0.70, 0.71, 0.705]
TRANSFER = {"head": 0.5, "4": 0.6, "3-4": 0.66, "2-3-4": 0.7, "all": 0.69, "scratch": 0.64}


def by_question(results) -> dict[str, list[Verdict]]:
    out: dict[str, list[Verdict]] = {}
    for one in verdicts(results):
        out.setdefault(str(one.question), []).append(one)
    return out


def transfer_study(name="tr_transfer", **more):
    labels = {
        "net": "Net",
        "m": "Small",
        "big": "Big",
        "4": "layer 4",
        "2-3-4": {"en": "layers 2–4", "tr": "2–4. katmanlar"},
    }
    return study_of(**{"name": name, "labels": labels, **more})


# Distillation


def test_each_method_against_alone_after_holms_correction(tmp_path):
    # minus alone, in points: KD 1.9, 2.1, 2.0 (p 0.0008); SP 2.0, 1.5, 1.0 (p 0.04); AT -1.0, -2.5, -0.5
    found = methods_results(
        tmp_path,
        ALONE,
        {None: [0.719, 0.731, 0.725], "sp": [0.720, 0.725, 0.715], "at": [0.690, 0.685, 0.700]},
    )
    plain, sp, at = verdicts(found)
    assert plain.found.mean == pytest.approx(0.02)
    assert (plain.mark, plain.side) == ("●", "up")
    assert sp.found.verdict == "up"
    assert (sp.mark, sp.side) == ("○", "open")  # by itself above zero, one of three asked
    assert at.mark == "○"
    assert [text(one.setting, "en") for one in (plain, sp)] == [
        "KD (Hinton), T = 4, α = 0.9, λ = 0.1",
        "SP (similarities), α = 1, λ = 1",
    ]
    (said,) = sentences(verdicts(found), "en")
    assert said.startswith("Distilled − alone: from -1.33 [")
    assert said.endswith("after Holm's correction 1 of 3 lie above zero and 0 below it.")


def test_without_a_student_alone_there_is_no_verdict(tmp_path):
    bad = Outcome(0.1, diverged={"reason": "x", "epoch": 1})
    assert verdicts(methods_results(tmp_path, bad, {None: 0.7, "sp": 0.71})) == []
    assert sheets(methods_results(tmp_path / "b", bad, {None: 0.7, "sp": 0.71})) == []


# Transfer


def test_transfer_against_scratch_by_parameters_and_against_distillation(tmp_path):
    beside = {"tr_kd": distilled_results(tmp_path / "kd", {"m": 0.72}, transfer_study("tr_kd", loss="weighted_kl"))}
    found = by_question(transfer_results(tmp_path, TRANSFER, transfer_study(), beside=beside))
    (scratch,) = found["transfer − from scratch"]
    # 60 of 1,000 images change: standard error 0.75 points
    assert scratch.found.mean == pytest.approx(0.06)
    assert scratch.found.interval == pytest.approx((0.06 - 1.96 * 0.0075, 0.06 + 1.96 * 0.0075), abs=0.002)
    assert scratch.mark == "◐"
    assert text(scratch.setting, "tr") == "Net: 2–4. katmanlar"
    (steps,) = found["most parameters trained − fewest"]
    assert steps.found.mean == pytest.approx(0.19)
    (distillation,) = found["transfer − distillation"]
    assert distillation.found.mean == pytest.approx(-0.02)
    assert text(distillation.setting, "en").endswith("Small, T = 2, α = 0.5, λ = 0.5 (tr_kd)")


def test_a_question_asked_in_two_columns_is_one_family(tmp_path):
    # 4 of 1,000 images, all one way: p = 2 exp(-4) = 0.037, enough for one question and not for two
    close = {"2-3-4": 0.704, "scratch": 0.700}
    (one,) = verdicts(transfer_results(tmp_path / "one", close, transfer_study()))
    two = verdicts(transfer_results(tmp_path / "two", close, transfer_study(), recipes=("adam128", "sgd128")))
    assert (one.mark, [each.mark for each in two]) == ("◐", ["○", "○"])


def test_verdicts_stand_by_question_whatever_they_are_of(tmp_path):
    found = verdicts(transfer_results(tmp_path, TRANSFER, transfer_study(), recipes=("adam128", "sgd128")))
    assert [str(one.question) for one in found] == [
        "transfer − from scratch",
        "transfer − from scratch",
        "most parameters trained − fewest",
        "most parameters trained − fewest",
    ]
    assert [text(one.setting, "en").split(":")[0] for one in found] == ["Net, adam128", "Net, sgd128"] * 2


def test_transfer_over_three_seeds(tmp_path):
    # differences 4, 5, 6 points: half width 4.303 / sqrt(3) = 2.48
    outcomes = {"2-3-4": [0.70, 0.71, 0.72], "scratch": [0.66, 0.66, 0.66]}
    (one,) = verdicts(transfer_results(tmp_path, outcomes, transfer_study()))
    assert one.found.interval == pytest.approx((0.0252, 0.0748), abs=1e-4)
    assert (one.mark, one.found.over, one.found.n) == ("●", "seeds", 3)


def test_a_sweep_without_the_reported_layers_takes_validations_choice(tmp_path):
    (steps,) = verdicts(transfer_results(tmp_path, {"head": 0.5, "4": 0.6}, transfer_study()))
    assert text(steps.setting, "en") == "Net: layer 4 − classifier only"


def test_other_images_get_no_difference(tmp_path):
    study = transfer_study("tr_kd", loss="weighted_kl")
    other = distilled_results(tmp_path / "kd", {"m": 0.72}, study, data={**DATASET, "fingerprint": "another"})
    found = by_question(transfer_results(tmp_path, TRANSFER, transfer_study(), beside={"tr_kd": other}))
    assert "transfer − distillation" not in found


def test_a_longer_training_gets_no_difference(tmp_path):
    other = distilled_results(tmp_path / "kd", {"m": 0.72}, transfer_study("tr_kd", loss="weighted_kl"), epochs=8)
    found = by_question(transfer_results(tmp_path, TRANSFER, transfer_study(), beside={"tr_kd": other}))
    assert "transfer − distillation" not in found


# Pruning


def test_pruning_asks_five_questions(tmp_path):
    found = by_question(pruning_results(tmp_path))
    assert list(found) == [
        "criterion − random channels, fine-tuned",
        "distilled − plain fine-tuning",
        "global − layer-wise",
        "change of accuracy, this network − the other",
        "squeeze-excite protected − open",
    ]
    taylor = found["criterion − random channels, fine-tuned"][3]
    assert taylor.found.mean == pytest.approx(0.095)
    assert taylor.mark == "◐"
    distilled = found["distilled − plain fine-tuning"][0]
    assert distilled.found.mean == pytest.approx(0.0125)
    assert text(distilled.setting, "tr") == "budama oranı %10: 5 ölçütün ortalaması"
    assert found["global − layer-wise"][0].found.mean == pytest.approx(0.01)
    assert found["squeeze-excite protected − open"][0].found.mean == pytest.approx(0.006)


def test_criteria_and_scopes_are_compared_at_every_ratio_that_was_fine_tuned(tmp_path):
    found = by_question(pruning_results(tmp_path))
    at = {text(one.setting, "en"): one for one in found["criterion − random channels, fine-tuned"]}
    said = ["10% of channels", "85% of its MACs kept", "5% of channels", "20% of channels", "30% of channels"]
    assert list(dict.fromkeys(key.split(":")[0] for key in at)) == said
    assert at["30% of channels: Taylor"].found.mean == pytest.approx(0.095)
    scopes = {text(one.setting, "en").split(":")[0] for one in found["global − layer-wise"]}
    assert scopes == set(said)


def test_networks_are_compared_by_what_each_loses(tmp_path):
    found = pruning_results(tmp_path)
    for condition, record in found.beside["ts4"].select(role="finetuned", criterion="taylor", ratio=0.1):
        record.run["metrics"]["test_accuracy"] = 0.70 + 0.002 * condition.seed
    # ResNet50: 70.1 - 75 = -4.9; EfficientNet: 77.6 - 80 = -2.4; the other four lose alike
    (networks,) = by_question(found)["change of accuracy, this network − the other"]
    assert networks.found.mean == pytest.approx(0.005)


def test_pruning_on_other_images_gets_no_difference(tmp_path):
    found = pruning_results(tmp_path)
    for beside in found.beside.values():
        for record in beside.records.values():
            record.run["dataset"]["fingerprint"] = "other"
    asked = by_question(found)
    assert "global − layer-wise" not in asked
    assert "change of accuracy, this network − the other" not in asked


def test_one_seed_of_several_is_compared_by_itself_over_the_test_images(tmp_path):
    made = pruning_results(tmp_path, given={("finetuned", "random"): [0.68, None]}, beside=False)
    one = by_question(made)["criterion − random channels, fine-tuned"][0]
    assert one.found.mean == pytest.approx(0.70 - 0.68)  # of two seeds 0.70 and 0.702
    assert (one.found.over, one.mark, one.side) == ("images", "◐", "up")
    assert len(one.found.runs) == 2


def test_seeds_that_do_not_pair_have_no_interval(tmp_path):
    given = {("finetuned", "random"): [0.68, None], ("finetuned", "coverage"): [None, 0.70]}
    one = by_question(pruning_results(tmp_path, given=given, beside=False))["criterion − random channels, fine-tuned"][
        0
    ]
    assert (one.found.interval, one.mark, one.side) == (None, "–", "unknown")


def test_records_published_without_logits_are_enough(tmp_path):
    found = pruning_results(tmp_path, pruned_json=False, published=True)
    assert verdicts(found)[0].found.over == "images"


def test_a_study_without_an_original_asks_nothing(tmp_path):
    assert verdicts(pruning_results(tmp_path, given={"original": None}, beside=False)) == []


# Radiology


def test_films_are_compared_by_auroc_and_accuracy_over_patients(tmp_path):
    found = by_question(clinical_results(tmp_path))
    assert list(found) == ["distilled − alone", "distilled − teacher"]
    auroc, accuracy = found["distilled − alone"]
    assert (auroc.metric, accuracy.metric) == ("auroc", "accuracy")
    assert (auroc.found.over, auroc.mark, auroc.side) == ("patients", "◐", "up")
    assert found["distilled − teacher"][0].side == "down"


@pytest.mark.parametrize(
    ("patients", "values", "side"),
    [
        ((0.01, 0.05), [0.03], "up"),
        ((-0.05, -0.01), [-0.03], "down"),
        ((-0.01, 0.05), [0.02], "open"),
        ((0.01, 0.05), [0.0, 0.03, 0.06], "open"),  # the seeds disagree
        ((-0.01, 0.05), [0.029, 0.03, 0.031], "open"),  # the patients do
        ((0.01, 0.05), [0.0, 0.06], "up"),  # two seeds have no interval
        ((0.01, 0.05), [0.029, 0.03, 0.031], "up"),
        (None, [0.03], "unknown"),
    ],
)
def test_films_need_every_interval_on_one_side(tmp_path, monkeypatch, patients, values, side):
    seeds = over_seeds(values)
    pair = Difference(seeds.mean, patients, "patients" if patients else "", 300), seeds
    monkeypatch.setattr(radiology_runs, "paired", lambda *_: pair)
    assert verdicts(clinical_results(tmp_path))[0].side == side


def test_films_are_corrected_for_several_students_too(tmp_path, monkeypatch):
    results = clinical_results(tmp_path)
    results.conditions += [replace(one, model="other") for one in results.conditions if one.role != "teacher"]
    found = Difference(0.03, (0.001, 0.05), "patients", 300, p=0.04), Difference(0.03)
    monkeypatch.setattr(radiology_runs, "paired", lambda *_: found)
    assert [one.side for one in by_question(results)["distilled − alone"]] == ["open"] * 4


def test_films_over_three_seeds_say_so(tmp_path):
    assert verdicts(clinical_results(tmp_path, seeds=(0, 1, 2)))[0].found.over == "seeds"


# The table


def test_the_table_in_both_languages(tmp_path):
    (sheet,) = sheets(pruning_results(tmp_path, beside=False))
    assert sheet.id == "verdicts"
    english, turkish = sheet.csv("en").splitlines(), sheet.csv("tr").splitlines()
    assert english[0] == "Question,Setting,column,value,sd,interval_low,interval_high,n,diverged,reported,unit"
    assert english[1].startswith('"criterion − random channels, fine-tuned",10% of channels: Coverage,Difference,2')
    assert turkish[1].startswith("ölçüt − rastgele kanallar, ince ayardan sonra;budama oranı %10: Kapsama;Fark;2")
    assert "{" not in sheet.markdown("en") + sheet.markdown("tr")


@pytest.mark.parametrize(
    ("found", "sure", "mark"),
    [
        (Difference(0.1, (0.05, 0.15), "seeds", 3), True, "●"),
        (Difference(-0.1, (-0.15, -0.05), "images", 100), True, "◐"),
        (Difference(0.1, (0.05, 0.15), "seeds", 3), False, "○"),
        (Difference(0.1, (-0.05, 0.25), "patients", 30), False, "○"),
        (Difference(0.1), False, "–"),
    ],
)
def test_marks(found, sure, mark):
    assert Verdict(module.ALONE, "here", found, sure=sure).mark == mark
