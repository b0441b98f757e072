"""Attention maps: which images and layer, and that models, files and random state are left as they were."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_study import small_plan
from torch import nn

from kdlib import models
from kdlib.errors import UserError
from kdlib.studies import attention, records, runner


@pytest.fixture(scope="module")
def experiment(make_tiny, tmp_path_factory):
    """A trained study of one teacher and one student on 48 images of 8×8, as far as the maps look at it."""
    folder, dataset = tmp_path_factory.mktemp("study"), make_tiny()
    plan = small_plan(dataset, T="4", alpha="0.5")
    runner.execute(plan, folder / "runs", "cpu")
    return SimpleNamespace(
        study=SimpleNamespace(figures=[SimpleNamespace(kind="attention")], seeds=[0]),
        parameters=SimpleNamespace(device="cpu"),
        dataset=dataset,
        plan=plan,
        folder=folder / "study",
        runs_folder=folder / "runs",
    )


@pytest.fixture(scope="module")
def written(experiment):
    path = attention.write(experiment)
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def test_the_file_holds_three_models_and_the_images_of_the_test_part(experiment, written):
    assert written["roles"].tolist() == ["teacher", "baseline", "student"]
    assert written["models"].tolist() == ["conv3", "cnn2", "cnn2"]
    assert written["images"].shape == (8, 3, 8, 8)
    assert written["maps"].shape == (3, 8, 8, 8)
    assert written["maps"].dtype == np.float16
    assert 0 <= written["maps"].min() <= written["maps"].max() <= 1
    indices = written["indices"]
    assert np.array_equal(written["images"], experiment.dataset.test.images[indices].numpy())
    assert np.array_equal(written["labels"], experiment.dataset.test.labels[indices].numpy())


def test_probabilities_are_those_of_the_records(experiment, written):
    for id, probabilities in zip(written["ids"], written["probabilities"], strict=True):
        logits, _ = records.read(experiment.runs_folder, id).predictions()
        expected = torch.from_numpy(logits[written["indices"]]).softmax(1).numpy()
        assert probabilities == pytest.approx(expected, abs=1e-6)


def test_the_student_is_taught_by_the_teacher_that_is_drawn(experiment, written):
    student = records.read(experiment.runs_folder, written["ids"][2])
    assert student.run["config"]["teacher"] == written["ids"][0]


def test_a_file_of_the_same_runs_is_left_and_one_of_others_written_anew(experiment, written, monkeypatch):
    path = experiment.folder / "attention.npz"
    before = path.stat().st_mtime_ns
    monkeypatch.setattr(attention, "grad_cam", lambda *_: pytest.fail("computed again"))
    assert attention.write(experiment) == path
    assert path.stat().st_mtime_ns == before
    monkeypatch.undo()
    np.savez(path, asked=np.array(["other"]))
    attention.write(experiment)
    with np.load(path) as file:
        assert np.array_equal(file["maps"], written["maps"])  # and the same maps come out
    assert [p.name for p in experiment.folder.iterdir()] == ["attention.npz"]


def test_a_study_that_draws_none_writes_none(experiment, tmp_path):
    study = SimpleNamespace(figures=[SimpleNamespace(kind="curves")], seeds=[0])
    assert attention.write(SimpleNamespace(study=study, folder=tmp_path)) is None
    assert not list(tmp_path.iterdir())


def test_records_without_weights_give_no_maps(experiment, tmp_path):
    for record in records.read_all(experiment.runs_folder):
        (tmp_path / "runs" / record.id).mkdir(parents=True)
        for name in ("run.json", "predictions.npz", "history.csv"):
            (tmp_path / "runs" / record.id / name).write_bytes((record.path / name).read_bytes())
    values = {**vars(experiment), "runs_folder": tmp_path / "runs", "folder": tmp_path / "study"}
    assert attention.write(SimpleNamespace(**values)) is None


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(UserError, match=r"grad-cam.*kdlib\[study\]"):
        attention.grad_cam(models.build("cnn2", 2), torch.zeros(1, 3, 16, 16), [0])


def test_the_map_is_the_formula_by_hand():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(5 * 64, 2))
    images = torch.randn(3, 3, 8, 8)
    name, maps = attention.grad_cam(model, images, [0, 1, 1])
    assert name == "1"
    features = model[1](model[0](images)).detach().requires_grad_(True)
    logits = model[3](features.flatten(1))
    logits[[0, 1, 2], [0, 1, 1]].sum().backward()
    weights = features.grad.mean((2, 3), keepdim=True)  # Selvaraju et al. 2017, eq. 1 and 2
    expected = torch.relu((weights * features).sum(1)).detach()
    low, high = expected.amin((1, 2), keepdim=True), expected.amax((1, 2), keepdim=True)
    assert maps == pytest.approx(((expected - low) / (high - low)).numpy(), abs=1e-4)


def test_the_model_is_left_as_it_was():
    model = models.build("resnet4", 2).train()
    model.conv1.weight.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    model.bn1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    chance = torch.get_rng_state()
    attention.grad_cam(model, torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), [0, 1])
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert not model.bn1.training
    assert not model.conv1.weight.requires_grad
    assert torch.equal(model.fc.weight.grad, torch.ones_like(model.fc.weight))
    assert all(not module._forward_hooks and not module._backward_hooks for module in model.modules())
    assert all(m.inplace for m in model.modules() if isinstance(m, nn.ReLU))
    assert model.layer1[0].conv1.weight.grad is None


@pytest.mark.parametrize(("size", "layer"), [(8, "layer2"), (16, "layer3"), (32, "layer4")])
def test_the_layer_is_the_deepest_with_four_positions_a_side(size, layer):
    model = models.build("resnet10", 2).eval()
    assert attention.deepest_layer(model, torch.zeros(1, 3, size, size)) == layer
    assert all(not module._forward_hooks for module in model.modules())


def test_a_module_that_runs_twice_is_passed_over():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu, self.fc = nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Linear(4 * 64, 2)

        def forward(self, x):
            return self.fc(self.relu(self.relu(self.first(x))).flatten(1))

    assert attention.deepest_layer(Twice(), torch.zeros(1, 3, 8, 8)) == "first"


def test_a_model_without_feature_maps_has_none():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))
    assert attention.grad_cam(flat, torch.zeros(2, 3, 8, 8), [0, 1]) is None


def test_images_are_half_right_half_wrong_and_of_every_class_in_test_order():
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    right = np.ones((2, 12), dtype=bool)
    right[1, [1, 3, 5, 7, 9, 11]] = False
    assert attention.choose(labels, right) == [0, 2, 6, 8, 1, 3, 7, 9]


def test_too_few_errors_are_made_up_by_more_that_are_right():
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    right = np.ones((3, 10), dtype=bool)
    right[0, 8] = False
    assert attention.choose(labels, right) == [0, 1, 2, 3, 5, 6, 7, 8]


def test_no_patient_is_drawn_twice():
    labels = np.repeat([0, 1], 10)
    groups = np.repeat(np.arange(10), 2)
    right = np.arange(20)[None] % 2 == 0
    found = attention.choose(labels, right, groups)
    assert len(found) == len(set(groups[found])) == 8
    assert np.bincount(labels[found]).tolist() == [4, 4]


def test_fewer_images_than_asked_for_are_all_drawn():
    assert attention.choose(np.array([1, 0]), np.array([[True, False]])) == [0, 1]


def test_more_classes_than_images_take_the_first_of_each_in_turn():
    labels = np.arange(20)
    assert attention.choose(labels, np.ones((1, 20), dtype=bool), count=4) == [0, 1, 2, 3]


def test_diverged_students_are_not_drawn(experiment, monkeypatch):
    def read(folder, id, whole=records.read):
        record = whole(folder, id)
        if record.run["config"]["teacher"]:
            record = dataclasses.replace(record, run={**record.run, "diverged": {"reason": "x", "epoch": 1}})
        return record

    monkeypatch.setattr(attention.records, "read", read)
    assert attention._models(experiment) == []
