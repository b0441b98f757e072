"""The study ``compress``: which networks lie between a teacher and a small one, and which is taken."""

import json
from argparse import Namespace

import pytest

from kdlib import cli, reporting
from kdlib.cli import main
from kdlib.errors import UserError
from kdlib.reporting import compression
from kdlib.studies import prepare


def planned(**values):
    return prepare({"study": "compress", "profile": "smoke", **values})


def runs(experiment, role: str) -> list:
    plan = experiment.plan
    return [plan.runs[condition.id] for condition in plan.conditions if condition.role == role]


def test_a_student_is_taught_then_pruned_and_fine_tuned_with_the_teacher():
    experiment = planned()
    (teacher,), (alone,), (student,) = (runs(experiment, role) for role in ("teacher", "baseline", "student"))
    assert (teacher.model, student.model, alone.loss) == ("resnet50_small", "resnet3", None)
    assert student.teacher is teacher
    assert (student.loss.T, student.loss.alpha, student.loss.lam) == (4, 0.9, 0.1)
    for pruned, tuned in zip(runs(experiment, "pruned"), runs(experiment, "distilled"), strict=True):
        assert pruned.weights is student
        assert (tuned.weights, tuned.teacher) == (pruned, teacher)


def test_shares_are_of_the_teachers_macs():
    experiment = planned()
    (teacher,), (student,) = (runs(experiment, role) for role in ("teacher", "student"))
    share = student.macs() / teacher.macs()
    assert [run.prune.macs for run in runs(experiment, "pruned")] == [round(m / share, 4) for m in (0.05, 0.02)]
    # the student has less than half of the teacher's MACs before anything is cut
    assert share < 0.5
    assert not runs(planned(macs=0.5), "pruned")


def test_without_a_student_the_teacher_is_pruned():
    experiment = prepare({"study": "compress", "profile": "quick", "macs": 0.4})
    (teacher,), (pruned,) = (runs(experiment, role) for role in ("teacher", "pruned"))
    assert (pruned.weights, pruned.prune.macs, pruned.prune.criterion) == (teacher, 0.4, "taylor")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"students": "resnet3,resnet4"}, "name one student, not 2"),
        ({"model": "resnet3"}, "has no model"),
        ({"ratio": 0.5}, "has no ratio"),
        ({"max_drop": -1}, "greater than or equal to 0"),
        ({"T": "2,8"}, "give one value each of T, alpha and lam"),
    ],
)
def test_what_it_cannot_do_is_said(asked, said):
    with pytest.raises(UserError, match=said):
        planned(**asked)


def test_another_max_drop_is_another_answer():
    assert planned(max_drop=1).plan.runs.keys() == planned(max_drop=5).plan.runs.keys()
    assert planned(max_drop=1).signature == planned(max_drop=1).signature != planned(max_drop=5).signature


def test_max_drop_is_of_this_study_alone():
    with pytest.raises(UserError, match="max_drop does nothing in study ts6"):
        prepare({"study": "ts6", "profile": "smoke", "max_drop": 1})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A smoke study's folder, its accuracies in validation written over with ones that tell."""
    root = tmp_path_factory.mktemp("compress")
    experiment = planned(output_dir=str(root))
    experiment.run()
    return experiment


def taken(experiment, accuracies: dict[str, float], drop: float = 1.0) -> str | None:
    results = reporting.read(experiment.folder)
    results.study.shares.__dict__["max_drop"] = drop
    for where in results.settings():
        for condition, record in results.select(**where):
            key = f"{where['role']} {condition.macs:.2f}" if condition.macs else where["role"]
            record.run["metrics"]["val_accuracy"] = accuracies[key]
    return compression.read(results).run


def test_the_smallest_that_lost_no_more_than_allowed_is_taken(done):
    (student,), tuned = runs(done, "student"), runs(done, "distilled")
    keys = [f"distilled {run.prune or run.weights.prune.macs:.2f}" for run in tuned]
    names = {"teacher": 0.9, "baseline": 0.95, "student": 0.895, keys[0]: 0.89, keys[1]: 0.80}
    names |= {key.replace("distilled", "pruned"): 0.99 for key in keys}  # not trained since: never taken
    assert taken(done, names) == tuned[0].id
    assert taken(done, names, drop=0.5) == student.id
    assert taken(done, names, drop=10) == tuned[1].id
    # each lost more: the one that lost least
    assert taken(done, {**names, "student": 0.7, keys[0]: 0.75}, drop=1) == tuned[1].id


def test_the_table_measures_every_network(done):
    results = reporting.read(done.folder)
    (table,) = compression.sheets(results)
    found = table.frame("en")
    assert len(found) == 7  # teacher, alone, student, two cuts, each fine-tuned
    macs = [float(value) for value in found["MACs (%)"]]
    assert macs[0] == 100
    assert macs[3] == macs[4] == pytest.approx(5, abs=1)
    measured = json.loads((done.folder / "pruned.json").read_text())["models"]
    assert [one["role"] for one in measured] == ["teacher", "student", "pruned", "pruned"]
    assert sum(label.startswith("→") for label in found.index) == 1


def test_the_command_says_how_to_take_the_network_along(tmp_path, capsys):
    asked = ["compress", "--profile", "smoke", "--output-dir", str(tmp_path)]
    assert main([*asked, "--dry-run"]) == 0
    capsys.readouterr()
    assert main(asked) == 0
    said = capsys.readouterr().out
    command = next(line for line in said.splitlines() if line.startswith("→ kdlib export"))
    assert main([*command.split()[2:-1], str(tmp_path / "small.onnx")]) == 0
    assert (tmp_path / "small.onnx").is_file()
    # the network of a run teaches as it is, at its own size
    teacher = next((tmp_path / "smoke" / "runs").glob("*/model.safetensors")).parent
    run = json.loads((teacher / "run.json").read_text())
    place = {"output_dir": str(tmp_path), "profile": "smoke"}
    own = cli._teacher(Namespace(**place, teacher=str(teacher), weights=None, image_size=None))
    assert own == {
        "teacher": run["config"]["model"],
        "weights": teacher / "model.safetensors",
        "image_size": run["dataset"]["shape"][1],
        "input_size": run["config"].get("input_size"),
    }
    assert main([*asked, "--teacher", str(teacher), "--weights", "x.pt", "--dry-run"]) == 2
    assert "leave out --weights" in capsys.readouterr().err
