"""Clinical figures and attention maps: what is drawn, in words and on the axes, and what is left out when."""

import numpy as np
import pytest
from radiology_data import clinical_study, conditions, results

from kdlib.reporting.figures import draw
from kdlib.reporting.radiology import figures
from kdlib.reporting.radiology.study import read


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return results(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return results(tmp_path_factory.mktemp("three"), seeds=(0, 1, 2))


def made(maker, found, lang="en") -> dict:
    return dict(maker(found, lang, {}))


def maps(folder, found, **more):
    """An attention.npz of the study's three models on two images, the second called wrong by the student alone."""
    ids = [condition.id for condition in conditions()]
    probabilities = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.6, 0.4]], [[0.8, 0.2], [0.1, 0.9]]])
    content = {
        "images": np.full((2, 3, 8, 8), 90, np.uint8),
        "maps": np.linspace(0, 1, 3 * 2 * 64).reshape(3, 2, 8, 8).astype(np.float16),
        "probabilities": probabilities.astype(np.float32),
        "labels": np.array([0, 1]),
        "indices": np.array([4, 17]),
        "classes": np.array(["NORMAL", "PNEUMONIA"]),
        "seed": np.int64(0),
        "roles": np.array(["teacher", "baseline", "student"]),
        "models": np.array(["big", "small", "small"]),
        "ids": np.array(ids),
        "layers": np.array(["layer3", "layer2", "layer2"]),
        "asked": np.array(ids),
    }
    np.savez(folder / "attention.npz", **{**content, **more})
    found.folder = folder
    return found


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_every_kind_is_drawn_in_both_languages(tmp_path, lang):
    found = maps(tmp_path, results(tmp_path))
    drawn = draw(found, lang)
    assert list(drawn) == ["curves", "roc", "reliability", "attention"]
    for drawing in drawn.values():
        assert drawing.title
        assert "{" not in drawing.title + drawing.alt + drawing.caption
    assert drawn["roc"].png().startswith(b"\x89PNG")


def test_roc_has_a_curve_and_an_operating_point_for_each_model(one):
    parts = made(figures.roc_curves, one)["roc"]
    ax = parts["figure"].axes[0]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [label.split("\n")[0] for label in labels] == ["Teacher", "Student alone", "Student with teacher"]
    assert all("AUROC 0." in label and "[" in label for label in labels)
    spots = [line for line in ax.lines if line.get_linestyle() == "None"]
    scores = read(one).models[0].by_seed[0]
    assert [spots[0].get_xdata()[0], spots[0].get_ydata()[0]] == pytest.approx(
        [100 - 100 * scores.point["specificity"], 100 * scores.point["sensitivity"]]
    )


def test_roc_of_several_seeds_draws_each_and_their_mean(three):
    parts = made(figures.roc_curves, three)["roc"]
    lines = [line for line in parts["figure"].axes[0].lines if len(line.get_xdata()) > 2]
    assert len(lines) == 3 * (3 + 1)
    assert "each seed" in parts["caption"]


def test_reliability_counts_add_up_to_the_test_images(one):
    figure = made(figures.reliability_diagrams, one)["reliability"]["figure"]
    below = figure.axes[3:]
    assert [sum(bar.get_height() for bar in ax.patches) for ax in below] == [624] * 3


def test_other_than_two_classes_leave_the_figures_of_two_out(tmp_path):
    found = results(tmp_path, classes=3, counts=(20, 30, 25))
    assert list(draw(found, "en")) == ["curves"]


def test_attention_says_what_each_model_calls_and_marks_the_wrong(tmp_path, one):
    found = maps(tmp_path, results(tmp_path))
    parts = made(figures.attention, found, "en")["attention"]
    axes = np.array(parts["figure"].axes).reshape(4, 2)
    assert axes[0, 1].get_title(loc="center") == "No. 17\npneumonia"
    assert axes[2, 1].get_xlabel() == "✗ normal\n60%"
    assert axes[3, 1].get_xlabel() == "pneumonia\n90%"
    assert "first 1 that every model calls right, then 1" in parts["caption"]
    assert "Teacher (DenseNet121) layer3" in parts["caption"]


def test_attention_in_turkish_writes_turkish_percentages(tmp_path):
    parts = made(figures.attention, maps(tmp_path, results(tmp_path)), "tr")["attention"]
    assert "zatürre\n%90" in [ax.get_xlabel() for ax in parts["figure"].axes]


def test_attention_without_a_file_or_of_other_runs_is_left_out(tmp_path):
    found = results(tmp_path)
    assert made(figures.attention, found) == {}
    assert made(figures.attention, maps(tmp_path, found, ids=np.array(["other"] * 3))) == {}
    found.folder = None
    assert made(figures.attention, found) == {}


def test_grey_images_are_drawn(tmp_path):
    found = maps(tmp_path, results(tmp_path), images=np.zeros((2, 1, 8, 8), np.uint8))
    assert "attention" in made(figures.attention, found)


def test_the_overlay_leaves_the_image_where_the_map_is_zero():
    picture = np.full((2, 2, 3), 0.5)
    assert figures._overlay(picture, np.zeros((2, 2))) == pytest.approx(0.8 * picture)


def test_a_case_of_a_study_with_two_students_names_its_model(tmp_path):
    found = results(tmp_path)
    more = [type(one)(**{**vars(one), "model": "other"}) for one in found.conditions if one.role != "teacher"]
    found.conditions += more
    drawn = made(figures.roc_curves, found)
    assert list(drawn) == ["roc-small", "roc-other"]
    assert "MobileNetV2" in drawn["roc-small"]["title"]


def test_the_clinical_study_of_the_tests_names_all_kinds():
    assert len(clinical_study().figures) == 4
