"""Two-class metrics: values by hand, scikit-learn's own, and a bootstrap that draws whole patients."""

from dataclasses import replace

import numpy as np
import pytest
from radiology_data import logits_of, patients
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score

from kdlib.reporting.core.evidence import percentiles
from kdlib.reporting.radiology import metrics as cm


def from_probability(probability, positive, groups=None) -> cm.Scores:
    probability, positive = np.array(probability, dtype=float), np.array(positive, dtype=bool)
    return cm.Scores(np.log(probability / (1 - probability)), positive, probability > 0.5, groups)


def test_metrics_of_five_images_by_hand():
    of = from_probability([0.9, 0.8, 0.3, 0.6, 0.1], [1, 1, 1, 0, 0])
    assert of.counts.tolist() == [[1, 1], [1, 2]]
    # pairs in order: 0.9 and 0.8 above both negatives, 0.3 above one of them: 5 of 6
    expected = {"accuracy": 3 / 5, "sensitivity": 2 / 3, "specificity": 1 / 2, "auroc": 5 / 6, "f1": 4 / 6}
    # each confidence in a bin of its own: 0.9 (two: hits 2, sum 1.8), 0.8, 0.7 (missed), 0.6 (missed)
    expected["ece"] = (0.2 + 0.2 + 0.7 + 0.6) / 5
    assert of.point == pytest.approx(expected)


def test_another_threshold_by_hand():
    of = from_probability([0.9, 0.8, 0.3, 0.6, 0.1], [1, 1, 1, 0, 0])
    assert of.at(0.2) == {"sensitivity": 1.0, "specificity": 1 / 2}
    assert of.at(0.7) == {"sensitivity": 2 / 3, "specificity": 1.0}
    assert from_probability([0.9], [1]).at(0.5) == {"sensitivity": 1.0, "specificity": None}


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    assert cm.bins(np.array([1 / 15, 0.5, 8 / 15, 8 / 15 + 1e-9, 1.0, 0.0])).tolist() == [0, 7, 7, 8, 14, 0]


def test_reliability_counts_every_prediction_once():
    found = cm.reliability(np.array([0.95, 0.99, 0.55]), np.array([True, False, True]))
    assert found.count.sum() == 3
    assert found.count[14] == 2
    assert found.accuracy[14] == 0.5
    assert found.confidence[14] == pytest.approx(0.97)
    assert np.isnan(found.accuracy[0])


def test_the_positive_class_may_be_the_first():
    labels = np.array([0, 0, 1, 1, 1])
    logits = logits_of(labels, 1.0, 1.0, seed=3)
    first, last = cm.scores(logits, labels, 0).point, cm.scores(logits, labels, 1).point
    assert (first["sensitivity"], first["specificity"]) == (last["specificity"], last["sensitivity"])
    assert first["auroc"] == pytest.approx(last["auroc"])
    assert first["accuracy"] == last["accuracy"]


def test_large_logits_stay_finite_and_in_order():
    logits = np.array([[60.0, 0], [50, 0], [0, 40], [0, 45], [0, 50], [0, 60]], dtype=np.float32)
    of = cm.scores(logits, np.array([0, 0, 0, 1, 1, 1]))
    assert of.probability[2:].tolist() == [1, 1, 1, 1]  # to the last digit
    assert of.point["auroc"] == 1
    assert np.nanmin(of.draws["auroc"]) == 1
    assert cm.scores(np.array([[1000.0, -1000.0]]), np.zeros(1)).probability.tolist() == [0]


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        cm.scores(np.array([[0.0, np.nan]]), np.zeros(1))


def test_three_classes_are_refused():
    with pytest.raises(ValueError, match="two-class"):
        cm.scores(np.zeros((4, 3)), np.zeros(4))


def test_one_class_alone_leaves_the_others_undefined():
    point = from_probability([0.9, 0.2], [1, 1]).point
    assert point["auroc"] is point["specificity"] is None
    assert point["sensitivity"] == 0.5


def test_weighted_auroc_with_ties_is_scikit_learns():
    chance = np.random.default_rng(1)
    positive = chance.random(60) < 0.4
    probability = np.round(chance.random(60) * 0.6 + 0.3 * positive, 1)  # many ties
    weights = chance.integers(0, 4, (20, 60)).astype(float)
    ours = cm.weighted_auroc(probability, positive, weights)
    theirs = [roc_auc_score(positive, probability, sample_weight=row) for row in weights]
    assert ours == pytest.approx(theirs)


def test_weight_on_one_class_alone_is_undefined():
    weights = np.array([[1.0, 1.0, 0.0, 0.0]])
    positive = np.array([True, True, False, False])
    assert np.isnan(cm.weighted_auroc(np.array([0.1, 0.9, 0.4, 0.5]), positive, weights)).all()


def test_the_metrics_that_scikit_learn_has_are_its():
    labels = np.repeat([0, 1], [40, 60])
    of = cm.scores(logits_of(labels, 1.0, 1.0, seed=5), labels)
    theirs = {"accuracy": accuracy_score, "sensitivity": recall_score, "f1": f1_score}
    theirs = {name: metric(of.positive, of.predicted) for name, metric in theirs.items()}
    theirs |= {"auroc": roc_auc_score(of.positive, of.margin)}
    theirs |= {"specificity": recall_score(of.positive, of.predicted, pos_label=False)}
    assert {name: of.point[name] for name in theirs} == pytest.approx(theirs)


def test_no_image_leaves_everything_undefined():
    assert set(cm.scores(np.zeros((0, 2)), np.zeros(0)).point.values()) == {None}


def test_a_draw_takes_patients_whole_and_as_many_as_there_are():
    groups = np.array([7, 7, 3, 9, 9, 9])
    drawn = np.concatenate(list(cm.weights(6, groups, resamples=50)))
    assert drawn.shape == (50, 6)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 3] == drawn[:, 5]).all()
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_blocks_do_not_change_the_number_of_draws(monkeypatch):
    monkeypatch.setattr(cm, "_BLOCK", 70)
    sizes = [len(block) for block in cm.weights(10, None, resamples=20)]
    assert sizes == [7, 7, 6]


def test_patients_with_equal_images_widen_the_interval():
    labels = np.repeat([0, 1], 50)
    logits = logits_of(labels, 1.0, 1.0, seed=2)
    four = [np.repeat(part, 4, axis=0) for part in (logits, labels)]
    by_image = cm.scores(*four).draws["auroc"].std()
    by_patient = cm.scores(*four, groups=np.repeat(np.arange(100), 4)).draws["auroc"].std()
    # Four copies of an image are one observation: half the deviation without patients is an illusion.
    assert by_patient == pytest.approx(2 * by_image, rel=0.15)


def test_the_interval_covers_and_repeats_itself():
    labels = np.repeat([0, 1], [234, 390])
    of = cm.scores(logits_of(labels, 1.5, 1.0, seed=8), labels, groups=patients(624))
    again = replace(of).draws
    for name, value in of.point.items():
        low, high = percentiles(of.draws[name])
        assert low < high
        assert np.array_equal(again[name], of.draws[name])
        if name != "ece":  # which leans upward under resampling
            assert low <= value <= high


def test_percentiles_leave_undefined_draws_out():
    assert percentiles(np.array([np.nan, *range(101)])) == (2.5, 97.5)
    assert percentiles(np.array([np.nan])) is None


def test_one_patient_has_no_interval():
    of = from_probability([0.9, 0.2, 0.6], [1, 0, 0], groups=np.zeros(3, int))
    assert percentiles(of.draws["accuracy"]) is None
