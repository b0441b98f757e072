"""Pruning studies: what is planned, what is pruned and trained, what is refused, what an interruption leaves."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kdlib import models, reporting
from kdlib.data import normalise
from kdlib.errors import UserError
from kdlib.profiling import forward_macs, state_bytes
from kdlib.studies import records, runner
from kdlib.studies.parameters import parse, settle
from kdlib.studies.plan import plan

ASKED = {"study": "ts6", "profile": "smoke", "model": "conv3", "criteria": "magnitude,taylor", "device": "cpu"}


def planned(dataset, **values):
    return plan(settle(parse({**ASKED, **values})), dataset)


def by_role(made):
    found = {}
    for condition in made.conditions:
        found.setdefault(condition.role, []).append(condition)
    return found


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    made = planned(tiny, ratio="0.25")
    folder = tmp_path_factory.mktemp("done") / "runs"
    runner.execute(made, folder, "cpu")
    return made, folder


def test_the_conditions_of_the_report(tiny):
    made = planned(tiny)
    conditions = [(a.role, a.criterion, a.ratio, a.macs, a.protect_se) for a in made.conditions]
    assert conditions[0] == ("original", None, None, None, None)
    assert conditions[1:4] == [
        ("pruned", "magnitude", 0.1, None, False),
        ("finetuned", "magnitude", 0.1, None, False),
        ("distilled", "magnitude", 0.1, None, False),
    ]
    assert {a[2:] for a in conditions if a[0] == "finetuned"} == {(0.1, None, False), (None, 0.85, True)}
    assert {a[2:] for a in conditions if a[0] == "pruned"} == {
        (0.1, None, False),
        (None, 0.85, True),
        (0.3, None, False),
    }
    assert {(a.T, a.alpha, a.lam) for a in made.conditions if a.role == "distilled"} == {(4.0, 0.5, 0.5)}


def test_each_run_waits_for_what_it_is_made_of(tiny):
    made = planned(tiny, ratio="0.25")
    runs = {condition.role: made.runs[condition.id] for condition in made.conditions}
    assert runs["original"].needs == []
    assert runs["pruned"].needs == [runs["original"]]
    assert runs["finetuned"].needs == [runs["pruned"]]
    assert runs["distilled"].needs == [runs["original"], runs["pruned"]]
    assert [len(group.runs) for group in runner.groups(made, list(made.runs.values()))] == [1, 2, 4]


def test_seeds_share_the_original_and_draw_their_own_calibration(tiny):
    made = planned(tiny, ratio="0.25", seeds="0,1")
    roles = by_role(made)
    assert len({condition.id for condition in roles["original"]}) == 1
    assert len({condition.id for condition in roles["pruned"]}) == 4
    assert {made.runs[condition.id].prune.seed for condition in roles["pruned"]} == {0, 1}


def test_a_sweep_may_have_fewer_seeds_unless_the_call_names_them(tiny):
    def ratios(seed: int, **values) -> set[float | None]:
        made = planned(tiny, profile="paper", weights="scratch", **values)
        return {one.ratio for one in made.conditions if one.seed == seed and one.role == "pruned"}

    every = {0.05, 0.1, 0.2, 0.3, 0.5, 0.7, None}
    assert (ratios(0), ratios(1), ratios(2)) == (every, {0.1, None}, {0.1, None})
    assert ratios(1, seeds="0,1") == every


def test_the_id_tells_prunings_apart(tiny):
    settings = {"ratio": "0.25"}, {"ratio": "0.5"}, {"macs": 0.5}, {"ratio": "0.25", "protect_se": True}
    settings += ({"ratio": "0.25", "round_to": 8}, {"ratio": "0.25", "calibration_batches": 1})
    ids = [frozenset(a.id for a in planned(tiny, **told).conditions if a.role == "pruned") for told in settings]
    assert len(set().union(*ids)) == 2 * len(settings)


def test_every_record_is_whole(done):
    made, folder = done
    for condition in made.conditions:
        files = {path.name for path in (folder / condition.id).iterdir()}
        own = {"cuts.json", "scores.npz"} if condition.role == "pruned" else {"model.safetensors"}
        assert files == own | {"run.json", "history.csv", "predictions.npz"}
        record = records.read(folder, condition.id)
        assert len(record.history().get("epoch", [])) == (0 if condition.role == "pruned" else 1)
        if condition.role != "original":
            assert record.run["config"]["pruning"]["criterion"] == condition.criterion
            assert record.run["pruning"]["calibration"]["batches"] == (2 if condition.criterion == "taylor" else 0)


def test_a_rebuilt_model_answers_as_its_record_says(done, tiny):
    made, folder = done
    x = normalise(tiny.test.images, tiny.mean, tiny.std)
    for condition in made.conditions:
        model = runner.trained(made.runs[condition.id], folder).eval()
        with torch.inference_mode():
            logits = model(x).numpy()
        record = records.read(folder, condition.id)
        assert np.allclose(logits, record.predictions()[0], atol=1e-4)
        if condition.role != "original":
            report = record.run["pruning"]
            assert report["macs"][1] == forward_macs(model, tiny.shape) < report["macs"][0]
            assert report["size_bytes"][1] == state_bytes(model)
            assert report["params"][1] == sum(p.numel() for p in model.parameters()) == record.metrics["params"]


def test_pruned_weights_are_the_original_s_and_fine_tuning_moves_them(done):
    made, folder = done
    found = {one.role: runner.trained(made.runs[one.id], folder).state_dict() for one in made.conditions}
    whole, pruned, tuned = found["original"], found["pruned"], found["finetuned"]
    # a layer that lost filters and reads whole images or maps
    name = next(n for n, t in pruned.items() if len(t) < len(whole[n]) and t.shape[1:] == whole[n].shape[1:])
    rows = {tuple(row.flatten().tolist()) for row in whole[name]}
    assert {tuple(row.flatten().tolist()) for row in pruned[name]} <= rows
    assert tuned[name].shape == pruned[name].shape
    assert not torch.equal(tuned[name], pruned[name])


def test_scores_say_who_left(done):
    made, folder = done
    condition = next(a for a in made.conditions if a.role == "pruned" and a.criterion == "magnitude")
    record = records.read(folder, condition.id)
    gone = {layer: index for layer, side, index in record.cuts()[0] if side == "out"}
    for layer, scores in record.scores().items():
        lost = set(gone.get(layer, []))
        assert all(scores[i] <= scores[j] for i in lost for j in set(range(len(scores))) - lost)


def test_a_second_call_does_nothing(done, monkeypatch):
    made, folder = done
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(runner, "train", None)
    monkeypatch.setattr(runner, "_evaluate", None)
    runner.execute(made, folder, "cpu")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamps


def test_an_interruption_keeps_what_is_pruned_and_goes_on(done, tiny, tmp_path, monkeypatch):
    made, reference = done
    written, inner = [], records.write

    def write(runs, id, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(id)
        return inner(runs, id, *rest)

    monkeypatch.setattr(records, "write", write)
    with pytest.raises(KeyboardInterrupt):
        runner.execute(made, tmp_path, "cpu")
    assert {path.name for path in tmp_path.iterdir()} == set(written)
    monkeypatch.setattr(records, "write", inner)
    runner.execute(made, tmp_path, "cpu")
    for id in made.runs:
        ours, theirs = records.read(tmp_path, id), records.read(reference, id)
        assert ours.metrics == theirs.metrics
        assert np.array_equal(ours.predictions()[0], theirs.predictions()[0])


def test_a_checkpoint_is_taken_as_it_is(done, tiny, tmp_path):
    made, folder = done
    model = runner.trained(made.runs[made.conditions[0].id], folder)
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    own = planned(tiny, ratio="0.25", weights=str(tmp_path / "own.safetensors"))
    found = runner.execute(own, tmp_path / "runs", "cpu")
    original = found[own.conditions[0].id]
    assert original.metrics["epoch"] == 0
    assert original.history() == {}
    assert original.metrics["test_accuracy"] == records.read(folder, made.conditions[0].id).metrics["test_accuracy"]
    ours = [found[condition.id].cuts() for condition in own.conditions if condition.role == "pruned"]
    theirs = [records.read(folder, condition.id).cuts() for condition in made.conditions if condition.role == "pruned"]
    assert ours == theirs


def test_a_checkpoint_of_other_classes_is_refused_before_anything_is_written(tiny, tmp_path):
    save_file(models.build("conv3", tiny.num_classes + 1).state_dict(), tmp_path / "own.safetensors")
    made = planned(tiny, ratio="0.25", weights=str(tmp_path / "own.safetensors"))
    with pytest.raises(UserError, match="is not in the checkpoint, or of another shape"):
        runner.execute(made, tmp_path / "runs", "cpu")
    assert not (tmp_path / "runs").exists()


def test_a_model_that_cannot_be_followed_is_refused_before_anything_is_trained(make_tiny, tmp_path):
    images = make_tiny(size=64)
    made = planned(images, model="torchvision.models:shufflenet_v2_x0_5", ratio="0.25")
    with pytest.raises(UserError, match="cannot be followed"):
        runner.execute(made, tmp_path / "runs", "cpu")
    assert not (tmp_path / "runs").exists()


def test_layers_that_stay_whole_and_scores_as_they_are(tiny):
    plain = planned(tiny, ratio="0.25")
    assert planned(tiny, ratio="0.25", keep="", normalise="mean").runs.keys() == plain.runs.keys()
    made = planned(tiny, ratio="0.25", keep="features.0,hidden", normalise="none")
    specs = {(run.prune.keep, run.prune.normalise) for run in made.runs.values() if run.prune}
    assert specs == {(("features.0", "hidden"), "none")}
    assert len(made.runs.keys() & plain.runs.keys()) == 1  # the unpruned model


def test_an_unknown_layer_to_keep_is_refused_before_anything_is_trained(tiny, tmp_path):
    made = planned(tiny, ratio="0.25", keep="features.9")
    with pytest.raises(UserError, match=r"has no layer 'features\.9'; did you mean 'features") as caught:
        runner.execute(made, tmp_path / "runs", "cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_ratio_that_empties_a_layer_is_refused_before_anything_is_trained(tiny, tmp_path):
    made = planned(tiny, study="ts5", ratio="0.99")
    with pytest.raises(UserError, match="would empty"):
        runner.execute(made, tmp_path / "runs", "cpu")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"criteria": "tailor"}, "did you mean 'taylor'"),
        ({"ratio": "1.5"}, "parameter ratio"),
        ({"macs": "0"}, "parameter macs"),
        ({"teacher": "conv3"}, "this pruning study has no teacher; it has model, ratio, macs, criteria"),
        ({"students": "conv3"}, "this pruning study has no students; it has model, ratio, macs, criteria"),
        ({"columns": "finetune"}, "does nothing"),
        ({"open_layers": "fc"}, "does nothing"),
        ({"weights": "source"}, "no source task"),
        ({"model": "no_such"}, "unknown model"),
        ({"threshold": "1"}, "parameter threshold"),
        ({"normalise": "max"}, "parameter normalise='max'"),
        (
            {"study": "tr_kd", "model": "", "criteria": "", "keep": "conv1"},
            "keep does nothing in study tr_kd: this distillation study has no keep",
        ),
        (
            {"study": "tr_kd", "students": "conv3"},
            "this distillation study has no model",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(asked, says):
    with pytest.raises(UserError, match=says) as caught:
        settle(parse({**ASKED, **asked}))
    assert "\n" not in str(caught.value)


def test_what_was_asked_for_is_what_is_reported(done, tmp_path):
    made, folder = done
    about = {"study": "ts6", "profile": "smoke", "parameters": {"ratio": [0.25], "criteria": ["magnitude", "taylor"]}}
    records.write_conditions(tmp_path / "ts6", made.conditions, about)
    (tmp_path / "runs").symlink_to(folder)
    results = reporting.read(tmp_path / "ts6")
    assert (results.study.pruning.ratio, results.study.pruning.criteria) == (0.25, ["magnitude", "taylor"])
    assert {table.id for table in reporting.tables(results)} >= {"comparison", "settings"}
    assert json.loads((tmp_path / "ts6" / "runs.json").read_text())["arms"][1]["criterion"] == "magnitude"
