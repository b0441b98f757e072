"""Figures of pruning: what is drawn equals the records, in the study's order, and nothing where there is nothing."""

from types import SimpleNamespace

import numpy as np
import pytest
from pruning_data import results
from report_data import study_of

from kdlib.reporting import draw
from kdlib.reporting.core import names, numbers
from kdlib.reporting.core.results import Results, estimate
from kdlib.reporting.pruning.figures import Point, channels, front, look, pareto, stage_of, sweep
from kdlib.reporting.pruning.study import read

MAKERS = {
    "pareto": pareto,
    "channels": channels,
    "sweep": sweep,
}
FIGURES = [SimpleNamespace(kind=kind, model=None, recipe=None) for kind in MAKERS]
REPORT = {"ratio": 0.1, "macs": None, "protect_se": False}
CRITERIA = ["coverage", "wanda", "magnitude", "taylor", "random"]


def make(*args, **more):
    return results(*args, **{"pruned_json": False, "beside": False, "figures": FIGURES, **more})


@pytest.fixture(scope="module")
def two():
    return make()


@pytest.fixture(scope="module")
def one():
    return make(seeds=(0,))


def parts(found, kind: str, lang="en") -> dict:
    (drawn,) = MAKERS[kind](found, lang, {})
    return drawn[1]


def axes(found, kind: str) -> list:
    return parts(found, kind)["figure"].axes


def marked(ax, *, filled=None) -> set[tuple[float, float]]:
    """Where single points stand; with `filled` those that are, or are not, hollow."""
    lines = [
        line for line in ax.lines if line.get_marker() not in ("None", None, "", "*") and len(line.get_xdata()) == 1
    ]
    lines = [line for line in lines if filled is None or (line.get_markerfacecolor() != "white") == filled]
    return {tuple(np.round(line.get_xydata()[0], 6)) for line in lines}


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_every_kind_is_drawn(two, lang):
    drawn = draw(two, lang)
    assert list(drawn) == list(MAKERS)
    for drawing in drawn.values():
        assert drawing.caption.endswith(names.provenance(two, lang))
        assert "{" not in drawing.alt + drawing.caption
    assert b"<desc" in drawn["channels"].svg()


def test_nothing_is_drawn_without_pruning_or_without_runs(two):
    for maker in MAKERS.values():
        assert list(maker(Results(study_of(), [], {}, "quick"), "en", {})) == []
        assert list(maker(Results(two.study, two.conditions, {}, "quick"), "en", {})) == []
        assert list(maker(two, "en", {"model": "another"})) == []


def test_published_records_have_every_figure():
    assert set(draw(make(published=True, seeds=(0,)), "en")) == set(MAKERS)


# Accuracy against cost


def test_every_fine_tuned_setting_is_a_point_of_both_panels(two):
    macs, size = axes(two, "pareto")[:2]
    wanted = [set(), set()]
    for where in two.settings(role=["finetuned", "distilled"]):
        cut = [record.run["pruning"] for _, record in two.select(**where)]
        height = 100 * np.mean([record.metrics["test_accuracy"] for _, record in two.select(**where)])
        wanted[0].add((np.mean([100 * c["macs"][1] / c["macs"][0] for c in cut]), height))
        wanted[1].add((np.mean([c["size_bytes"][1] for c in cut]) / 2**20, height))
    for ax, points in zip((macs, size), wanted, strict=True):
        assert marked(ax) == {tuple(np.round(point, 6)) for point in points}
    distilled = {round(100 * two.cell(w).mean, 6) for w in two.settings(role="distilled")}
    assert {height for _, height in marked(macs, filled=False)} == distilled


def test_the_original_stands_at_all_of_its_macs(two):
    for ax, x in zip(axes(two, "pareto"), (100, (4 * 17_700_000 + 500_000) / 2**20), strict=False):
        star = next(line for line in ax.lines if line.get_marker() == "*" and len(line.get_xdata()) == 1)
        assert star.get_xydata()[0] == pytest.approx((x, 80.0))


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([(3, 9), (1, 5), (2, 5), (2, 7), (3, 8)], [(1, 5), (2, 7), (3, 9)]),
        ([(2, 5), (1, 5)], [(1, 5)]),
        ([(1, 5), (1, 5)], [(1, 5)]),
        ([], []),
    ],
)
def test_the_front_is_what_nothing_beats(points, best):
    made = [Point(None, estimate([height / 100]), {"macs": estimate([cost])}) for cost, height in points]
    assert [(point.costs["macs"].mean, pytest.approx(point.height)) for point in front(made, "macs")] == best


def test_the_front_is_joined(two):
    said = parts(two, "pareto")
    line = next(line for line in said["figure"].axes[0].lines if line.get_gid() == "front")
    assert line.get_xydata()[-1] == pytest.approx((91, 80.5))
    assert (np.diff(line.get_xydata(), axis=0) > 0).all()


def test_one_seed_has_no_error_bars(one, two):
    assert "Error bars" in parts(two, "pareto")["caption"]
    assert "Error bars" not in parts(one, "pareto")["caption"]
    assert not any(ax.containers for ax in axes(one, "pareto"))


def test_a_diverged_run_is_left_out_and_counted():
    bad = {("finetuned", "wanda"): {"diverged": {"reason": "accuracy fell back to guessing", "epoch": 2}}}
    found = make(seeds=(0,), given=bad, settings=("report",), roles=("pruned", "finetuned"))
    said = parts(found, "pareto")
    assert len(marked(said["figure"].axes[0])) == 4
    assert "Runs that diverged and are left out: 1." in said["caption"]
    assert "diverged" not in parts(found, "channels")["caption"]


# By ratio


def test_lines_of_the_sweep_are_the_records(two):
    for ax, role in zip(axes(two, "sweep"), ("pruned", "finetuned"), strict=True):
        lines = {line.get_gid(): line for line in ax.lines if line.get_gid() in CRITERIA}
        assert list(lines) == CRITERIA
        for criterion, line in lines.items():
            where = {"role": role, "criterion": criterion, "macs": None, "protect_se": False}
            heights = [100 * two.cell({**where, "ratio": ratio}).mean for ratio in (0.05, 0.1, 0.2, 0.3)]
            assert line.get_xdata() == pytest.approx([5, 10, 20, 30])
            assert line.get_ydata() == pytest.approx(heights)
        levels = {round(line.get_ydata()[0], 4) for line in ax.lines if list(line.get_xdata()) == [0, 1]}
        assert levels == {80.0, round(100 / 101, 4)}


def test_a_single_ratio_is_no_sweep():
    assert list(sweep(make(seeds=(0,), settings=("report", "macs", "protected")), "en", {})) == []


def test_what_the_sweep_says(two):
    assert "dotted, where the scale reaches it: chance (0.99%)." in parts(two, "sweep")["caption"]
    assert "rastgele tahmin (%0,99)." in parts(two, "sweep", "tr")["caption"]


# Channels


def test_bars_are_the_channels_left_in_the_records_order(two):
    found = axes(two, "channels")
    assert [ax.get_title().split(":")[0] for ax in found] == ["Coverage", "Wanda", "Magnitude", "Taylor", "Random"]
    for ax, criterion in zip(found, CRITERIA, strict=True):
        runs = [r.run["pruning"]["channels"] for _, r in two.select(role="pruned", criterion=criterion, **REPORT)]
        wanted = [100 * np.mean([run[layer][1] for run in runs]) / runs[0][layer][0] for layer in runs[0]]
        (bars,) = [patch for patch in ax.patches if patch.get_gid() == criterion]
        assert bars.get_data().values == pytest.approx(wanted)


def test_protected_layers_are_marked_and_do_not_count():
    found = make(seeds=(0,), settings=("report",), pruning={"protect_se": True}, without=CRITERIA[1:])
    said = parts(found, "channels")
    ((_, record),) = found.select(role="pruned")
    cut = record.run["pruning"]
    layers, protected = list(cut["channels"]), set(cut["protected"])
    hatched = {round(patch.get_x() + 0.5) for patch in said["figure"].axes[0].patches if patch.get_hatch()}
    assert hatched == {k for k, layer in enumerate(layers) if layer in protected}
    removed = cut["removed"][0]
    opened = sum(cut["channels"][layer][0] for layer in layers if layer not in protected)
    gone = np.round(100 * removed / opened, 1)
    assert said["figure"].axes[0].get_title().startswith(f"Coverage: {gone}% of channels removed")
    assert "Hatched: protected, squeeze-excite (32), output layer (1)." in said["caption"]
    assert "mean over seeds" not in said["caption"]


def test_the_parts_of_a_network():
    assert stage_of(["conv1", "layer1.0.conv1", "layer1.1.conv1", "fc"]) == ["conv1", "layer1", "layer1", "fc"]
    efficient = ["features.0.0", "features.1.0.block", "features.1.1.block", "classifier.1"]
    assert stage_of(efficient) == ["features.0", "features.1", "features.1", "classifier"]


def test_settings_are_named(two):
    settings = ((0.1, None, False), (None, 0.85, False), (0.1, None, True))
    wheres = [dict(zip(("ratio", "macs", "protect_se"), setting, strict=True)) for setting in settings]
    assert [read(two).called(where, "en") for where in wheres] == [
        "10% of channels",
        "85% of its MACs kept",
        "10% of channels, squeeze-excite protected",
    ]
    assert read(make(study="ts4", seeds=(0,))).called(wheres[2], "tr") == "budama oranı %10"
    assert [numbers.share(value, "en") for value in (0.29, 0.125, 0.05)] == ["29%", "12.5%", "5%"]


def test_criteria_look_different_in_grey(two):
    for key in ("marker", "linestyle", "color"):
        assert len({str(look(read(two), name)[key]) for name in CRITERIA}) == 5
