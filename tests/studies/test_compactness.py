"""What pruning saved: counted to the digit, measured in turns, kept for the same runs."""

import json

import pytest

from kdlib.studies import artifacts, compactness, records
from kdlib.studies.experiment import prepare
from kdlib.studies.parameters import parse


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    asked = {"study": "ts6", "profile": "smoke", "model": "conv3", "criteria": "magnitude,taylor"}
    experiment = prepare(parse({**asked, "output_dir": str(folder), "device": "cpu"}))
    experiment.run()
    return experiment, json.loads((experiment.folder / artifacts.PRUNED).read_text())


def test_the_models_at_the_reports_ratio_and_at_equal_macs(measured):
    _, found = measured
    rows = [(row["role"], row["criterion"], row["ratio"], row["macs"]) for row in found["models"]]
    assert rows == [
        ("original", None, None, None),
        *(("pruned", name, 0.1, None) for name in ("magnitude", "taylor")),
        *(("pruned", name, None, 0.85) for name in ("magnitude", "taylor")),
    ]
    for row in found["models"]:
        assert set(row["latency"]) == {"1", "2"}
        for times in row["latency"].values():
            assert 0 < times["q1_ms"] <= times["median_ms"] <= times["q3_ms"]
    whole, *pruned = found["models"]
    assert all(row["size_mib"] < whole["size_mib"] and row["macs_thop"] < whole["macs_thop"] for row in pruned)
    # a network of the caller's own is counted as it is used here
    assert all(row["macs_thop_report"] == row["macs_thop"] for row in found["models"])
    assert whole["odd_channels"] == 0
    assert set(whole["latency_again"]) == {"1", "2"}
    assert not any("latency_again" in row for row in pruned)


def test_what_is_measured_for_the_same_runs_stays(measured, monkeypatch):
    experiment, _ = measured
    stamp = (experiment.folder / artifacts.PRUNED).stat().st_mtime_ns
    monkeypatch.setattr(compactness, "_models", None)
    compactness.write(experiment)
    fewer = {**records.hardware(), "threads": 1 + records.hardware()["threads"]}
    monkeypatch.setattr(records, "hardware", lambda: fewer)
    compactness.write(experiment)  # as in a notebook's kernel
    assert (experiment.folder / artifacts.PRUNED).stat().st_mtime_ns == stamp


def test_other_studies_measure_nothing(tmp_path):
    experiment = prepare(parse({"study": "cnn_grid", "profile": "smoke", "output_dir": str(tmp_path)}))
    assert compactness.write(experiment) is None
