"""Plans: ids that are a hash of what was asked for and of nothing else, and the conditions a study compares."""

import hashlib
import json

import pytest

from kdlib.studies import cost, records
from kdlib.studies.parameters import parse, settle
from kdlib.studies.plan import plan
from kdlib.studies.study import recipe


def planned(dataset, **values):
    return plan(settle(parse(values)), dataset)


def ids(dataset, **values) -> set[str]:
    return set(planned(dataset, **values).runs)


# Ids


def test_the_id_is_a_hash_of_what_was_asked_for_to_the_letter(tiny):
    """Records of long runs are found by these ids: a change here orphans them."""
    found = planned(tiny, study="cnn_grid", profile="paper", students="cnn2", T=20, alpha=0.9)
    recipe = (
        '{{"augmentation": {{"brightness": 0.0, "contrast": 0.0, "flip": {flip}, "pad": {pad}, "rotate": 0.0, '
        '"scale": 0.0}}, "batch_size": 128, "epochs": 100, "lr": 0.1, "momentum": 0.0, "nesterov": false, '
        '"optimizer": "sgd", "schedule": "cosine", "select": "last", "warmup": 0.0, "weight_decay": 0.0}}'
    )
    augmented, plain = recipe.format(flip="true", pad=4), recipe.format(flip="false", pad=0)
    teacher = (
        f'{{"dataset": "{tiny.fingerprint}", "loss": null, "model": "resnet18_kd", "num_classes": 4, '
        f'"precision": "auto", "protocol": 2, "recipe": {augmented}, "role": "teacher", "seed": 0, "teacher": null}}'
    )
    teacher_id = hashlib.sha256(teacher.encode()).hexdigest()[:16]
    student = (
        f'{{"dataset": "{tiny.fingerprint}", "loss": {{"T": 20.0, "alpha": 0.9, "lam": 0.09999999999999998, '
        '"soft": "ce", "t_squared": false}, "model": "cnn2", "num_classes": 4, '
        f'"precision": "auto", "protocol": 2, "recipe": {plain}, "role": "student", "seed": 0, '
        f'"teacher": "{teacher_id}"}}'
    )
    student_id = hashlib.sha256(student.encode()).hexdigest()[:16]
    by_role = {condition.role: condition.id for condition in found.conditions}
    assert by_role["teacher"] == teacher_id
    assert by_role["student"] == student_id


def test_the_same_request_has_the_same_ids(tiny, make_tiny):
    assert ids(tiny) == ids(tiny)
    # the same images made once more, under another name
    assert ids(make_tiny(name="elsewhere")) == ids(tiny)


@pytest.mark.parametrize(
    "where",
    [{"data_root": "/somewhere"}, {"output_dir": "/elsewhere"}, {"device": "cpu"}, {"lang": "tr"}, {"download": True}],
)
def test_where_and_how_it_is_shown_do_not_matter(tiny, where):
    assert ids(tiny, **where) == ids(tiny)


@pytest.mark.parametrize("name", ["T", "alpha", "epochs", "lr", "batch_size"])
def test_writing_a_number_another_way_does_not_matter(tiny, name):
    value = {"T": 2, "alpha": 1, "epochs": 3, "lr": 1, "batch_size": 16}[name]
    assert ids(tiny, **{name: value}) == ids(tiny, **{name: str(value)})


def test_asking_for_the_studys_own_value_does_not_matter(tiny):
    assert ids(tiny, study="resnet_ladder", T="4", alpha="0.5") == ids(tiny, study="resnet_ladder")


@pytest.mark.parametrize(
    ("change", "untouched"),
    [
        ({"seeds": 1}, set()),
        ({"T": 7}, {"teacher", "baseline"}),
        ({"alpha": 0.6, "lam": 0.6}, {"teacher", "baseline"}),
        ({"loss": "convex_soft_ce"}, {"teacher", "baseline"}),
        ({"epochs": 9}, set()),
        ({"lr": 0.03}, set()),
        ({"batch_size": 8}, set()),
        ({"precision": "bf16"}, set()),
        ({"teacher": "conv3"}, {"baseline"}),
        ({"students": "cnn2"}, {"teacher"}),
    ],
)
def test_what_was_asked_for_decides_the_id(tiny, change, untouched):
    # cifar_conv: a teacher, a baseline, a student, one recipe for all
    base = {one.role: one.id for one in planned(tiny, study="cifar_conv", profile="paper").conditions}
    other = {one.role: one.id for one in planned(tiny, study="cifar_conv", profile="paper", **change).conditions}
    assert {role for role in base if base[role] == other[role]} == untouched


def test_the_images_decide_the_id(tiny, make_tiny):
    for other in (make_tiny(seed=1), make_tiny(train=47), make_tiny(size=16), make_tiny(classes=3)):
        assert not ids(other) & ids(tiny)


def test_profiles_that_train_differently_share_nothing(tiny):
    assert not ids(tiny, profile="quick") & ids(tiny, profile="paper")


def test_two_studies_that_need_one_teacher_share_it(tiny):
    both = [planned(tiny, study=study, profile="reduced") for study in ("tr_kd", "cnn_grid")]
    teachers = [{condition.id for condition in found.conditions if condition.role == "teacher"} for found in both]
    assert len(teachers[0]) == 1
    assert teachers[0] == teachers[1]
    assert set(both[0].runs) & set(both[1].runs) == teachers[0]


def test_quick_studies_share_their_teacher_too(tiny):
    both = [planned(tiny, study=study, profile="quick") for study in ("tr_kd", "cnn_grid")]
    assert set(both[0].runs) & set(both[1].runs) == {both[0].conditions[0].id}


# Conditions and runs


def test_every_condition_has_its_run_and_tells_it_right(tiny):
    found = planned(tiny, study="tr_kd", profile="paper", seeds="0,1")
    assert {condition.id for condition in found.conditions} == set(found.runs)
    for condition in found.conditions:
        run = found.runs[condition.id]
        assert (condition.model, condition.seed) == (run.model, run.seed)
        expected = (run.loss.T, run.loss.alpha, run.loss.lam) if run.loss else (None, None, None)
        assert (condition.T, condition.alpha, condition.lam) == expected
        assert (run.teacher is not None) == (condition.role == "student")
    assert len(set(found.conditions)) == len(found.conditions)


def test_teachers_come_before_their_students(tiny):
    seen = set()
    for run in planned(tiny, study="tr_kd", profile="paper").runs.values():
        assert run.teacher is None or run.teacher.id in seen
        seen.add(run.id)


def test_each_seed_has_its_own_teacher_unless_the_profile_names_one(tiny):
    own = planned(tiny, study="cifar_conv", profile="paper", seeds="0,1,2")
    assert len({condition.id for condition in own.conditions if condition.role == "teacher"}) == 3
    for condition in own.conditions:
        run = own.runs[condition.id]
        assert run.teacher is None or run.teacher.seed == run.seed
    shared = planned(tiny, study="cnn_grid", profile="reduced", seeds="3,4")
    assert {condition.seed for condition in shared.conditions if condition.role == "teacher"} == {0}
    assert {condition.seed for condition in shared.conditions if condition.role == "student"} == {3, 4}


def test_a_point_may_have_fewer_seeds_unless_the_call_names_them(tiny):
    def seeds(**values) -> dict[float, set[int]]:
        made = [one for one in planned(tiny, study="cnn_grid", profile="reduced", **values).conditions if one.alpha]
        return {alpha: {one.seed for one in made if one.alpha == alpha} for alpha in (0.9, 0.5)}

    assert seeds() == {0.9: {0, 1, 2}, 0.5: {0}}
    assert seeds(seeds="0,1") == {0.9: {0, 1}, 0.5: {0, 1}}


def test_each_column_has_its_own_teacher_unless_the_profile_trains_one(tiny):
    own = planned(tiny, study="tr_kd", profile="paper")
    assert {one.recipe for one in own.conditions if one.role == "teacher"} == {"adam128", "sgd128", "adam64"}
    for condition in own.conditions:
        run = own.runs[condition.id]
        assert run.teacher is None or run.teacher.recipe == run.recipe
    shared = planned(tiny, study="tr_kd", profile="reduced", columns="adam128,sgd128")
    assert [condition.recipe for condition in shared.conditions if condition.role == "teacher"] == ["teacher"]


def test_parameters_replace_the_studys_points(tiny):
    found = [one for one in planned(tiny, study="cnn_grid", T="3,4", alpha=0.2).conditions if one.role == "student"]
    assert {(condition.T, condition.alpha, condition.lam) for condition in found} == {(3, 0.2, 0.8), (4, 0.2, 0.8)}
    free = [condition for condition in planned(tiny, study="tr_kd", lam=0.9).conditions if condition.role == "student"]
    assert {condition.lam for condition in free} == {0.9}


def test_a_new_alpha_takes_its_lam_along(tiny):
    found = [one for one in planned(tiny, study="tr_kd", alpha=0.8).conditions if one.role == "student"]
    assert found
    assert all(condition.lam == pytest.approx(0.2) for condition in found)


def test_other_students_take_every_point(tiny):
    found = planned(tiny, study="cnn_grid", profile="paper", students="conv3")
    settings = {(condition.T, condition.alpha) for condition in found.conditions if condition.role == "student"}
    # 45 of the grid; (10, 0.5) and (5, 0.9) are among them
    assert len(settings) == 45
    assert {condition.model for condition in found.conditions if condition.role == "student"} == {"conv3"}


def test_recipe_parameters_apply_to_all_columns(tiny):
    found = planned(tiny, study="tr_kd", profile="paper", epochs=7, lr=0.5, batch_size=8)
    assert {(r.recipe.epochs, r.recipe.lr, r.recipe.batch_size) for r in found.runs.values()} == {(7, 0.5, 8)}


def test_epochs_leave_a_teacher_of_its_own_recipe_alone(tiny):
    found = planned(tiny, study="cnn_grid", profile="reduced", epochs=7, teacher_epochs=2)
    assert {r.recipe.epochs for r in found.runs.values() if r.teacher} == {7}
    teacher = next(found.runs[condition.id] for condition in found.conditions if condition.role == "teacher")
    assert teacher.recipe.epochs == 2


def test_data_parameters_reach_the_data(monkeypatch, tiny):
    from kdlib import data

    asked = {}

    def load(name, **options):
        asked.update(name=name, **options)
        return tiny

    monkeypatch.setattr(data, "load", load)
    parameters = parse(
        {
            "dataset": "folder",
            "data_root": "/x",
            "image_size": 64,
            "train_size": 100,
            "test_size": 50,
            "download": "true",
        }
    )
    assert settle(parameters).data.load(parameters.data_root, parameters.download) is tiny
    expected = {"name": "folder", "data_root": "/x", "image_size": 64, "train_size": 100, "test_size": 50}
    assert expected.items() <= asked.items()
    assert (asked["download"], asked["val_fraction"]) == (True, 0.2)


def test_a_model_of_the_images_shape_is_built(make_tiny):
    dataset = make_tiny(channels=1, classes=3)
    run = next(iter(planned(dataset, study="cifar_conv").runs.values()))
    model = run.build()
    assert model.features[0].in_channels == 1
    assert model.fc.out_features == 3


def test_recipe_from_yaml():
    found = recipe({"optimizer": "sgd", "lr": 0.1, "augmentation": {"pad": 2, "flip": True}})
    assert (found.optimizer, found.lr, found.augmentation.pad, found.augmentation.flip) == ("sgd", 0.1, 2, True)


# Costs


@pytest.fixture
def square(make_tiny):
    """50 training images of 3×32×32 in ten classes, for which cnn2 takes 397,312 MACs each."""
    return make_tiny(train=50, val=10, test=10, classes=10, size=32)


def grid(dataset, **values):
    return planned(dataset, study="cnn_grid", profile="smoke", teacher="cnn2", epochs=3, T=1, alpha=0.5, **values)


def test_training_flops_by_hand(square):
    run = next(iter(grid(square).runs.values()))
    # forward 2 FLOPs a MAC, backward twice that; 3 epochs of 50 images
    assert run.train_flops() == 3 * 2 * 397_312 * 3 * 50


def test_the_teachers_forward_passes_by_hand(square):
    conditions = grid(square).conditions
    runs = {condition.role: grid(square).runs[condition.id] for condition in conditions}
    assert runs["teacher"].guidance_flops() == runs["baseline"].guidance_flops() == {}
    # images that never change are answered once, augmented ones in each epoch, and maps too
    assert runs["student"].guidance_flops() == {"logits": 2 * 397_312 * 50}
    from dataclasses import replace

    from kdlib import losses
    from kdlib.data import Augmentation

    flipped = replace(runs["student"].recipe, augmentation=Augmentation(flip=True))
    assert replace(runs["student"], recipe=flipped).guidance_flops() == {"logits": 2 * 397_312 * 3 * 50}
    sp = replace(runs["student"], loss=losses.preset("sp", None, 1.0, 1.0))
    assert sp.guidance_flops() == {"maps": 2 * 397_312 * 3 * 50}


def _record(folder, id, model, flops, seconds, **hardware):
    """Write what ``cost`` reads of a record."""
    path = folder / id
    path.mkdir(parents=True)
    run = {
        "id": id,
        "config": {"model": model},
        "train_flops": flops,
        "seconds": seconds,
        "hardware": {**records.hardware(), **hardware},
    }
    (path / "run.json").write_text(json.dumps(run))


def costs(found, folder):
    return {c.run.id: c for c in cost.estimate(found, folder)}


def test_without_records_nothing_is_done_and_no_time_is_known(square, tmp_path):
    found = list(costs(grid(square), tmp_path / "none").values())
    assert [(c.done, c.seconds) for c in found] == [(False, None)] * len(found)
    assert {c.flops for c in found} == {9 * 2 * 397_312 * 50}
    assert not (tmp_path / "none").exists()


def test_time_is_judged_by_records_of_the_same_model_on_this_machine(square, tmp_path):
    found = grid(square)
    flops = 9 * 2 * 397_312 * 50
    student = next(condition.id for condition in found.conditions if condition.role == "student")
    teacher = next(condition.id for condition in found.conditions if condition.role == "teacher")
    _record(tmp_path, teacher, "cnn2", flops, 10.0)
    _record(tmp_path, "a", "cnn2", flops, 20.0)
    _record(tmp_path, "b", "cnn2", flops, 40.0)
    _record(tmp_path, "c", "resnet18_kd", flops, 1.0)
    _record(tmp_path, "d", "cnn2", flops, 0.001, processor="a faster one")
    _record(tmp_path, "e", "cnn2", flops, 0.001, gpu="a GPU")
    result = costs(found, tmp_path)
    assert result[teacher].done
    assert result[teacher].seconds == 10.0
    assert not result[student].done
    # rates of 1/10, 1/20 and 1/40 of it: the median is 1/20
    assert result[student].seconds == pytest.approx(20.0)


def test_a_model_without_records_is_judged_by_the_others(square, tmp_path):
    found = grid(square)
    flops = 9 * 2 * 397_312 * 50
    _record(tmp_path, "a", "conv3", flops, 4.0)
    assert all(c.seconds == pytest.approx(4.0) for c in costs(found, tmp_path).values())


def test_a_row_of_the_overview(square, tmp_path):
    found = grid(square)
    result = costs(found, tmp_path)
    rows = {condition.role: result[condition.id].row() for condition in found.conditions}
    assert (rows["student"]["model"], rows["student"]["T"], rows["student"]["alpha"]) == ("cnn2", "1", "0.5")
    assert rows["student"]["recipe"] == "sgd lr=0.1 batch=16 epochs=3"
    assert (rows["teacher"]["T"], rows["teacher"]["on record"], rows["teacher"]["seconds"]) == ("", "no", "?")
