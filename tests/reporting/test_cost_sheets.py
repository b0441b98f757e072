"""The cost table in the report's shape, from counts on disk."""

import json
from types import SimpleNamespace

import pytest

from kdlib.reporting import model_costs
from kdlib.studies import schema

SPEC = schema.Costs.model_validate(
    {
        "id": "table2",
        "title": {"en": "Costs", "tr": "Maliyetler"},
        "head": {"en": "Measure", "tr": "Ölçüm"},
        "num_classes": 10,
        "sizes": [32, 224],
        "models": [{"model": "a", "label": "A"}, {"model": "b", "label": "B"}],
        "rows": [
            {"measure": "total_params", "label": "P", "reported": [11342794, 2837226]},
            {"measure": "mult_adds", "label": "M", "reported": [37.19, None]},
            {"measure": "params_mb", "label": "MB"},
            {"measure": "macs_fvcore", "label": "G", "at": [32, 224], "reported": [0.0373, 6.889]},
        ],
        "notes": [{"en": "Mixed sizes.", "tr": "Karışık boyutlar."}],
    }
)


def counts(params: int, macs: int, thop: int | None = 5) -> dict:
    return {
        **{"total_params": params, "mult_adds": macs, "params_mb": 45.371176},
        **{"macs_thop": thop, "macs_fvcore": macs, "macs_torch": macs},
    }


FOUND = {
    "packages": {"torch": "2.6.0", "thop": "0.1"},
    "counts": [
        {"32": counts(11342794, 37_279_232), "224": counts(11342794, 1_818_719_744)},
        {"32": counts(2837226, 140_754_944, None), "224": counts(2837226, 6_889_029_632)},
    ],
}


@pytest.fixture
def results(tmp_path):
    (tmp_path / "costs.json").write_text(json.dumps(FOUND))
    return SimpleNamespace(study=SimpleNamespace(name="s", costs=SPEC), folder=tmp_path)


def test_rows_are_measures_and_columns_models_in_both_languages(results):
    table = model_costs.sheets(results)[0]
    assert table.frame("en").to_numpy().tolist() == [
        ["11,342,794 / 11,342,794", "2,837,226 / 2,837,226"],
        ["37.28 / 37.19", "140.75 / –"],
        ["45.37 / –", "45.37 / –"],
        ["0.0373 / 0.0373", "6.8890 / 6.8890"],
    ]
    assert table.frame("tr").to_numpy().tolist()[0] == ["11.342.794 / 11.342.794", "2.837.226 / 2.837.226"]
    assert table.frame("tr").to_numpy().tolist()[3] == ["0,0373 / 0,0373", "6,8890 / 6,8890"]
    assert table.notes("tr") == ["Karışık boyutlar.", "Sayımda kullanılan paketler: torch 2.6.0, thop 0.1."]


def test_counters_stand_beside_each_other_in_millions(results):
    table = model_costs.sheets(results)[1]
    assert table.id == "table2_counters"
    assert table.columns("en") == ["torchinfo", "thop", "fvcore", "torch"]
    assert table.row_labels("en") == [
        ["A", "32×32"], ["A", "224×224"], ["B", "32×32"], ["B", "224×224"]
    ]  # fmt: skip
    assert table.frame("tr").to_numpy().tolist()[2] == ["140,75", "–", "140,75", "140,75"]
    assert not table.has_reported


def test_every_format_can_be_written(results):
    for table in model_costs.sheets(results):
        for lang in ("en", "tr"):
            assert all((table.html(lang), table.markdown(lang), table.latex(lang), table.csv(lang)))


def test_a_count_that_is_not_there_is_a_dash(results):
    stale = {**FOUND, "counts": [{"32": counts(1, 1)}, {"32": counts(2, 2)}]}
    (results.folder / "costs.json").write_text(json.dumps(stale))
    assert model_costs.sheets(results)[0].frame("en").iloc[3].tolist() == ["0.0000 / 0.0373", "– / 6.8890"]


def test_without_costs_or_file_or_folder_there_is_no_sheet(results, tmp_path):
    assert model_costs.sheets(SimpleNamespace(study=SimpleNamespace(costs=None), folder=tmp_path)) == []
    assert model_costs.sheets(SimpleNamespace(study=results.study, folder=None)) == []
    assert model_costs.sheets(SimpleNamespace(study=results.study, folder=tmp_path / "none")) == []
