"""Each bench at toy size: it runs, and its result has what the report needs."""

import contextlib
import json
import os

import pytest
import torch

from benchmarks import (
    BENCHES,
    Asked,
    ablation,
    engines,
    grid,
    growth,
    kd_step,
    limit,
    prune,
    setting,
    store,
    timing,
    torchdistill_box,
    watch,
)
from benchmarks.__main__ import main
from kdlib import training
from kdlib.errors import UserError
from kdlib.pruning.criteria import CRITERIA
from kdlib.training import evaluation, group

HERE = Asked(device="cpu")
OPTIONS = {"batch_size": 16, "workers": 0}
NETS = {"teacher": "cnn2", "student": "cnn2", "images": 80, "test": 20}


def check(result: dict) -> None:
    assert set(result) == {"title", "setting", "rows", "ratios", "notes", "left_out"}
    assert result["rows"]
    assert all(set(row) == set(result["rows"][0]) for row in result["rows"])
    for ratio in result["ratios"]:
        assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]
    json.dumps(result)


def test_one_student():
    result = kd_step.run(HERE, kd_step.Size(epochs=1, teacher_epochs=1, rounds=2, options=OPTIONS, **NETS))
    check(result)
    assert [row["side"] for row in result["rows"]] == kd_step.sides()
    assert all(0 <= row["lowest accuracy"] <= row["highest accuracy"] <= 1 for row in result["rows"])
    assert result["setting"]["images"] == 64
    assert result["setting"]["kdlib's precision"] in ("fp32", "bf16")
    assert len(result["ratios"]) == len(kd_step.sides()) - 1


def test_a_peer_that_is_not_installed_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(torchdistill_box, "available", lambda: False)
    assert kd_step.sides() == ["kdlib", "plain loop"]
    assert kd_step.left_out() == [torchdistill_box.MISSING]


def test_a_grid():
    assert len(grid.GRID) == 45
    result = grid.run(HERE, grid.Size(rounds=1, timed=1, points=grid.GRID[:3], options=OPTIONS, **NETS))
    check(result)
    timed = {row["side"]: row["students timed"] for row in result["rows"]}
    assert timed == {name: 3 if name == "kdlib" else 1 for name in kd_step.sides()}
    row = result["rows"][1]
    assert row["seconds for the grid"] == pytest.approx(3 * 64 / row["students × images/s"])


def test_engines():
    sides = (engines.ALONE, engines.PROCESSES)
    asked = (("train_size", 64), ("val_fraction", 0.5), ("batch_size", 16), ("epochs", 1), ("T", "2"), ("alpha", "0.5"))
    result = engines.run(HERE, engines.Size(rounds=1, sides=sides, asked=asked))
    check(result)
    assert [(row["side"], row["weights"]) for row in result["rows"]] == [
        (engines.ALONE, "-"),
        (engines.PROCESSES, "equal to the bit"),
    ]


def test_the_teacher_store():
    nets = {"teacher": "cnn2", "images": 80, "test": 20, "students": (("cnn2", "sgd", 0.1),)}
    result = store.run(HERE, store.Size(epochs=2, rounds=2, options=OPTIONS, **nets))
    check(result)
    assert [row["store"] for row in result["rows"]] == ["no store", "store empty", "store full"]


def test_pruning(monkeypatch):
    # What a process of its own does is tested with timing.
    monkeypatch.setattr(timing, "peak_of", lambda job, *arguments: (job(*arguments)(), 1.0))
    size = prune.Size("resnet5", classes=4, side=16, batches=1, batch_size=4, ratio=0.25, rounds=1)
    result = prune.run(HERE, size)
    check(result)
    left = {(row["criterion"], row["side"]): row["parameters after"] for row in result["rows"]}
    assert len(left) == len(CRITERIA) + len(prune.IMPORTANCES)
    assert len(set(left.values())) == 1
    assert left["taylor", "kdlib"] < result["setting"]["parameters before"]


def test_the_limit_and_where_time_goes():
    sweeps = (("grid", "cnn2", 2, "sgd", 0.1),)
    size = limit.Size(160, 20, "resnet3", sweeps, sides=(32,), repeats=1, rounds=1)
    result = limit.run(HERE, size)
    check(result)
    rows = {row["part"]: row for row in result["rows"]}
    assert all(rows[part]["seconds"] > 0 for part in watch.PARTS)
    assert sum(rows[part]["share of time"] for part in (*watch.PARTS, "rest")) == pytest.approx(1)
    assert rows["whole"]["share of time"] == 1
    assert rows["whole"]["GFLOP/s"] > 0
    assert rows["loss"]["GFLOP/s"] is None


def test_work_is_two_flops_a_mac_and_three_times_that_in_training():
    clock = watch.Clock(torch.device("cpu"))
    clock.images.update({(watch.TEACHER, "bf16"): 10, (watch.FORWARD, "fp32"): 5, (watch.EVALUATION, "fp32"): 1})
    work = limit._work(clock, {watch.TEACHER: 100, watch.FORWARD: 7, watch.EVALUATION: 7})
    assert work[watch.TEACHER] == {"bf16": 2000}
    assert work[watch.FORWARD] == {"fp32": 70}
    assert work["student step"] == {"fp32": 210}
    assert work["whole"] == {"bf16": 2000, "fp32": 224}


def test_nothing_that_was_wrapped_stays_wrapped(tiny):
    before = group.augment, group.normalise, evaluation.normalise, torch.Tensor.backward
    with watch.watching(torch.device("cpu")) as clock:
        assert group.augment is not before[0]
    with contextlib.suppress(ZeroDivisionError), watch.watching(torch.device("cpu")):
        raise ZeroDivisionError
    assert (group.augment, group.normalise, evaluation.normalise, torch.Tensor.backward) == before
    job = training.Job(lambda: setting.student("cnn2", tiny), training.Recipe(epochs=1, batch_size=16))
    training.fit(job, tiny, device="cpu", precision="fp32")
    assert not clock.seconds


def test_growth(monkeypatch):
    monkeypatch.setattr(timing, "peak_of", lambda job, *arguments: (job(*arguments)(), 3.5))
    size = growth.Size(students=(1, 2), images=(160, 200), base=160, few=1, test=20, teacher="cnn2")
    result = growth.run(HERE, size)
    check(result)
    assert [(row["students"], row["images"]) for row in result["rows"]] == [(1, 160), (2, 160), (1, 200)]
    assert result["rows"][0]["peak memory, MB"] == 3.5


def test_a_folder_too_small_is_replaced_by_generated_images(tmp_path):
    from PIL import Image

    for part in ("train", "test"):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (32, 32), (30 * i, 9, 9)).save(tmp_path / part / name / f"{i}.png")
    assert setting.images(tmp_path, 8, 8).name == "folder"
    assert setting.images(tmp_path, 20, 20).name == "shapes10"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kdstep"], "unknown bench 'kdstep'; did you mean 'kd-step'?"),
        (["--rounds", "0"], "rounds must be at least 1"),
        (["--data-root", "/nowhere"], "no train/ and test/ in /nowhere: --data-root must hold both"),
        (["--device", "gpu"], "unknown device 'gpu'; say auto, cpu or cuda"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_and_nothing_is_written(words, message, tmp_path, capsys):
    assert main([*words, "--output-dir", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bench", BENCHES)
def test_no_bench_runs_without_a_round(bench):
    from importlib import import_module

    with pytest.raises(UserError, match="rounds must be at least 1"):
        import_module(BENCHES[bench]).run(Asked(rounds=0, device="cpu"))


def test_what_each_choice_is_worth(monkeypatch):
    # What a process of its own does is tested with timing.
    monkeypatch.setattr(timing, "peak_of", lambda job, *arguments: (job(*arguments)(), 1.0))
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    variants = (ablation.FP32, ablation.CONTIGUOUS, ablation.UNFUSED, ablation.ONE_THREAD, ablation.NO_PAGES)
    size = ablation.Size((("resnet3", 1, True), ("resnet3", 1, False)), batch_size=8, rounds=2, variants=variants)
    before = torch.get_num_threads()
    result = ablation.run(HERE, size)
    check(result)
    assert torch.get_num_threads() == before
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=0"
    rows = {(row["what"], row["variant"]): row for row in result["rows"]}
    assert rows[ablation.STEP, ablation.AS_IS]["as it is, times as fast"] is None
    assert rows[ablation.STEP, ablation.FP32]["as it is, times as fast"] > 0
    assert (ablation.FORWARD, ablation.UNFUSED) not in rows
