"""What architectures count: to the digit, taken once, and taken again when what is asked changes."""

import json

import pytest
from pydantic import ValidationError

from kdlib.errors import UserError
from kdlib.studies import architectures, artifacts, schema

SPEC = {
    "id": "table2",
    "title": "Costs",
    "head": "Measure",
    "num_classes": 10,
    "sizes": [32, 64],
    "models": [{"model": "resnet3", "open": ["fc"], "label": "A"}, {"model": "cnn2", "label": "B"}],
    "rows": [{"measure": "total_params", "label": "Parameters", "reported": [1, 2]}],
}


def costs(**changes) -> schema.Costs:
    return schema.Costs.model_validate({**SPEC, **changes})


def test_every_model_is_counted_at_every_size_with_its_layers_open(tmp_path):
    found = artifacts.read(architectures.write_costs(costs(), tmp_path))
    first, second = found["counts"]
    assert set(first) == set(second) == {"32", "64"}
    assert first["32"]["trainable_params"] == 330
    assert second["32"]["frozen_params"] == 0
    assert (second["32"]["macs_torch"], first["64"]["macs_torch"]) == (397_312, 7_012_672)
    assert set(found["packages"]) == {"torch", "torchinfo", "thop", "fvcore"}


def test_what_is_there_stays_until_something_else_is_asked(tmp_path, monkeypatch):
    path = architectures.write_costs(costs(), tmp_path / "new")
    assert [file.name for file in path.parent.iterdir()] == ["costs.json"]
    text = path.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(architectures.counts, "kept", lambda *_: pytest.fail("counted again"))
        architectures.write_costs(costs(title="Another title"), path.parent)
    architectures.write_costs(costs(sizes=[32]), path.parent)
    assert set(json.loads(path.read_text())["counts"][0]) == {"32"}
    path.write_text(text.replace('"torch": "', '"torch": "0.'))
    architectures.write_costs(costs(), path.parent)
    assert path.read_text() == text


def test_nothing_is_written_for_a_model_that_is_none(tmp_path):
    with pytest.raises(UserError, match="unknown model 'cnn3'"):
        architectures.write_costs(costs(models=[{"model": "cnn3", "label": "C"}], rows=[]), tmp_path / "new")
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
        costs(rows=[{**SPEC["rows"][0], **row}])


def test_the_reports_network_to_the_digit():
    whole, open_, spared = architectures.reference("efficientnet_b4", 101, 3, 380, 0.1)
    counted = whole["params"], round(whole["size_mib"], 2), round(whole["macs_thop"] / 1e9, 2)
    assert counted == (17_729_709, 68.11, 4.61)
    assert round(100 * (open_["size_mib"] / whole["size_mib"] - 1), 2) == -18.75
    assert round(100 * (spared["size_mib"] / whole["size_mib"] - 1), 2) == -17.11
    assert (open_["protect_se"], spared["protect_se"]) == (False, True)


def test_a_network_without_bottlenecks_has_one_row_less():
    whole, pruned = architectures.reference("resnet18_light", 10, 3, 32, 0.1)
    assert pruned["params"] < whole["params"] == 2_837_226


def test_model_table():
    frame = architectures.model_table()
    assert frame.loc["resnet18_kd", "parameters"] == 11_335_114
    assert frame.loc["resnet18_kd", "MACs"] == 140_346_624
    assert frame.loc["cnn2", "MACs"] == 397_312
