"""Exported files compute what the run's network computes, or are not kept."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from kdlib import cli, data, models, pruning
from kdlib.errors import UserError
from kdlib.export import network
from kdlib.export.predict import open_file
from kdlib.export.quantise import spread
from kdlib.studies import prepare, records

ASKED = {"profile": "smoke", "seeds": "0", "train_size": 60, "test_size": 20}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Records of a distilled student, and of a network whole, cut, and fine-tuned."""
    root = tmp_path_factory.mktemp("out")
    ladder = {"study": "resnet_ladder", "students": "resnet3", **ASKED}
    pruned = {"study": "ts4", "criteria": "magnitude", "model": "resnet3", "ratio": 0.3, **ASKED}
    for asked in (ladder, pruned):
        prepare({**asked, "output_dir": str(root)}).run()
    return root / "smoke" / "runs"


def of(runs, role: str) -> records.Record:
    studies = ("resnet_ladder", "ts4")
    conditions = [condition for study in studies for condition in records.read_conditions(runs.parent / study)[0]]
    return records.read(runs, next(condition.id for condition in conditions if condition.role == role))


@pytest.mark.parametrize("to", list(network.FORMATS))
@pytest.mark.parametrize("role", ["student", "original", "pruned", "finetuned"])
def test_a_file_agrees_with_the_network_on_test_images(runs, tmp_path, role, to):
    record = of(runs, role)
    images = network.dataset(record, None).test.images
    found = network.export(record, tmp_path / f"it{network.FORMATS[to]}", to, images)
    assert found.path.is_file()
    assert (found.agreement, found.real, found.images) == (1.0, True, len(images))
    assert found.difference < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == [found.path.name]


def test_the_network_is_the_runs(runs):
    record = of(runs, "finetuned")
    model = network.network(record)
    logits, _ = record.predictions()
    assert sum(p.numel() for p in model.parameters()) == record.metrics["params"]
    assert logits.shape[1] == record.run["config"]["num_classes"]
    whole = network.network(of(runs, "original"))
    assert sum(p.numel() for p in whole.parameters()) > record.metrics["params"]


def test_an_onnx_file_names_its_classes_and_takes_any_batch(runs, tmp_path):
    record = of(runs, "student")
    found = network.export(record, tmp_path / "it.onnx")
    assert (found.real, found.images) == (False, 32)
    session, about = open_file(found.path)
    assert about["classes"] == record.run["dataset"]["classes"]
    assert about["run"] == record.id
    shape = tuple(int(about[key]) for key in ("channels", "height", "width"))
    for size in (1, 5):
        (logits,) = session.run(None, {"images": np.zeros((size, *shape), np.uint8)})
        assert logits.shape == (size, len(about["classes"]))


def test_a_torchscript_file_holds_the_same_words(runs, tmp_path):
    network.export(of(runs, "student"), tmp_path / "it.pt", "torchscript")
    held = {"kdlib.json": ""}
    torch.jit.load(tmp_path / "it.pt", _extra_files=held)
    assert "classes" in json.loads(held["kdlib.json"])


def test_a_file_that_computes_something_else_is_not_kept(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(network._ANSWERS, "onnx", lambda path, images, record: np.ones((len(images), 10), np.float32))
    with pytest.raises(UserError, match=r"computes something else than resnet3: logits differ by .* it was not kept"):
        network.export(of(runs, "student"), tmp_path / "it.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_an_exporter_does_not_know_is_said_in_one_line(runs, tmp_path, monkeypatch):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.nn.functional.adaptive_max_pool2d(x, 3).flatten(1)[:, :10]

    monkeypatch.setattr(network, "network", lambda record: Odd())
    with pytest.raises(UserError, match=r"resnet3 cannot be written as onnx: .*adaptive_max_pool2d") as caught:
        network.export(of(runs, "student"), tmp_path / "it.onnx")
    assert "\n" not in str(caught.value)


def test_runs_are_found_by_how_their_ids_begin(runs):
    record = of(runs, "student")
    assert network.find(record.id[:10], runs).id == record.id
    assert network.find(str(runs / record.id), runs).id == record.id
    with pytest.raises(UserError, match="is no run in"):
        network.find("nothing", runs)
    with pytest.raises(UserError, match="is no run in"):
        network.find("", runs)


def test_a_run_without_its_start_is_refused(runs, tmp_path):
    import shutil

    record = of(runs, "finetuned")
    shutil.copytree(runs / record.id, tmp_path / record.id)
    with pytest.raises(UserError, match=r"started from run [0-9a-f]{16}, which is not beside it"):
        network.network(records.read(tmp_path, record.id))


def test_the_command_line(runs, tmp_path, capsys):
    record = of(runs, "student")
    arguments = ["export", record.id[:12], "--profile", "smoke", "--output-dir", str(runs.parents[1])]
    assert cli.main([*arguments, "--out", str(tmp_path / "a.onnx")]) == 0
    said = capsys.readouterr().out
    assert "compared on 20 test images: 100.0% of first classes agree" in said
    assert {path.name for path in tmp_path.iterdir()} == {"a.onnx", "a.en.md", "a.tr.md"}
    assert cli.main(["export", "no-such", "--output-dir", str(tmp_path)]) == 2


def test_int8_is_measured_beside_what_it_was_made_from(runs, tmp_path, capsys):
    record = of(runs, "student")
    arguments = ["export", record.id, "--profile", "smoke", "--output-dir", str(runs.parents[1]), "--int8"]
    assert cli.main([*arguments, "--out", str(tmp_path / "a.onnx")]) == 0
    said = capsys.readouterr().out
    assert "a.int8.onnx" in said
    assert re.search(r"20 test images: \d+\.\d\d % against \d+\.\d\d %, [+-]\d", said)
    assert open_file(tmp_path / "a.int8.onnx")[1]["run"] == record.id
    assert {path.name for path in tmp_path.glob("*.onnx")} == {"a.int8.onnx", "a.onnx"}
    assert cli.main([*arguments, "--to", "torchscript"]) == 2


def test_a_small_folder_of_images_is_taken_whole(tmp_path):
    """Fewer images than an export would look at, and of a larger collection the run's first classes."""
    chance = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 3)):
        for name in ("a", "b", "c"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
                    tmp_path / part / name / f"{i}.png"
                )
    load = data.load("folder", data_root=tmp_path, image_size=8, classes=2)
    record = records.Record("abc", tmp_path, {"dataset": load.describe()})
    found = network.dataset(record, str(tmp_path))
    assert torch.equal(found.test.images, load.test.images)
    assert found.classes == ("a", "b")
    # those held out for validation take part
    assert len(found.train) == len(load.train) == 10
    other = records.Record("abc", tmp_path, {"dataset": load.describe() | {"classes": ["b", "c"]}})
    with pytest.raises(UserError, match="has other classes than run abc"):
        network.dataset(other, str(tmp_path))


def test_images_that_set_the_ranges_are_of_every_class():
    labels = torch.arange(100).repeat_interleave(16)  # class by class, as a folder's
    assert len(spread(labels, 200)) == 200
    assert len(spread(labels, 200).unique()) == 100
    assert torch.equal(spread(labels[:7], 200), labels[:7])


def test_pruned_models_load_whichever_way(runs):
    record = of(runs, "pruned")
    fresh = pruning.replay(models.build("resnet3", 10), record.cuts())
    assert {name: p.shape for name, p in fresh.named_parameters()} == {
        name: p.shape for name, p in network.network(record).named_parameters()
    }
