"""The counts behind a study's cost table: taken once, and taken again when what is asked changes."""

import json
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from kdlib.errors import UserError
from kdlib.studies import model_costs, schema

SPEC = {
    "id": "table2",
    "title": "Costs",
    "head": "Measure",
    "num_classes": 10,
    "sizes": [32, 64],
    "models": [{"model": "resnet3", "open": ["fc"], "label": "A"}, {"model": "cnn2", "label": "B"}],
    "rows": [{"measure": "total_params", "label": "Parameters", "reported": [1, 2]}],
}


def study(**changes) -> SimpleNamespace:
    return SimpleNamespace(name="made_up", costs=schema.Costs.model_validate({**SPEC, **changes}))


def test_every_model_is_counted_at_every_size_with_its_layers_open():
    found = model_costs.measure(study())
    first, second = found["counts"]
    assert set(first) == set(second) == {"32", "64"}
    assert first["32"]["trainable_params"] == 330
    assert second["32"]["frozen_params"] == 0
    assert (second["32"]["macs_torch"], first["64"]["macs_torch"]) == (397_312, 7_012_672)
    assert set(found["packages"]) == {"torch", "torchinfo", "thop", "fvcore"}


def test_what_is_there_stays_until_something_else_is_asked(tmp_path, monkeypatch):
    path = model_costs.write(study(), tmp_path / "new")
    assert [file.name for file in path.parent.iterdir()] == ["costs.json"]
    text = path.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(model_costs, "measure", lambda study: pytest.fail("counted again"))
        model_costs.write(study(title="Another title"), path.parent)
    model_costs.write(study(sizes=[32]), path.parent)
    assert set(json.loads(path.read_text())["counts"][0]) == {"32"}
    path.write_text(text.replace('"torch": "', '"torch": "0.'))
    model_costs.write(study(), path.parent)
    assert path.read_text() == text


def test_nothing_is_written_for_a_model_that_is_none(tmp_path):
    with pytest.raises(UserError, match="unknown model 'cnn3'"):
        model_costs.write(study(models=[{"model": "cnn3", "label": "C"}], rows=[]), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"reported": [1]}, "needs 2 values for reported"),
        ({"at": [32]}, "needs 2 values for at"),
        ({"at": [32, 48]}, "size 48 is not among sizes"),
        ({"measure": "weight"}, "Input should be"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(row, message):
    with pytest.raises(ValidationError, match=message):
        study(rows=[{**SPEC["rows"][0], **row}])
