"""The three pruning studies ask for what the reports did and carry what they reported, number by number."""

import pytest

from kdlib.errors import UserError
from kdlib.studies import schema

TS6 = {
    "original": (89.20, None, 68.11, None, 0.588, 4.61, None),
    "coverage": (80.95, -8.25, 49.45, -27.4, 5.32, 3.70, -19.7),
    "wanda": (85.93, -3.27, 59.35, -12.9, 5.32, 4.05, -12.1),
    "magnitude": (86.78, -2.42, 61.66, -9.5, 0.580, 3.91, -15.2),
    "taylor": (87.99, -1.21, 59.14, -13.2, 0.590, 4.11, -10.9),
}
FIELDS = ("accuracy", "loss", "size_mb", "size_change", "latency_ms", "flops_g", "flops_change")


def with_(changes=None, **call):
    """The pruning of ts6, as a profile and a call change it."""
    study = schema.load("ts6")
    profile = {**study.profiles["paper"], "pruning": changes or {}}
    return study.model_copy(update={"profiles": {"paper": profile}}).with_("paper", call).pruning


def test_points_of_pruning_have_no_seeds_of_their_own():
    study = schema.load("ts6")
    profile = {**study.profiles["paper"], "points": [{"T": 4, "alpha": 0.5, "seeds": 1}]}
    with pytest.raises(UserError, match="seeds is of studies of kind distillation, not pruning; leave it out"):
        study.model_copy(update={"profiles": {"paper": profile}}).with_("paper")


@pytest.mark.parametrize("name", ["ts4", "ts5", "ts6"])
def test_what_the_reports_did(name):
    study = schema.load(name)
    asked = study.pruning
    assert (study.notebook, asked.model) == ("03_pruning", "resnet50" if name == "ts4" else "efficientnet_b4")
    assert asked.scope == ("layerwise" if name == "ts5" else "global")
    assert (asked.ratio, asked.steps, asked.calibration_batches) == (0.1, 1, 100)
    assert (asked.num_classes, asked.image_size) == (101, 380)
    assert asked.criteria == ["coverage", "wanda", "magnitude", "taylor", "random"]
    assert study.recipes["finetune"]["epochs"] == 10
    paper = study.with_("paper")
    assert (paper.data.name, paper.data.image_size, paper.data.classes) == ("food101", 380, None)
    assert paper.weights == "imagenet"
    assert paper.pruning == asked
    assert asked.configuration["train_images"] == 75_750
    assert asked.configuration["test_images"] == 25_250


def test_the_table_of_ts6():
    reported = schema.load("ts6").pruning.reported
    assert {row: tuple(getattr(own, field) for field in FIELDS) for row, own in reported.items()} == TS6
    assert [own.kept for own in reported.values()] == [None, 90.7, 96.3, 97.3, 98.6]


def test_what_the_ts6_report_quotes_of_the_others():
    ts5, ts4 = schema.load("ts5").pruning.reported, schema.load("ts4").pruning.reported
    assert {row: (own.accuracy, own.loss, own.size_change) for row, own in ts5.items()} == {
        "taylor": (86.67, -2.54, -18.8),
        "magnitude": (85.83, -3.38, -18.8),
    }
    assert {row: (own.accuracy, own.loss) for row, own in ts4.items()} == {"taylor": (76.83, -1.76)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"cuts": [{"ratoi": [0.1]}]}, "cuts.0.ratoi"), ({"scope": "local"}, "scope"), ({"epochs": 3}, "epochs")],
)
def test_a_profile_that_does_not_fit_is_refused(changes, says):
    with pytest.raises(UserError, match=says) as caught:
        with_(changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("told", [{"model": "resnet18_light"}, {"ratio": [0.3]}])
def test_a_reports_numbers_are_not_those_of_another_network_or_ratio(told):
    own = schema.load("ts6").pruning
    assert with_(calibration_batches=5).reported == own.reported != {}
    assert with_(**told).reported == {}
    assert with_({"model": "efficientnet_small", "ratio": 0.5}).reported == {}
