"""Studies whose models start from weights: what is planned, what it costs, what is trained, what is refused."""

from dataclasses import replace

import pytest
import torch

from kdlib import models
from kdlib.data import normalise
from kdlib.errors import UserError
from kdlib.studies import records, runner
from kdlib.studies.parameters import parse, settle
from kdlib.studies.plan import plan
from kdlib.studies.run import Run, Weights

OPEN = {"head": ("fc",), "2-3-4": ("layer2", "layer3", "layer4", "fc"), "all": None, "scratch": None}


@pytest.fixture(scope="module")
def target(make_tiny):
    return make_tiny(size=32)


@pytest.fixture(scope="module")
def source(make_tiny):
    return make_tiny(classes=3, size=32, seed=1, name="source")


def planned(target, source, study="tr_transfer", profile="smoke", **values):
    settings = settle(parse({"study": study, "profile": profile, **values}))
    return plan(settings, target, source)


def by_variant(made):
    return {condition.variant: made.runs[condition.id] for condition in made.conditions if condition.role == "transfer"}


def test_one_source_and_a_model_for_each_choice(target, source):
    made = planned(target, source)
    assert [(condition.role, condition.recipe, condition.variant) for condition in made.conditions] == [
        ("source", "source", None),
        *(("transfer", "adam128", name) for name in ("head", "4", "3-4", "2-3-4", "all", "scratch")),
    ]
    runs = by_variant(made)
    for name, opened in OPEN.items():
        assert runs[name].open == opened
    first = made.runs[made.conditions[0].id]
    assert (first.dataset.name, first.model, first.open) == ("source", "resnet18_transfer", None)
    assert runs["scratch"].weights is None
    assert all(run.weights is first for name, run in runs.items() if name != "scratch")


def test_another_network_stands_beside_with_its_own_weights_and_choices(target, source):
    lite0 = "timm/tf_efficientnet_lite0"
    made = planned(target, source, profile="reduced")
    found = {one.variant: made.runs[one.id] for one in made.conditions if made.runs[one.id].model == lite0}
    assert list(found) == ["head", "last", "all", "scratch"]
    assert found["last"].open == ("blocks.6", "conv_head", "bn2", "classifier")
    assert found["head"].config["weights"] == {"from": "efficientnet-lite0-57934424.pth", "fresh": "classifier"}
    assert found["scratch"].weights is None
    for asked in ({"open_layers": "head,all"}, {"model": "resnet10"}, {"weights": "imagenet"}):
        made = planned(target, source, profile="reduced", **asked)
        assert lite0 not in {run.model for run in made.runs.values()}


def test_other_columns_open_what_the_report_opened(target, source):
    conditions = planned(target, source, profile="paper").conditions
    assert [one.variant for one in conditions if one.recipe in ("sgd128", "adam64")] == ["2-3-4", "2-3-4"]
    assert [one.variant for one in conditions if one.recipe == "adam128"] == [
        "head",
        "4",
        "3-4",
        "2-3-4",
        "all",
        "scratch",
    ]


def test_what_is_asked_for_is_trained_in_every_column(target, source):
    conditions = planned(target, source, profile="reduced", open_layers="head,layer4.1+fc").conditions
    assert [(a.recipe, a.variant) for a in conditions if a.role == "transfer"] == [
        (column, name) for column in ("adam128", "sgd128", "adam64") for name in ("head", "layer4.1+fc")
    ]
    assert by_variant(planned(target, source, open_layers="layer4.1+fc"))["layer4.1+fc"].open == ("layer4.1", "fc")


def test_the_id_tells_open_layers_and_weights_apart(target, source):
    runs = by_variant(planned(target, source))
    assert len({run.id for run in runs.values()}) == 6
    again = by_variant(planned(target, source))
    assert {name: run.id for name, run in runs.items()} == {name: run.id for name, run in again.items()}
    assert runs["head"].config["open"] == ["fc"]
    assert runs["head"].config["weights"] == {"from": runs["head"].weights.id, "fresh": "fc"}


def test_another_source_is_another_run(target, source):
    longer = by_variant(planned(target, source, source_epochs=2))
    plain = by_variant(planned(target, source))
    assert longer["head"].id != plain["head"].id
    assert longer["scratch"].id == plain["scratch"].id


def test_what_is_off_is_not_in_the_config(target, source):
    config = by_variant(planned(target, source))["scratch"].config
    asked = {"model", "num_classes", "dataset", "recipe", "seed", "precision", "loss", "teacher"}
    assert set(config) == {*asked, "protocol", "role"}
    assert not {"class_weights", "label_smoothing"} & config["recipe"].keys()
    smooth = by_variant(planned(target, source, label_smoothing=0.1))["scratch"]
    assert smooth.config["recipe"]["label_smoothing"] == 0.1


def test_arithmetic_of_what_is_open(target, source):
    runs = by_variant(planned(target, source))
    # 4 classes: the last layer has 128·4 instead of 128·10 MACs
    forward, head = 37_176_576 - 128 * 6, 165_120 - 128 * 6
    images, epochs = 48, 1
    assert runs["head"].train_flops() == (2 * forward + 4 * head) * images * epochs
    assert runs["all"].train_flops() == 6 * forward * images * epochs


def test_sources_come_first_and_choices_share_their_batches(target, source):
    made = planned(target, source)
    groups = runner.groups(made, list(made.runs.values()))
    assert [len(group.runs) for group in groups] == [1, 6]
    assert groups[0].runs[0].dataset.name == "source"


def test_a_teacher_that_starts_from_a_source_comes_after_it(target, source):
    made = planned(target, source, study="radiology_model1")
    groups = runner.groups(made, list(made.runs.values()))
    roles = {condition.id: condition.role for condition in made.conditions}
    # both sources together, the teacher, then the student alone and with it
    assert [[roles[run.id] for run in group.runs] for group in groups] == [
        ["source", "source"],
        ["teacher"],
        ["student", "baseline"],
    ]
    assert all(run.open == ("classifier",) for run in made.runs.values() if roles[run.id] != "source")


def test_imagenet_weights_are_named_not_loaded_when_planned(target):
    runs = by_variant(planned(target, None, profile="paper"))
    assert runs["2-3-4"].weights == Weights("ResNet18_Weights.IMAGENET1K_V1")
    assert runs["2-3-4"].config["weights"]["from"] == "ResNet18_Weights.IMAGENET1K_V1"


def test_a_checkpoint_counts_by_its_bytes_not_its_place(target, tmp_path):
    for name in ("a.pt", "b.pt"):
        torch.save(models.build("resnet18_transfer", 7).state_dict(), tmp_path / name)
    (tmp_path / "c.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    ids = {n: by_variant(planned(target, None, weights=str(tmp_path / n)))["head"].id for n in ("a.pt", "b.pt", "c.pt")}
    assert ids["a.pt"] == ids["c.pt"] != ids["b.pt"]


@pytest.fixture(scope="module")
def executed(target, source, tmp_path_factory):
    """The source, the head alone and all layers, trained for an epoch."""
    folder = tmp_path_factory.mktemp("runs")
    made = planned(target, source, open_layers="head,all")
    runner.execute(made, folder, "cpu")
    return made, folder


def test_frozen_layers_are_the_sources_to_the_bit(executed):
    made, folder = executed
    runs = by_variant(made)
    source = records.read(folder, runs["head"].weights.id).weights()
    head, all_ = (records.read(folder, runs[name].id).weights() for name in ("head", "all"))
    features = [name for name in source if not name.startswith("fc.")]
    assert all(torch.equal(head[name], source[name]) for name in features)
    assert not any(torch.equal(all_[name], source[name]) for name in features if name.endswith("conv1.weight"))
    # the head is new: it has another number of classes, and its first layer is not the source's either
    assert head["fc.6.weight"].shape == (4, 128)
    assert not torch.equal(head["fc.0.weight"], source["fc.0.weight"])


def test_a_trained_run_answers_as_it_did(executed):
    made, folder = executed
    run = by_variant(made)["head"]
    model = runner.trained(run, folder).eval()
    images = normalise(run.dataset.test.images, run.dataset.mean, run.dataset.std)
    with torch.no_grad():
        assert model(images).numpy() == pytest.approx(records.read(folder, run.id).predictions()[0], abs=1e-5)


def test_records_say_how_much_was_trained(executed):
    made, folder = executed
    runs = by_variant(made)
    assert records.read(folder, runs["head"].id).metrics["trainable_params"] == 166_282 - 129 * 6
    all_ = records.read(folder, runs["all"].id).metrics
    assert all_["trainable_params"] == all_["params"] == 11_342_794 - 129 * 6


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"study": "tr_transfer", "T": 2},
            "T does nothing in study tr_transfer: this transfer study has no T; it has model",
        ),
        ({"study": "tr_transfer", "teacher": "cnn2"}, "teacher does nothing in study tr_transfer"),
        ({"study": "tr_kd", "open_layers": "head"}, "open_layers does nothing in study tr_kd"),
        ({"study": "cnn_grid", "weights": "imagenet"}, "is the file of a trained teacher"),
        (
            {"study": "radiology_model2", "source_epochs": 3},
            "this distillation study has no source_epochs; it has",
        ),
        ({"study": "tr_transfer", "weights": "nowhere.pt"}, "weights: nowhere.pt is not there"),
        ({"study": "tr_transfer", "profile": "paper", "weights": "source"}, "has no source task; say weights=imagenet"),
        (
            {"study": "tr_transfer", "weights": "imagenet", "source_epochs": 3},
            "source_epochs belongs to weights=source",
        ),
    ],
)
def test_what_does_nothing_is_refused(values, says):
    with pytest.raises(UserError, match=says):
        settle(parse({"profile": "smoke", **values}))


def test_a_layer_that_is_none_is_refused_before_anything_is_written(target, source, tmp_path):
    with pytest.raises(UserError, match="has no layer 'layr4' to open"):
        runner.execute(planned(target, source, open_layers="layr4+fc"), tmp_path / "runs", "cpu")
    assert not (tmp_path / "runs").exists()


def test_weights_out_of_reach_are_refused_before_anything_is_written(target, tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(UserError, match=r"ImageNet weights resnet18-f37072fd\.pth cannot be had"):
        runner.execute(planned(target, None, profile="paper", batch_size=16), tmp_path / "runs", "cpu")
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_another_architecture_is_refused(target, tmp_path):
    torch.save(models.build("cnn2", 4).state_dict(), tmp_path / "cnn2.pt")
    made = planned(target, None, weights=str(tmp_path / "cnn2.pt"))
    with pytest.raises(UserError, match="none of the 6 tensors fits ResNet"):
        runner.execute(made, tmp_path / "runs", "cpu")


def test_runs_are_told_apart_by_dataset_in_groups(target, source):
    made = planned(target, source)
    run = next(iter(made.runs.values()))
    assert isinstance(run, Run)
    other = replace(run, dataset=target)
    assert len(runner.groups(made, [run, other])) == 2
