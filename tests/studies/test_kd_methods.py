"""A study of methods, and any study with another loss: what is asked for, conditions, ids, where losses look."""

import json

import pytest
import yaml

from kdlib import losses
from kdlib.errors import UserError
from kdlib.studies import cost, records, schema
from kdlib.studies.parameters import parse, settle
from kdlib.studies.plan import plan

EIGHT = [None, "kd_std", "dkd", "dist", "fitnets", "at", "sp", "rkd"]


def planned(dataset, **values):
    return plan(settle(parse({"study": "kd_methods", "profile": "smoke", **values})), dataset)


def students(found) -> list:
    return [condition for condition in found.conditions if condition.role == "student"]


@pytest.fixture
def images(make_tiny):
    """What four poolings leave a map of."""
    return make_tiny(size=32)


# The study


@pytest.mark.parametrize("profile", schema.PROFILES)
def test_every_profile_is_settled(profile):
    settings = settle(parse({"study": "kd_methods", "profile": profile}))
    assert settings.teacher_seed == 0  # one teacher for all seeds
    assert len(settings.students) == len(settings.recipes) == 1
    small = profile in ("smoke", "quick")
    assert settings.data.name == ("shapes10" if small else "cifar10")
    labels = settings.labels
    assert {settings.teacher, *settings.students, *settings.recipes} <= set(labels)


def test_seeds_by_profile():
    seeds = {name: schema.load("kd_methods").with_(name).seeds for name in schema.PROFILES}
    assert seeds == {"smoke": [0], "quick": [0], "reduced": [0, 1, 2], "paper": [0, 1, 2, 3, 4]}


def test_eight_methods_with_their_papers_weights():
    settings = settle(parse({"study": "kd_methods", "profile": "paper"}))
    found = [loss for _, losses in settings.losses for loss in losses]
    assert [loss.method for loss in found] == EIGHT
    assert (found[0].T, found[0].alpha, found[0].lam, found[0].soft) == (4, 0.9, 0.1, "kl")
    # the paper of the z-scored logits weighs the labels by 0.1
    assert {loss.method: (loss.alpha, loss.lam) for loss in found[1:]} == dict.fromkeys(EIGHT[1:], (1, 1)) | {
        "kd_std": (1, 0.1)
    }
    assert [loss.T for loss in found] == [4, 2, 4, 4, None, None, None, None]


def test_nothing_is_reported():
    study = schema.load("kd_methods")
    assert not study.report
    assert study.tables == []
    assert all(schema.load(name).report for name in schema.names() if name not in ("kd_methods", "compress"))


def test_the_plan_of_the_study(tiny):
    found = planned(tiny, profile="reduced")
    roles = [condition.role for condition in found.conditions]
    # one teacher for three seeds, each with the student alone and eight distilled
    assert {role: roles.count(role) for role in set(roles)} == {"teacher": 1, "baseline": 3, "student": 24}
    assert len(found.runs) == 28
    assert [condition.method for condition in students(found) if condition.seed == 1] == EIGHT


@pytest.mark.parametrize(("profile", "other"), [("reduced", "cnn_grid"), ("quick", "tr_kd")])
def test_the_teacher_is_another_studys(tiny, profile, other):
    theirs = planned(tiny, study=other, profile=profile)
    assert {one.id for one in planned(tiny, profile=profile).conditions if one.role == "teacher"} <= set(theirs.runs)


def test_a_profile_names_another_teacher_and_a_caller_wins(tiny):
    assert {condition.model for condition in planned(tiny).conditions if condition.role == "teacher"} == {"resnet10"}
    assert {one.model for one in planned(tiny, teacher="conv10").conditions if one.role == "teacher"} == {"conv10"}


# Another loss in any study


def test_conditions_say_their_method_and_a_temperature_only_where_there_is_one(images):
    found = planned(images)
    for condition in students(found):
        loss = found.runs[condition.id].loss
        assert (condition.method, condition.T, condition.alpha, condition.lam) == (
            loss.method,
            loss.T,
            loss.alpha,
            loss.lam,
        )
    assert {condition.method: condition.T for condition in students(found)}["sp"] is None
    assert {condition.method for condition in found.conditions if condition.role != "student"} == {None}


def test_settings_that_come_to_one_run_are_one_condition(images):
    found = planned(images, study="cnn_grid", loss="sp", T="1,2,5,10,20", alpha="0.5")
    assert [(one.method, one.T, one.alpha, one.lam) for one in students(found)] == [("sp", None, 0.5, 0.5)]
    warm = planned(images, study="cnn_grid", loss="dkd", T="1,2", alpha="0.5")
    assert [(condition.method, condition.T) for condition in students(warm)] == [("dkd", 1), ("dkd", 2)]


def test_a_loss_that_the_study_has_keeps_its_own_point_alone(images):
    whole = {condition.method: condition.id for condition in students(planned(images))}
    for method in ("sp", "kd_std"):
        assert [condition.id for condition in students(planned(images, loss=method))] == [whole[method]]
    assert [condition.id for condition in students(planned(images, loss="weighted_kl"))] == [whole[None]]
    # quick compares four of the eight; the others come from the study's own list
    settings = settle(parse({"study": "kd_methods", "loss": "rkd"}))
    assert [point.loss for point in settings.points] == ["rkd"]


def test_a_loss_that_it_has_not_takes_every_points_place(tiny):
    found = students(planned(tiny, loss="convex_kl", alpha=0.5))
    assert {(one.method, one.T, one.alpha, one.lam) for one in found} == {(None, T, 0.5, 0.5) for T in (2, 4)}


def test_another_loss_leaves_teacher_and_baseline_as_they_are(images):
    own = planned(images, study="cnn_grid")
    other = planned(images, study="cnn_grid", loss="sp")
    for role in ("teacher", "baseline"):
        assert {a.id for a in own.conditions if a.role == role} == {a.id for a in other.conditions if a.role == role}
    assert not {a.id for a in students(own)} & {a.id for a in students(other)}


def test_pruned_models_are_fine_tuned_with_it(images):
    found = planned(images, study="ts6", loss="sp", model="resnet10", criteria="magnitude", ratio=0.3)
    assert {condition.method for condition in found.conditions if condition.role == "distilled"} == {"sp"}
    assert {condition.method for condition in found.conditions if condition.role != "distilled"} == {None}


# Where losses look


def pairs(found) -> dict:
    return {run.method: run.pairs() for run in found.runs.values() if run.loss}


def test_losses_on_features_look_at_places_and_others_at_none(images):
    found = pairs(planned(images))
    assert {method for method, looks in found.items() if looks} == {"fitnets", "at", "sp", "rkd"}
    assert found["sp"] == (("layer1", "layer4"),)


def test_taps_are_for_the_losses_that_look_at_features(images):
    own, told = planned(images), planned(images, taps="layer1:layer3")
    assert {looks for looks in pairs(told).values() if looks} == {(("layer1", "layer3"),)}
    same = {condition.method for condition in students(own)} - {"fitnets", "at", "sp", "rkd"}
    assert {a.id for a in students(own) if a.method in same} == {a.id for a in students(told) if a.method in same}
    config = next(run.config for run in told.runs.values() if run.method == "sp")
    assert config["loss"]["layers"] == ("layer1:layer3",)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"loss": "sp", "taps": "layer9"}, "the student has no stage 'layer9'"),
        ({"loss": "sp", "taps": "layer1:layer9"}, "the teacher has no stage 'layer9'"),
        ({"loss": "fitnets", "taps": "layer1,layer1:layer3"}, "compares one layer, got 2"),
        ({"loss": "sp", "taps": "layer1:layer3:layer4"}, "neither 'name' nor"),
        ({"loss": "dkd", "taps": "layer1"}, "parameter taps does nothing: no loss here looks at features"),
        ({"study": "cnn_grid", "taps": "conv1"}, "parameter taps does nothing"),
        (
            {"study": "tr_transfer", "taps": "layer1"},
            "this transfer study has no taps; it has model",
        ),
        ({"loss": "dkd", "T": 0}, "parameter T=0"),
        ({"study": "tr_kd", "loss": "sp", "alpha": 1.5}, "give lam too"),
        ({"loss": "spp"}, "unknown loss 'spp'; did you mean 'sp'?"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_before_anything_is_done(images, values, says):
    with pytest.raises(UserError) as caught:
        planned(images, **values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_taps_may_be_written_as_a_list():
    asked = parse({"loss": "at", "taps": ["layer3", "layer2:layer4"]})
    assert asked.taps == ["layer3", "layer2:layer4"]
    assert asked.flat()["taps"] == "layer3,layer2:layer4"


# Records and costs


def test_conditions_of_earlier_studies_have_no_method(tmp_path):
    condition = records.Condition("student", "m", "r", 0, 2.0, 0.5, 0.5, "id")
    records.write_conditions(tmp_path, [condition], {})
    path = tmp_path / "runs.json"
    about = json.loads(path.read_text())
    del about["checksum"], about["arms"][0]["method"]
    path.write_text(json.dumps(about))
    assert '"method"' not in path.read_text()
    assert records.read_conditions(tmp_path)[0] == [condition]


def test_a_teacher_of_features_goes_forward_in_each_epoch(make_tiny):
    images = make_tiny(train=50, size=32)
    plain = {"study": "cnn_grid", "teacher": "resnet10", "alpha": 0.5, "T": 1, "epochs": 3}
    runs = [planned(images, **plain, loss=loss).runs for loss in ("dkd", "sp")]
    once, thrice = (next(run for run in found.values() if run.method) for found in runs)
    assert not once.recipe.augmentation.active  # logits of images that never change are kept, maps are not
    assert 3 * once.guidance_flops()["logits"] == thrice.guidance_flops()["maps"] > 0


def test_a_row_of_the_overview_says_the_loss(images, tmp_path):
    rows = {c.run.method: c.row() for c in cost.estimate(planned(images), tmp_path) if c.run.loss}
    assert [row["loss"] for row in rows.values()] == ["kd", *EIGHT[1:]]
    assert (rows["sp"]["T"], rows["sp"]["alpha"], rows["sp"]["lam"]) == ("", "1", "1")
    assert rows["dkd"]["T"] == "4"


# The schema


def changed_points(monkeypatch, tmp_path, points):
    content = yaml.safe_load(schema._files()["kd_methods"].read_text(encoding="utf-8"))
    path = tmp_path / "kd_methods.yaml"
    path.write_text(yaml.safe_dump(content | {"points": points}, allow_unicode=True), encoding="utf-8")
    monkeypatch.setattr(schema, "_files", lambda: {"kd_methods": path})
    schema.load.cache_clear()
    return schema.load("kd_methods")


@pytest.fixture
def points(monkeypatch, tmp_path):
    yield lambda points: changed_points(monkeypatch, tmp_path, points)
    monkeypatch.undo()
    schema.load.cache_clear()


def test_a_point_names_places(points):
    study = points([{"loss": "at", "alpha": 1, "lam": 1, "layers": ["layer1:layer3"]}])
    settings = settle(parse({"study": study.name, "profile": "smoke"}))
    assert settings.losses[0][1] == [losses.preset("at", None, 1.0, 1.0, ["layer1:layer3"])]


def test_one_loss_with_two_choices_of_layers_is_refused(points):
    sp = {"loss": "sp", "alpha": 1, "lam": 1}
    with pytest.raises(UserError, match="loss sp with two choices of layers"):
        points([{**sp, "layers": ["layer3"]}, {**sp, "layers": ["layer4"]}])


def test_a_loss_with_a_temperature_needs_one(points):
    points([{"loss": "dkd", "alpha": 1, "lam": 1}])
    with pytest.raises(UserError, match=r"temperature T must be a positive number \(1 to 20 is usual\), got None"):
        settle(parse({"study": "kd_methods", "profile": "smoke"}))
