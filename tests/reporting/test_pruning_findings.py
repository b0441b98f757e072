"""Findings of the pruning studies: sentences that follow the numbers, hedged by the evidence there is."""

import json
import re

import numpy as np
import pytest
from pruning_data import ORIGINAL, results

from kdlib.reporting import findings
from kdlib.reporting.pruning import findings as pruning_findings
from kdlib.reporting.pruning.runs import Gap, drawn, read
from kdlib.reporting.pruning.speed import side

LEFTOVER = re.compile(r"\{|\}|\bNone\b|\bnan\b")


def said(*args, lang="en", **options) -> str:
    return "\n".join(pruning_findings.findings(results(*args, **options), lang))


def both_ways(tmp_path, **options) -> tuple[str, str]:
    found = results(tmp_path, **options)
    return tuple("\n".join(pruning_findings.findings(found, lang)) for lang in ("en", "tr"))


def test_the_winner_and_what_its_lead_is_worth(tmp_path):
    english, turkish = both_ways(tmp_path, beside=False)
    assert english.startswith("The original EfficientNet-B4, unpruned: test accuracy 80.00%.")
    assert (
        "10% of channels, global, after plain fine-tuning: Taylor comes first with 77.60% (standard deviation 0.14 "
        "points, 2 seeds), 1.50 points above the second, Magnitude, with 76.10% (standard deviation 0.14 points, 2 "
        "seeds). 95% bootstrap interval over the 1,000 test images [+0.55; +2.45]: above zero, as far as "
        "the test images go." in english
    )
    assert "The report has Taylor first as well (87.99%)." in english
    assert "85% of MACs kept, global, after plain fine-tuning: Taylor comes first with 76.80%" in english
    assert "The report, at equal ratio, has Taylor first as well" in english
    assert "birinci Taylor, doğruluk %77,60 (standart sapma 0,14 puan, 2 tohum); ikinci Büyüklük" in turkish
    assert "Rapor da aynı ölçütü birinci veriyor: Taylor (%87,99)." in turkish


def test_the_winner_flips_with_the_numbers(tmp_path):
    given = {("finetuned", "magnitude"): [0.79, 0.79], ("finetuned", "random"): [0.78, 0.786]}
    text = said(tmp_path, given=given, beside=False)
    assert (
        "Magnitude comes first with 79.00% (standard deviation 0.00 points, 2 seeds), 0.70 points above the second, "
        "Random," in text
    )
    assert "interval over the 1,000 test images [+0.05; +1.40]: above zero, as far as the test images go." in text
    assert "The report has Taylor first (87.99%); here its place is 3 of 5, with 77.60%." in text
    assert "85% of MACs kept, global, after plain fine-tuning: Taylor comes first" in text
    turkish = said(tmp_path / "b", given=given, beside=False, lang="tr")
    assert "Rapor başka bir ölçütü birinci veriyor: Taylor (%87,99); burada 5 ölçüt içindeki sırası 3" in turkish


def test_a_tie_and_a_winner_without_runs(tmp_path):
    given = {("finetuned", "magnitude"): [0.775, 0.777]}
    tied = said(tmp_path, given=given, beside=False)
    assert "Magnitude, Taylor come first together, with 77.60%" in tied
    assert "The report has Taylor first (87.99%), which shares the first place here." in tied
    text = said(tmp_path / "b", without=("taylor",), beside=False)
    assert "The report has Taylor first (87.99%), which has no runs here." in text
    one = said(tmp_path / "c", without=("coverage", "wanda", "magnitude", "random"), beside=False)
    assert "Taylor reaches 77.60%" in one
    assert "no other criterion has runs" in one


def test_one_seed_says_once_what_it_cannot_tell(tmp_path):
    english, turkish = both_ways(tmp_path, seeds=(0,))
    assert english.count("Fewer than three seeds cannot tell an effect from the noise between seeds.") == 1
    assert turkish.count("Üçten az tohumla bir etki") == 1
    assert "seeds [" not in english
    assert "95% bootstrap interval over the 1,000 test images [" in english
    assert "1.000 test görüntüsü üzerinden %95 bootstrap aralığı [" in turkish


def test_criteria_against_random(tmp_path):
    text = said(tmp_path, given={("finetuned", "coverage"): [0.67, 0.67]}, beside=False)
    assert (
        "10% of channels, against channels removed at random (68.10%), in points: Coverage -1.10 [-2.50; +0.25], Wanda "
        "+6.50 [+5.05; +8.05]" in text
    )
    assert (
        "3 of 4 criteria lie above random, 3 of them with an interval above zero. Not above random: Coverage." in text
    )
    assert "at random" not in said(tmp_path / "b", without=("random",), beside=False)


def test_share_of_the_original_kept(tmp_path):
    english, turkish = both_ways(tmp_path, beside=False)
    assert "Taylor 97.0% (report 98.6%), Random 85.1%." in english
    assert "Taylor %97,0 (rapor %98,6); Rastgele %85,1." in turkish


def test_distilled_against_plain_over_criteria(tmp_path):
    text = said(tmp_path, beside=False)
    assert (
        "10% of channels: fine-tuning with the original as teacher minus plain fine-tuning, mean over 5 criteria +1.25 "
        "points; 5 of 5 gain. 95% bootstrap interval over the 1,000 test images [+0.84; +1.67]: above zero" in text
    )
    given = {("distilled", "taylor"): [0.70, 0.70], ("distilled", "magnitude"): [0.70, 0.70]}
    text = said(tmp_path / "b", given=given, beside=False)
    # (3 * 1.25 - 7.6 - 6.1) / 5
    assert "mean over 5 criteria -1.99 points; 3 of 5 gain." in text
    assert "as teacher" not in said(tmp_path / "c", roles=("pruned", "finetuned"), beside=False)


def test_global_against_layer_wise(tmp_path):
    english, turkish = both_ways(tmp_path)
    assert (
        "Global minus layer-wise, EfficientNet-B4, 10% of channels, in points: Coverage +1.00, Wanda +1.00" in english
    )
    assert "The report: Magnitude +0.95, Taylor +1.32." in english
    assert "Rapor: Büyüklük +0,95; Taylor +1,32." in turkish
    own = said(tmp_path / "b", "ts5")
    assert "Global minus layer-wise, EfficientNet-B4, 10% of channels, in points: Coverage +1.00" in own


def test_other_images_give_no_difference(tmp_path):
    found = results(tmp_path)
    for record in found.beside["ts5"].records.values():
        record.run["dataset"]["fingerprint"] = "other"
    text = "\n".join(pruning_findings.findings(found, "en"))
    assert "Study ts5 was not tested on the same images: no difference is given." in text
    assert "Global minus" not in text


def test_resnet_beside_efficientnet(tmp_path):
    found = results(tmp_path)
    for arm, record in found.beside["ts4"].select(role="finetuned", criterion="taylor", ratio=0.1):
        record.run["metrics"]["test_accuracy"] = 0.70 + 0.002 * arm.seed
    text = "\n".join(pruning_findings.findings(found, "en"))
    # ResNet50: 70.1 - 75 = -4.9; EfficientNet: 77.6 - 80 = -2.4; the other four lose alike
    assert "ResNet50: Coverage -9.90, Wanda -5.40, Magnitude -3.90, Taylor -4.90, Random -11.90." in text
    assert "1 of 5 criteria keep more on EfficientNet-B4; the mean difference is +0.50 points." in text
    assert "The report: EfficientNet-B4 Taylor -1.21; ResNet50 Taylor -1.76." in text


def test_latency_without_gain_says_so_and_why(tmp_path):
    english, turkish = both_ways(tmp_path, beside=False)
    assert (
        "Latency, batch of 1, 10% of channels: the original takes 20.00 ms [19.50; 20.90]. No gain, quartiles"
        in english
    )
    assert "Latency, batch of 32, 10% of channels: the original takes 300.00 ms [298.00; 303.00]. Faster" in english
    assert "Taylor 264.00 ms (0.88 times)" in english
    assert "images of 64×64 leave a layer so little arithmetic" in english
    assert "No pruned network is slower than the original beyond the quartiles" in english
    # 5.32 / 0.588 = 9.05
    assert "batch of 1: Coverage 1.01 (report 9.05), Wanda 1.01 (report 9.05)." in english
    assert "Kazanç yok, çeyreklikler örtüşüyor: Kapsama 20,10 ms (oran 1,01)" in turkish


def test_a_slower_network_is_named(tmp_path):
    found = results(tmp_path, seeds=(0,), beside=False)
    file = found.folder / "pruned.json"
    measured = json.loads(file.read_text())
    slow = next(model for model in measured["models"] if model["criterion"] == "wanda" and model["ratio"] == 0.1)
    slow["latency"]["1"] = {"median_ms": 50.0, "q1_ms": 49.0, "q3_ms": 51.0}
    file.write_text(json.dumps(measured))
    text = "\n".join(pruning_findings.findings(found, "en"))
    assert "Slower than the original beyond the quartiles: Wanda (batch of 1, 10% of channels)." in text
    assert "No pruned network is slower" not in text
    assert "Wanda 2.50 (report 9.05)" in text


@pytest.mark.parametrize(
    ("q1", "q3", "found"), [(8, 9, "faster"), (9, 10, "no_gain"), (11, 12, "no_gain"), (13, 14, "slower")]
)
def test_quartiles_decide(q1, q3, found):
    assert side({"q1_ms": q1, "q3_ms": q3}, {"q1_ms": 10, "q3_ms": 12}) == found


def test_squeeze_excite_collapse(tmp_path):
    english, turkish = both_ways(tmp_path, beside=False)
    assert (
        "Squeeze-excite bottlenecks left open, 10% of channels: a layer collapses, 12 → 2 channels (Coverage, "
        "features.1.0.block.1.fc1). Protected, the narrowest has 6 → 6" in english
    )
    assert "Protected minus open, mean over 5 criteria: +0.60 points." in english
    assert "bir katman çöküyor, 12 → 2 kanal (Kapsama, features.1.0.block.1.fc1)" in turkish
    assert "Squeeze-excite" not in said(tmp_path / "b", "ts4")
    assert "no layer collapses" in said(tmp_path / "c", without=("coverage", "wanda", "magnitude", "taylor"))


def test_published_records_without_measurements(tmp_path):
    english, turkish = both_ways(tmp_path, pruned_json=False, published=True)
    assert "Latency" not in english
    assert "Taylor comes first" in english
    assert not LEFTOVER.search(english + turkish)


def test_seeds_that_do_not_pair_have_no_interval(tmp_path):
    text = said(tmp_path, given={("finetuned", "magnitude"): [0.76, None]}, beside=False)
    assert "Whether this is more than noise is not known: the runs of the two do not pair." in text


def test_diverged_runs_enter_nothing(tmp_path):
    bad = {"diverged": {"reason": "accuracy fell back to chance", "epoch": 2}}
    text = said(tmp_path, given={("finetuned", "taylor"): [bad, bad]}, beside=False)
    assert "10% of channels, global, after plain fine-tuning: Magnitude comes first" in text


def test_a_study_without_an_original_or_of_another_kind_says_nothing(tmp_path):
    assert said(tmp_path, given={"original": None}, beside=False) == ""
    found = results(tmp_path, beside=False)
    found.study.pruning = None
    assert pruning_findings.findings(found, "en") == []


def test_they_stand_among_the_findings(tmp_path):
    lines = findings(results(tmp_path, seeds=(0,), beside=False), "en")
    assert lines[1] == "The original EfficientNet-B4, unpruned: test accuracy 80.00%."


def test_no_text_keeps_a_placeholder(tmp_path):
    for study, seeds in (("ts4", (0,)), ("ts5", (0,)), ("ts6", (0, 1, 2))):
        assert not LEFTOVER.search("".join(both_ways(tmp_path, study=study, seeds=seeds, test_size=200)))


def test_mean_over_criteria_draws_images_together():
    # Two criteria change the same way: their mean is as uncertain as either; opposite ways: it is certain.
    change = np.array([1] * 30 + [0] * 60 + [-1] * 10)
    alone, over, n = drawn([change])
    assert (over, n) == ("images", 100)
    assert drawn([change, change])[0] == pytest.approx(alone)
    assert drawn([change, -change])[0] is None  # no spread was seen
    # standard error sqrt((0.4 - 0.04) / 100) = 0.06
    assert alone == pytest.approx((0.2 - 1.96 * 0.06, 0.2 + 1.96 * 0.06), abs=0.02)
    assert drawn([change, None]) == drawn([]) == (None, "", 0)


def test_verdicts_follow_the_interval():
    assert Gap(0.1, (0.05, 0.15), "seeds", 3).verdict == "up"
    assert Gap(-0.1, (-0.15, -0.05), "seeds", 3).verdict == "down"
    assert Gap(0.1, (-0.05, 0.25), "seeds", 3).verdict == "open"
    assert Gap(0.1, None, "", 0).verdict == "unknown"


def test_the_change_of_accuracy_counts_from_each_original(tmp_path):
    study = read(results(tmp_path, test_size=500))
    other = read(study.results.beside["ts4"])
    pairs = study.pairs(("finetuned", "report"), ("finetuned", "report"), other)
    gap, each = study.mean_gap(pairs, other, lost=True)
    assert gap.mean == pytest.approx(0.0, abs=1e-9)
    assert each["taylor"].mean == pytest.approx(0.05)
    assert study.original.mean == ORIGINAL
