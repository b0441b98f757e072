"""Engines: pieces in processes and on a Ray cluster, the same records, whoever dies."""

import multiprocessing
import threading
import time

import pytest
from small_study import assert_complete, assert_same_record, shown, small_plan

from kdlib import cli
from kdlib.errors import UserError
from kdlib.studies import records, runner
from kdlib.studies.runner import Options


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


def when_the_teacher_is_there(runs, do) -> threading.Thread:
    """Do something once, as soon as the first record lies in the folder."""

    def watch():
        end = time.monotonic() + 120
        while not shown(runs) and time.monotonic() < end:
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


def test_two_processes_one_of_which_is_killed_make_the_same_records(tiny, alone, tmp_path):
    plan, runs, killed = small_plan(tiny, epochs=20), tmp_path / "runs", []

    def kill():
        child = multiprocessing.active_children()[0]
        child.kill()
        killed.append(child.pid)

    watching = when_the_teacher_is_there(runs, kill)
    runner.execute(plan, runs, "cpu", Options(jobs=2, threads=1, checkpoint_every=0))
    watching.join()
    assert len(killed) == 1
    assert_same(plan, runs, alone)
    groups = [records.read(runs, condition.id).run["group"]["size"] for condition in plan.conditions]
    assert max(groups) < 5


def test_a_node_that_is_killed_loses_no_record(tiny, alone, tmp_path):
    ray = pytest.importorskip("ray", reason="the extra scale (Ray) is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        plan, runs = small_plan(tiny, epochs=20), tmp_path / "runs"
        watching = when_the_teacher_is_there(runs, lambda: cluster.remove_node(second, allow_graceful=False))
        runner.execute(plan, runs, "cpu", Options(engine="ray", checkpoint_every=0))
        watching.join()
        assert sum(node["Alive"] for node in ray.nodes()) == 1
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
