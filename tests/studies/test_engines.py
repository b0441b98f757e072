"""Engines: pieces in processes and on a Ray cluster, the same records, whoever dies."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from small_study import assert_complete, assert_same_record, shown, small_plan

from kdlib import cli
from kdlib.errors import UserError
from kdlib.studies import engines, records, runner
from kdlib.studies.runner import Options
from kdlib.training import Stop, Stopped


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    """The small study, done in this process."""
    runs = tmp_path_factory.mktemp("alone") / "runs"
    runner.execute(small_plan(tiny, epochs=20), runs, "cpu")
    return runs


def assert_same(plan, runs, alone):
    assert_complete(runs)
    assert shown(runs) == set(plan.runs)
    for id in plan.runs:
        assert_same_record(records.read(runs, id), records.read(alone, id))


# What takes the place of `runner._do` in workers, which import it from here. The tests' own files lie beside records.
DO = runner._do


class _Once:
    """A bar that does something when a piece is well in its training."""

    def __init__(self, bar, then):
        self.bar, self.then, self.count = bar, then, 0

    def advance(self, amount):
        self.bar.advance(amount)
        self.count += 1
        if self.count == 8:
            self.then()

    skip = advance

    def say(self, text):
        self.bar.say(text)


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def dies_once(group, bar, stop, *, folder, **how):
    def die():
        with contextlib.suppress(FileExistsError):
            (folder.parent / f"died-{group.runs[0].role}").touch(exist_ok=False)
            _die()

    DO(group, _Once(bar, die), stop, folder=folder, **how)


def always_dies(group, bar, stop, **how):
    DO(group, bar if group.teacher is None else _Once(bar, _die), stop, **how)


def waits_for_the_stop(group, bar, stop, *, folder, **how):
    def hold():
        (folder.parent / f"held-{group.runs[0].id}").touch()
        while not stop.requested:
            time.sleep(0.05)

    DO(group, bar if group.teacher is None else _Once(bar, hold), stop, folder=folder, **how)


def waits_for_the_end_of_its_node(group, bar, stop, *, folder, **how):
    import ray

    held, end = folder.parent / "held", time.monotonic() + 90

    def hold():
        while ray.get_runtime_context().get_node_id() == (folder.parent / "doomed").read_text():
            held.touch()
            time.sleep(0.05)
        # a quick worker of the other node would do everything before the doomed one has begun
        while group.teacher and not held.exists() and time.monotonic() < end:
            time.sleep(0.05)

    DO(group, _Once(bar, hold), stop, folder=folder, **how)


def when(condition, do) -> threading.Thread:
    """Do something once, as soon as a condition holds."""

    def watch():
        end = time.monotonic() + 120
        while not condition():
            if time.monotonic() > end:
                return
            time.sleep(0.02)
        do()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_wide_group_is_cut_for_all_workers(tiny):
    plan = small_plan(tiny)
    work = runner.groups(plan, list(plan.runs.values()))
    assert [piece.runs for piece in runner.cut(work, 1)] == [group.runs for group in work]
    for workers in (2, 3, 50):
        pieces = runner.cut(work, workers)
        assert sorted(run.id for piece in pieces for run in piece.runs) == sorted(plan.runs)
        assert len(pieces) <= len(plan.runs)
        assert all(piece.runs for piece in pieces)
    assert [len(piece.runs) for piece in runner.cut(work, 50)] == [1] * 6


def test_three_equal_groups_keep_two_workers_equally_busy(tiny):
    group = max(runner.groups(plan := small_plan(tiny), list(plan.runs.values())), key=lambda group: len(group.runs))
    first, *others = pieces = runner.cut([group] * 3, 2)
    assert [len(piece.runs) for piece in pieces] == [5, 5, 3, 2]
    assert first.runs == group.runs
    assert sorted(run.id for piece in others[1:] for run in piece.runs) == sorted(run.id for run in group.runs)


def test_processes_killed_at_their_pieces_make_the_same_records(tiny, alone, tmp_path, monkeypatch, capfd):
    plan, runs = small_plan(tiny, epochs=20), tmp_path / "runs"
    monkeypatch.setattr(runner, "_do", dies_once)
    monkeypatch.setenv("KDLIB_TEXT_PROGRESS", "0.1")
    runner.execute(plan, runs, "cpu", Options(jobs=2, threads=1, checkpoint_every=0))
    assert {path.name for path in tmp_path.glob("died-*")} == {f"died-{run.role}" for run in plan.runs.values()}
    assert_same(plan, runs, alone)
    groups = [records.read(runs, condition.id).run["group"]["size"] for condition in plan.conditions]
    assert max(groups) < 5
    # what was done twice is not counted twice, and what a worker said last is not the end
    assert "training 100%" in capfd.readouterr().err.split("\r")[-1]
    assert not multiprocessing.active_children()


def test_a_piece_whose_worker_dies_each_time_is_one_line(tiny, tmp_path, monkeypatch):
    plan, runs = small_plan(tiny, epochs=20), tmp_path / "runs"
    monkeypatch.setattr(runner, "_do", always_dies)
    with pytest.raises(UserError, match=r"^the worker died 3 times over run \w+ and \d beside it; was there memory.*$"):
        runner.execute(plan, runs, "cpu", Options(jobs=2, threads=1))
    assert len(shown(runs)) == 1
    assert_complete(runs)
    assert not multiprocessing.active_children()


def nothing(piece, bar, stop):
    pass


def test_a_worker_that_dies_between_two_pieces_is_replaced(tmp_path):
    pool = engines.Processes(nothing, 1, 1, [], tmp_path, {})
    try:
        assert pool.submit(0, "a piece").result() is None
        (child,) = multiprocessing.active_children()
        child.kill()
        child.join()
        future = pool.submit(1, "another")
        if engines.lost(future.exception()):  # it was handed over before the death was seen
            future = pool.submit(1, "another")
        assert future.result() is None
    finally:
        pool.close()


def test_two_processes_stop_when_their_time_is_over_and_go_on(tiny, alone, tmp_path, monkeypatch):
    plan, runs, stop = small_plan(tiny, epochs=20), tmp_path / "runs", Stop(after=1000)
    monkeypatch.setattr(runner, "_do", waits_for_the_stop)
    options = Options(jobs=2, threads=1, checkpoint_every=1000)
    watching = when(lambda: len([*tmp_path.glob("held-*")]) == 2, lambda: setattr(stop, "deadline", time.monotonic()))
    with pytest.raises(Stopped, match=r"^stopped with 5 runs to go$") as stopped:
        runner.execute(plan, runs, "cpu", options, stop)
    watching.join()
    assert stopped.value.signal is None
    assert not multiprocessing.active_children()
    assert len(shown(runs)) == 1
    assert_complete(runs)
    states = [torch.load(path, weights_only=True) for path in (runs / ".training").glob("*.pt")]
    assert len(states) == 2
    assert all(0 < state["epoch"] < 20 or state["batch"] for state in states)
    monkeypatch.setattr(runner, "_do", DO)
    runner.execute(plan, runs, "cpu", options)
    assert_same(plan, runs, alone)


def test_a_node_that_is_killed_at_a_piece_loses_no_record(tiny, alone, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra scale (Ray) is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        (tmp_path / "doomed").write_text(second.node_id)
        here = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env=here)
        plan, runs = small_plan(tiny, epochs=20), tmp_path / "runs"
        monkeypatch.setattr(runner, "_do", waits_for_the_end_of_its_node)
        watching = when((tmp_path / "held").exists, lambda: cluster.remove_node(second, allow_graceful=False))
        runner.execute(plan, runs, "cpu", Options(engine="ray", checkpoint_every=0))
        watching.join()
        assert (tmp_path / "held").exists()
        assert second not in cluster.list_all_nodes()
        assert_same(plan, runs, alone)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--jobs", "0"], "--jobs 0: give a whole number of at least 1"),
        (["--threads", "x"], "--threads x: give a whole number"),
        (["--address", "host:1"], "is Ray's; say --engine ray"),
        (["--engine", "ray", "--jobs", "2"], "--jobs is of --engine local"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(words, says, capsys, tmp_path):
    assert cli.main(["run", "cnn_grid", "--profile", "smoke", "--output-dir", str(tmp_path), *words]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_cluster_that_is_not_there_is_one_line(tiny, tmp_path):
    pytest.importorskip("ray", reason="the extra scale (Ray) is not installed")
    for address in ("127.0.0.1:1", "nonsense"):
        with pytest.raises(UserError, match=f"--address {address} cannot be reached"):
            runner.execute(small_plan(tiny), tmp_path / "runs", "cpu", Options(engine="ray", address=address))


def test_without_ray_the_extra_is_named(tiny, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'kdlib\[scale\]'"):
        runner.execute(small_plan(tiny), tmp_path / "runs", "cpu", Options(engine="ray"))
