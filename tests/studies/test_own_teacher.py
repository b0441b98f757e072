"""A teacher that was trained elsewhere teaches as it is."""

import pytest
import torch

from kdlib import models, reporting
from kdlib.errors import UserError
from kdlib.studies import prepare, records


def asked(tmp_path, **more):
    return {"study": "cifar_conv", "profile": "smoke", "output_dir": str(tmp_path / "out"), **more}


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(3)
    network = models.build("conv10", 10)
    path = tmp_path / "teacher.pt"
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, path)
    return path, network


def test_its_record_holds_its_own_weights_and_the_students_name_it(tmp_path, checkpoint):
    path, network = checkpoint
    folder = prepare(asked(tmp_path, weights=str(path))).run()
    conditions, _ = records.read_conditions(folder)
    teacher = next(condition for condition in conditions if condition.role == "teacher")
    runs = records.runs_of(folder)
    record = records.read(runs, teacher.id)
    assert record.run["config"]["recipe"] is None
    kept = record.weights()
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    student = records.read(runs, next(condition.id for condition in conditions if condition.role == "student"))
    assert student.run["config"]["teacher"] == teacher.id
    for lang in ("en", "tr"):
        assert reporting.findings(reporting.read(folder), lang)
        assert [table.markdown(lang) for table in reporting.tables(reporting.read(folder))]
        assert "curves" in reporting.draw(reporting.read(folder), lang)  # the teacher has no epochs to draw


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"weights": "imagenet"}, "the file of a trained teacher's weights, got 'imagenet'"),
        ({"study": "cnn_grid", "profile": "quick", "weights": "TEACHER", "teacher_epochs": 3}, "leave one of them out"),
        ({"weights": "nowhere.pt"}, "nowhere.pt"),
    ],
)
def test_what_cannot_teach_is_refused_in_one_line(tmp_path, checkpoint, more, said):
    more = {key: str(checkpoint[0]) if value == "TEACHER" else value for key, value in more.items()}
    with pytest.raises(UserError, match=said):
        prepare(asked(tmp_path, **more))


def test_weights_of_another_network_are_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "other.pt"
    torch.save(models.build("conv3", 10).state_dict(), path)
    with pytest.raises(
        UserError, match=r"features\.0\.weight of ConvNet is not in the checkpoint, or of another shape"
    ):
        prepare(asked(tmp_path, weights=str(path))).run()
    assert not list((tmp_path / "out").rglob("run.json"))
