"""The runner: what is missing and nothing else, in groups that share their batches."""

import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_study import assert_complete, assert_same_record, shown, small_plan

from kdlib import models
from kdlib.data import normalise
from kdlib.errors import UserError
from kdlib.studies import records, runner
from kdlib.training import Stop, Stopped, derive, teacher


@pytest.fixture(scope="module")
def executed(tiny, tmp_path_factory):
    """The small study, done."""
    runs = tmp_path_factory.mktemp("executed") / "runs"
    runner.execute(small_plan(tiny), runs, "cpu")
    return runs


@pytest.fixture
def copy(executed, tmp_path):
    return shutil.copytree(executed, tmp_path / "runs")


@pytest.fixture
def trained(monkeypatch):
    """The number of models of each call to ``train``."""
    calls = []
    inner = runner.train

    def spy(jobs, *words, **options):
        calls.append(len(jobs))
        return inner(jobs, *words, **options)

    monkeypatch.setattr(runner, "train", spy)
    return calls


# Execution


def test_every_run_becomes_a_whole_record(tiny, executed):
    found = small_plan(tiny)
    assert len(found.runs) == 6
    assert shown(executed) == set(found.runs)
    assert {path.name for path in executed.iterdir()} == {*found.runs, ".teachers"}
    assert_complete(executed)


def test_a_record_says_what_was_asked_for_and_came_out(tiny, executed):
    for id, run in small_plan(tiny).runs.items():
        record = records.read(executed, id)
        assert record.run["config"] == run.config
        assert record.run["dataset"] == tiny.describe()
        assert record.run["train_flops"] == run.train_flops()
        assert (record.run["precision"], record.run["device"], record.diverged) == ("fp32", "cpu", None)
        assert set(record.metrics) == {
            "epoch",
            "params",
            "trainable_params",
            *(f"{part}_{what}" for part in ("test", "val") for what in ("accuracy", "balanced_accuracy", "loss")),
            "train_accuracy",
            "train_loss",
        }
        assert all(0 <= record.metrics[f"{part}_accuracy"] <= 1 for part in ("train", "val", "test"))
        assert record.run["seconds"] > 0


def test_the_weights_of_a_record_give_its_predictions(tiny, executed):
    for id, run in small_plan(tiny).runs.items():
        record = records.read(executed, id)
        model = models.build(run.model, 4).eval()
        model.load_state_dict(record.weights())
        with torch.no_grad():
            logits = model(normalise(tiny.test.images, tiny.mean, tiny.std)).numpy()
        stored, labels = record.predictions()
        assert stored == pytest.approx(logits, abs=1e-5)
        assert np.array_equal(labels, tiny.test.labels.numpy())
        assert record.metrics["test_accuracy"] == (stored.argmax(axis=1) == labels).mean()


def test_students_trained_in_lockstep_and_teachers_before(tiny, executed):
    sizes = {}
    for condition in small_plan(tiny).conditions:
        sizes.setdefault(condition.role, set()).add(records.read(executed, condition.id).run["group"]["size"])
    # four students and the baseline in one group
    assert sizes == {"teacher": {1}, "baseline": {5}, "student": {5}}


def test_a_second_call_trains_nothing(tiny, copy, trained):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    found = runner.execute(small_plan(tiny), copy, "cpu")
    assert trained == []
    assert set(found) == set(small_plan(tiny).runs)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


@pytest.mark.parametrize("role", ["teacher", "baseline", "student"])
def test_a_record_that_is_gone_is_done_again_alone_and_to_the_bit(tiny, executed, copy, trained, role):
    found = small_plan(tiny)
    id = next(condition.id for condition in found.conditions if condition.role == role)
    shutil.rmtree(copy / id)
    before = {path: path.stat().st_mtime_ns for path in copy.glob("*/*.*")}
    runner.execute(found, copy, "cpu")
    assert trained == [1]
    assert_same_record(records.read(copy, id), records.read(executed, id))
    after = {path: path.stat().st_mtime_ns for path in copy.glob("*/*.*") if path.parent.name != id}
    assert after == before


def test_more_settings_train_only_what_is_new(tiny, copy, trained):
    wider = small_plan(tiny, T="1,10,20")
    runner.execute(wider, copy, "cpu")
    assert trained == [2]
    assert shown(copy) == set(wider.runs)


def test_a_damaged_record_is_done_again(tiny, copy, trained):
    found = small_plan(tiny)
    id = next(condition.id for condition in found.conditions if condition.role == "student")
    (copy / id / "run.json").unlink()
    assert runner.execute(found, copy, "cpu")[id].metrics["epoch"] == 2
    assert trained == [1]
    assert_complete(copy)
    trained.clear()
    runner.execute(found, copy, "cpu")
    assert trained == []


def test_records_of_other_groups_of_images_are_not_taken_for_these(tiny, copy, trained):
    test = replace(tiny.test, groups=torch.arange(len(tiny.test)) // 2)
    grouped = replace(tiny, test=test)
    found = small_plan(grouped)
    assert set(found.runs) == set(small_plan(tiny).runs)  # a model sees the same
    with pytest.raises(UserError, match="is on record with other groups of images; name another output_dir for these"):
        runner.execute(found, copy, "cpu")
    assert trained == []


def test_threads_are_those_of_the_call_alone(tiny, copy):
    before = torch.get_num_threads()
    shutil.rmtree(next(copy.iterdir()))
    found = runner.execute(small_plan(tiny), copy, "cpu", runner.Options(threads=before + 1))
    assert torch.get_num_threads() == before
    assert before + 1 in {record.run["hardware"]["threads"] for record in found.values()}


def test_workers_take_no_single_gpu(tiny, copy, monkeypatch):
    monkeypatch.setattr(runner, "resolve_device", lambda device: torch.device(device))
    monkeypatch.setattr(runner, "check", lambda *_: None)
    shutil.rmtree(next(copy.iterdir()))
    with pytest.raises(UserError, match="share out all GPUs: say cuda, not cuda:1"):
        runner.execute(small_plan(tiny), copy, "cuda:1", runner.Options(jobs=2))


def test_another_seed_is_another_result(tiny, copy):
    found = small_plan(tiny, seeds=1, T=1, alpha=0.1)
    runner.execute(found, copy, "cpu")
    first = {(one.role, one.T, one.alpha): one.id for one in small_plan(tiny, T=1, alpha=0.1).conditions}
    teachers = set()
    for condition in found.conditions:
        if condition.role == "teacher":  # the profile names one seed for it
            teachers.add(condition.id == first[condition.role, None, None])
            continue
        ours = records.read(copy, condition.id).weights()
        theirs = records.read(copy, first[condition.role, condition.T, condition.alpha]).weights()
        assert any(not torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert teachers == {True}


def test_each_seed_has_its_own_order_of_batches(tiny, tmp_path, monkeypatch):
    asked = []
    inner = runner.train

    def spy(jobs, *words, order_seed, **options):
        asked.append((order_seed, {job.seed for job in jobs}))
        return inner(jobs, *words, order_seed=order_seed, **options)

    monkeypatch.setattr(runner, "train", spy)
    runner.execute(small_plan(tiny, seeds="0,5", T=1, alpha=0.5), tmp_path / "runs", "cpu")
    # the teacher, whose seed the profile names, and a group for each seed; a role has an order of its own
    assert [seeds for _, seeds in asked] == [{0}, {0}, {5}]
    assert [order for order, _ in asked] == [derive(0, "teacher"), derive(0, "student"), derive(5, "student")]


def test_a_temperature_added_later_is_learnt_without_the_teacher(tiny, copy, monkeypatch):
    asked = []
    inner = teacher.Teacher.answer
    monkeypatch.setattr(teacher.Teacher, "answer", lambda self, *words: (asked.append(1), inner(self, *words))[1])
    wider = small_plan(tiny, T="1,10,20")
    runner.execute(wider, copy, "cpu")
    assert asked == []
    shutil.rmtree(copy / ".teachers")
    shutil.copytree(copy, copy.with_name("again"))
    new = next(condition.id for condition in wider.conditions if condition.T == 20)
    shutil.rmtree(copy.with_name("again") / new)
    runner.execute(wider, copy.with_name("again"), "cpu", runner.Options(teacher_store=0))
    assert asked == [1]
    assert not (copy.with_name("again") / ".teachers").exists()
    assert_same_record(records.read(copy, new), records.read(copy.with_name("again"), new))


def test_what_was_stopped_goes_on(tiny, executed, tmp_path):
    class After(Stop):
        left = 7

        @property
        def requested(self):
            self.left -= 1
            return self.left < 0

    runs, found = tmp_path / "runs", small_plan(tiny)
    calls = 0
    while True:
        calls += 1
        try:
            runner.execute(found, runs, "cpu", stop=After())
            break
        except Stopped:
            pass
    assert calls > 2
    assert not (runs / ".training").exists()
    for id in found.runs:
        assert_same_record(records.read(runs, id), records.read(executed, id))


def test_a_published_teacher_cannot_teach(tiny, copy):
    found = small_plan(tiny, T=5)
    teacher = next(condition.id for condition in found.conditions if condition.role == "teacher")
    (copy / teacher / "model.safetensors").unlink()
    with pytest.raises(UserError, match="published without its weights"):
        runner.execute(found, copy, "cpu")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"batch_size": 49}, "48 training images, fewer than one batch of 49"),
        ({"students": "cnn2,resnet18_light", "batch_size": 1}, "resnet18_light has batch norm"),
        ({"students": "torch.nn:Identity"}, "torch.nn:Identity has no weights"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_the_first_run(tiny, tmp_path, trained, values, says):
    with pytest.raises(UserError, match=says):
        runner.execute(small_plan(tiny, **values), tmp_path / "runs", "cpu")
    assert trained == []
    assert not (tmp_path / "runs").exists()


def test_an_unknown_device_is_refused(tiny, tmp_path):
    with pytest.raises(UserError, match="unknown device 'tpu9'"):
        runner.execute(small_plan(tiny), tmp_path / "runs", "tpu9")
    assert not (tmp_path / "runs").exists()


# Groups


def kinds(plan, group) -> list[str]:
    roles = {condition.id: condition.role for condition in reversed(plan.conditions)}
    return [roles[run.id] for run in group.runs]


def grouped(plan, todo=None):
    return runner.groups(plan, todo if todo is not None else list(plan.runs.values()))


def test_teachers_come_first_and_baselines_join_the_students(tiny):
    found = small_plan(tiny)
    first, second = grouped(found)
    assert kinds(found, first) == ["teacher"]
    assert first.teacher is None
    assert sorted(kinds(found, second)) == ["baseline"] + ["student"] * 4
    assert second.teacher is first.runs[0]


def test_a_baseline_left_over_trains_alone(tiny):
    found = small_plan(tiny)
    baseline = next(found.runs[condition.id] for condition in found.conditions if condition.role == "baseline")
    (group,) = grouped(found, [baseline])
    assert (group.runs, group.teacher) == ([baseline], None)


def test_seeds_are_groups_of_their_own(tiny):
    found = small_plan(tiny, seeds="0,1,2")
    parts = grouped(found)
    assert [len({run.seed for run in part.runs}) for part in parts] == [1] * len(parts)
    # one teacher for all (the profile says so), then one group a seed
    assert [len(part.runs) for part in parts] == [1, 5, 5, 5]


def test_a_student_alone_of_its_teachers_architecture_is_a_run_of_its_own(tiny):
    found = small_plan(tiny, teacher="cnn2")
    first, second = grouped(found)
    assert len(found.runs) == 6
    assert kinds(found, first) == ["teacher"]
    assert sorted(kinds(found, second)) == ["baseline"] + ["student"] * 4
    baseline = next(run for run in second.runs if run.teacher is None)
    assert (baseline.recipe, baseline.seed, baseline.model) == (first.runs[0].recipe, 0, "cnn2")
    assert baseline.id != first.runs[0].id


def test_columns_that_differ_in_batch_size_are_groups_of_their_own(tiny):
    from kdlib.studies.parameters import parse, settle
    from kdlib.studies.plan import plan

    # paper: three columns of two recipes with batches of 128, one with 64; each has its own teacher
    found = plan(settle(parse({"study": "tr_kd", "profile": "paper"})), tiny)
    parts = grouped(found)
    for part in parts:
        assert len({run.recipe.stream for run in part.runs}) == 1
        assert len({run.teacher.id for run in part.runs if run.teacher}) <= 1
        assert part.teacher is None or {run.teacher for run in part.runs if run.teacher} == {part.teacher}
    teachers = [part for part in parts if "teacher" in kinds(found, part)]
    # Adam and SGD teachers of batch 128 share their batches
    assert sorted(len(part.runs) for part in teachers) == [1, 2]
    assert parts[: len(teachers)] == teachers
    assert sum(len(part.runs) for part in parts) == len(found.runs)


def test_the_arithmetic_of_a_group_counts_the_teacher_once(tiny):
    found = small_plan(tiny)
    teachers, students = grouped(found)
    own = {run.id: run.train_flops() for run in found.runs.values()}
    assert teachers.flops() == own[teachers.runs[0].id]
    guidance = next(run.guidance_flops() for run in students.runs if run.teacher)
    assert guidance["logits"] > 0
    assert students.flops() == sum(own[run.id] for run in students.runs) + guidance["logits"]


def test_log_says_what_is_missing_before_anything_is_written(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"install kdlib\[log\]"):
        runner.execute(small_plan(tiny), tmp_path / "runs", "cpu", runner.Options(log="tensorboard"))
    assert list(tmp_path.iterdir()) == []


def test_logged_runs_lie_beside_the_records_and_are_the_same(tiny, executed, tmp_path):
    pytest.importorskip("tensorboard")
    found = small_plan(tiny)
    runner.execute(found, tmp_path / "runs", "cpu", runner.Options(log="tensorboard"))
    logged = {path.name.rpartition("-")[2] for path in (tmp_path / "tensorboard").iterdir()}
    assert logged == {id for id, run in found.runs.items() if run.recipe}
    for id in found.runs:
        assert_same_record(records.read(executed, id), records.read(tmp_path / "runs", id))
