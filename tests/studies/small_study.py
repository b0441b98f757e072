"""A study of six runs that trains in a second: conv3 teaches four cnn2, beside one baseline, on 48 images of 8×8."""

from pathlib import Path

import numpy as np
import torch

from kdlib.data import Dataset
from kdlib.studies import records
from kdlib.studies.parameters import parse, settle
from kdlib.studies.plan import Plan, plan

FILES = {"history.csv", "model.safetensors", "predictions.npz", "run.json"}
ASKED = {
    "study": "cnn_grid",
    "profile": "smoke",  # fp32, two epochs, batches of 16
    "teacher": "conv3",
    "students": "cnn2",
    "T": "1,10",
    "alpha": "0.1,0.9",
    "device": "cpu",
}


def small_plan(dataset: Dataset, **values) -> Plan:
    return plan(settle(parse({**ASKED, **values})), dataset)


def shown(runs: Path) -> set[str]:
    """Names in a folder of records that do not begin with a dot."""
    return {path.name for path in runs.iterdir() if not path.name.startswith(".")} if runs.is_dir() else set()


def assert_complete(runs: Path) -> None:
    """Whatever looks like a record is one, whole and readable."""
    for name in shown(runs):
        assert {path.name for path in (runs / name).iterdir()} == FILES
        record = records.read(runs, name)
        assert record.run["id"] == name
        assert len(record.history()["epoch"]) == record.run["config"]["recipe"]["epochs"]
        logits, labels = record.predictions()
        assert len(logits) == len(labels) > 0
        assert record.weights()


def assert_same_record(a: records.Record, b: records.Record) -> None:
    """Two records hold the same result to the bit."""
    assert a.run["config"] == b.run["config"]
    assert a.metrics == b.metrics
    rows = [{key: column for key, column in r.history().items() if key != "seconds"} for r in (a, b)]
    assert rows[0] == rows[1]
    assert np.array_equal(a.predictions()[0], b.predictions()[0])
    weights = a.weights(), b.weights()
    assert list(weights[0]) == list(weights[1])
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
