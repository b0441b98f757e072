"""A study, its profile and a call in one: what takes whose place, and what stays as it is."""

import pytest

from kdlib.errors import UserError
from kdlib.studies import schema
from kdlib.studies.study import Study, merged


def test_mappings_are_merged_and_everything_else_is_replaced():
    own = {"a": 1, "list": [1, 2], "recipe": {"lr": 0.1, "epochs": 9}, "none": None}
    changes = {"list": [3], "recipe": {"epochs": 2}, "none": {"x": 1}, "new": 5}
    found = {"a": 1, "list": [3], "recipe": {"lr": 0.1, "epochs": 2}, "none": {"x": 1}, "new": 5}
    assert merged(own, changes) == found
    assert own["recipe"] == {"lr": 0.1, "epochs": 9}


def test_an_augmentation_is_one_choice():
    own = {"recipe": {"lr": 0.1, "augmentation": {"pad": 4, "flip": True}}}
    assert merged(own, {"recipe": {"augmentation": {"pad": 2}}})["recipe"] == {"lr": 0.1, "augmentation": {"pad": 2}}


@pytest.mark.parametrize("name", schema.names())
def test_a_profile_alone_is_what_its_yaml_says(name):
    study = schema.load(name)
    for profile, said in study.profiles.items():
        found = study.with_(profile)
        assert type(found) is type(study)
        assert found.profile == profile
        assert found.data.model_dump(exclude_unset=True) == said["data"]
        assert (found.seeds, found.recipe) == (said.get("seeds", [0]), said.get("recipe", {}))
        assert (found.tables, found.figures, found.labels) == (study.tables, study.figures, study.labels)


@pytest.mark.parametrize("name", schema.names())
def test_every_parameter_that_a_study_takes_is_one_of_a_call(name):
    from kdlib.studies import Parameters

    study = schema.load(name)
    assert set(study.takes) <= set(Parameters.model_fields)
    assert len(set(study.takes)) == len(study.takes)


def test_a_call_comes_before_the_profile_and_that_before_the_study():
    study = schema.load("tr_kd")
    found = study.with_("smoke", {"epochs": 7, "T": [1.0, 9.0], "seeds": [3], "train_size": 50})
    own = study.with_("smoke")
    assert found.recipe == {**own.recipe, "epochs": 7}
    assert found.data.model_dump() == {**own.data.model_dump(), "train_size": 50}
    assert found.seeds == [3]
    assert {T for point in found.points for T, _, _ in point.settings()} == {1, 9}
    assert schema.load("tr_kd") == study  # as it was


def test_losses_are_built_once():
    found = schema.load("kd_methods").with_("paper")
    assert found.losses is found.losses
    assert [len(losses) for _, losses in found.losses] == [1] * len(found.points)


def test_a_profile_with_a_field_that_its_kind_has_not_is_one_line():
    study = schema.load("tr_transfer")
    for profile, says in (
        ({"data": {"name": "shapes10"}, "students": ["cnn2"]}, "a transfer study has no students"),
        (
            {"data": {"name": "shapes10", "size": 3}},
            "study tr_transfer: data.size: Extra inputs",
        ),
    ):
        changed = study.model_copy(update={"profiles": {"smoke": profile}})
        with pytest.raises(UserError, match=says) as caught:
            changed.with_("smoke")
        assert "\n" not in str(caught.value)


def test_kinds_have_what_a_kind_is_made_of():
    for kind, cls in schema.KINDS.items():
        assert cls.model_fields["kind"].annotation.__args__ == (kind,)
        for name in ("of_kind", "runs", "summary"):
            assert getattr(cls, name) is not getattr(Study, name)
