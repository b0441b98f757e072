"""A study as a notebook or the command line holds it."""

import json
import os
from dataclasses import replace

import pytest
import torch
from small_study import ASKED, assert_complete, shown, small_plan

from kdlib.data import normalise
from kdlib.errors import UserError
from kdlib.files import sealed, unsealed
from kdlib.studies import experiment as module
from kdlib.studies import records, runner
from kdlib.studies.experiment import Experiment, prepare
from kdlib.studies.parameters import parse, settle


@pytest.fixture
def small(tiny, tmp_path) -> Experiment:
    return made(tiny, tmp_path / "outputs")


def made(dataset, out, **values) -> Experiment:
    parameters = parse({**ASKED, "T": 1, "alpha": 0.5, "output_dir": str(out), **values})
    plan = small_plan(dataset, **{"T": 1, "alpha": 0.5, **values})
    return Experiment(parameters, settle(parameters), dataset, plan)


def finish(experiment: Experiment) -> None:
    """Stand in for the executed notebook."""
    (experiment.folder / f"notebook.{experiment.parameters.lang}.html").write_text("<html></html>")
    experiment.mark_finished()


# Preparing


def test_prepare_checks_loads_plans_and_writes_nothing(tmp_path):
    found = prepare({**ASKED, "output_dir": str(tmp_path / "outputs"), "lang": "tr"})
    # smoke: 80 embedded training images, a fifth of them for validation, and 40 to test
    assert {part: len(getattr(found.dataset, part)) for part in ("train", "val", "test")} == {
        "train": 64,
        "val": 16,
        "test": 40,
    }
    assert len(found.plan.runs) == 6
    assert found.missing() == list(found.plan.runs.values())
    assert not any(cost.done for cost in found.costs())
    assert not found.up_to_date()
    assert "alfa × T" in found.title
    assert "Tootouch" in found.source
    assert list(tmp_path.iterdir()) == []


def test_prepare_takes_parameters_too(tmp_path):
    asked = {**ASKED, "output_dir": str(tmp_path)}
    assert prepare(parse(asked)).plan.conditions == prepare(asked).plan.conditions


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"alhpa": 0.5}, "unknown parameter 'alhpa'"),
        ({"dataset": "cifar"}, "cifar"),
        ({"dataset": "folder", "data_root": "/no/such/folder"}, "/no/such/folder"),
        ({"teacher": "nobody"}, "unknown model 'nobody'"),
        ({"train_size": 4}, "too few training images"),
    ],
)
def test_a_mistake_is_found_before_anything_is_written(tmp_path, values, says):
    with pytest.raises(UserError, match=says):
        prepare({**ASKED, "output_dir": str(tmp_path / "outputs"), **values})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "a/b"])
def test_an_output_folder_that_is_a_file(tmp_path, below):
    (tmp_path / "outputs").write_text("a file")
    with pytest.raises(UserError, match="outputs is a file; name a folder"):
        prepare({**ASKED, "output_dir": str(tmp_path / "outputs" / below)})
    assert (tmp_path / "outputs").read_text() == "a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_that_may_not_be_written(tmp_path):
    (tmp_path / "outputs").mkdir(mode=0o500)
    with pytest.raises(UserError, match="outputs"):
        prepare({**ASKED, "output_dir": str(tmp_path / "outputs")}).run()


# Running


def test_run_leaves_records_and_the_list_of_them(small):
    folder = small.run()
    assert folder == small.folder
    assert_complete(small.runs_folder)
    assert shown(small.runs_folder) == set(small.plan.runs)
    conditions, about = records.read_conditions(folder)
    assert conditions == small.plan.conditions
    assert (about["study"], about["profile"]) == ("cnn_grid", "smoke")
    assert all(cost.done for cost in small.costs())
    assert small.missing() == []


def test_the_network_of_a_run_answers_as_its_record_says(small):
    with pytest.raises(UserError, match="no run on record has role='student', T=1; run the study first"):
        small.model(role="student", T=1)
    small.run()
    taken = next(one for one in small.plan.conditions if one.role == "student")
    record = records.read(small.runs_folder, taken.id)
    model, dataset = small.model(role="student", T=taken.T), small.dataset
    assert not model.training
    with torch.inference_mode():
        logits = model(normalise(dataset.test.images, dataset.mean, dataset.std))
    assert torch.allclose(logits, torch.as_tensor(record.predictions()[0]).float(), atol=1e-2)


def test_runs_json_names_no_place_of_this_machine(small, tmp_path):
    text = (small.run() / "runs.json").read_text()
    assert str(tmp_path) not in text
    assert not {"data_root", "output_dir", "device"} & set(json.loads(text)["parameters"])


def test_overview_has_a_row_a_run(small):
    frame = small.overview()
    assert list(frame.index) == list(small.plan.runs)
    assert set(frame["on record"]) == {"no"}
    small.run()
    assert set(small.overview()["on record"]) == {"yes"}


def test_a_finished_study_is_up_to_date_until_something_changes(small, tiny, tmp_path, monkeypatch):
    out = tmp_path / "outputs"
    assert not small.up_to_date()
    small.run()
    assert not small.up_to_date()  # its notebook has not been executed
    finish(small)
    assert small.up_to_date()
    assert made(tiny, out).up_to_date()
    # another language, other settings, other images are other outputs
    assert not made(tiny, out, lang="tr").up_to_date()
    assert not made(tiny, out, alpha=0.9).up_to_date()
    # kdlib itself
    monkeypatch.setattr(module.counts, "source", lambda: "changed")
    assert not made(tiny, out).up_to_date()


def test_a_lost_page_or_record_is_noticed(small, tiny, tmp_path):
    small.run()
    finish(small)
    page = small.folder / "notebook.en.html"
    page.unlink()
    assert not small.up_to_date()
    finish(small)
    assert small.up_to_date()
    (small.runs_folder / next(iter(small.plan.runs)) / "run.json").unlink()
    assert not made(tiny, tmp_path / "outputs").up_to_date()


def test_runs_that_came_to_other_numbers_make_the_page_anew(small):
    small.run()
    finish(small)
    assert small.up_to_date()
    path = next(small.runs_folder.glob("*/run.json"))
    run = unsealed(path.read_text())
    # another machine's numbers under the same id
    (path.parent / "history.csv").write_text((path.parent / "history.csv").read_text() + "\n")
    run["files"]["history.csv"] = records._file_checksum(path.parent / "history.csv")
    path.write_text(sealed(run))
    assert small.missing() == []
    assert not small.up_to_date()


def test_two_languages_finish_side_by_side(small, tiny, tmp_path):
    turkish = made(tiny, tmp_path / "outputs", lang="tr")
    for experiment in (small, turkish):
        experiment.run()
        finish(experiment)
    assert small.up_to_date()
    assert turkish.up_to_date()


def test_nothing_is_trained_for_another_language(small, tiny, tmp_path, monkeypatch):
    small.run()

    def train(*_, **__):
        raise AssertionError("trained")

    monkeypatch.setattr(runner, "train", train)
    made(tiny, tmp_path / "outputs", lang="tr").run()


def test_studies_share_a_folder_of_records(small, tmp_path):
    other = replace(small, study=small.study.model_copy(update={"name": "b"}))
    assert other.runs_folder == small.runs_folder == tmp_path / "outputs" / "smoke" / "runs"
    assert (small.folder.name, other.folder.name) == ("cnn_grid", "b")
