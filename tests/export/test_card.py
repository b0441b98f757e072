"""The model card says what the record says, in both languages, in the form that Hugging Face reads."""

from types import SimpleNamespace

import pytest
import yaml

from kdlib.export.card import card

RECORD = SimpleNamespace(
    id="0123456789abcdef",
    metrics={"test_accuracy": 0.9, "params": 11298},
    run={
        "config": {"model": "cnn2", "role": "student", "teacher": "fedcba9876543210", "seed": 3, "weights": None},
        "dataset": {
            **{"name": "cifar10", "classes": list("abcdefghij"), "shape": [3, 32, 32]},
            "sizes": {"train": 40000, "val": 10000, "test": 1000},
        },
        "code": {"commit": "abcdef0123456789"},
    },
)


def test_the_front_matter_is_yaml_with_the_result():
    _, front, body = card(RECORD, "it.onnx", "en").split("---\n", 2)
    found = yaml.safe_load(front)
    assert found["model-index"][0]["results"][0]["metrics"] == [{"type": "accuracy", "value": 0.9}]
    assert found["datasets"] == ["cifar10"]
    assert body.strip().startswith("# cnn2 for 10 classes of cifar10")


@pytest.mark.parametrize(
    ("lang", "lines"),
    [
        # Wilson's interval of 900 of 1,000 is 0.8798 to 0.9171
        (
            "en",
            ["Test accuracy 90.00%, 95% interval over test images [87.98; 91.71]; 11,298 parameters.", "its teacher"],
        ),
        ("tr", ["Test doğruluğu %90,00; test görüntüleri üzerinden %95 aralık [87,98; 91,71]; 11.298 parametre."]),
    ],
)
def test_it_says_the_record_with_an_interval(lang, lines):
    said = card(RECORD, "it.onnx", lang)
    for line in (*lines, "kdlib predict it.onnx photo.jpg", "0123456789abcdef", "abcdef012345"):
        assert line in said
    assert "{" not in said.split("---\n", 2)[2]


@pytest.mark.parametrize(
    ("form", "library", "lines"),
    [
        ("onnx", "onnx", ["kdlib predict it.x photo.jpg", "takes uint8 images"]),
        ("torchscript", "pytorch", ["torch.jit.load('it.x')(images)", "takes uint8 images"]),
        ("safetensors", "pytorch", ["kdlib.models.build('cnn2', 10)", "the weights alone, for images of 32×32 pixels"]),
    ],
)
def test_each_form_says_how_it_is_used(form, library, lines):
    run = {**RECORD.run, "config": {**RECORD.run["config"], "num_classes": 10}}
    _, front, body = card(SimpleNamespace(**{**vars(RECORD), "run": run}), "it.x", "en", form).split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == library
    for line in lines:
        assert line in body


def test_films_are_no_device_and_other_weights_have_a_licence():
    run = {**RECORD.run, "dataset": {**RECORD.run["dataset"], "name": "chest_xray"}}
    run["config"] = {**run["config"], "weights": {"from": "imagenet"}}
    said = card(SimpleNamespace(**{**vars(RECORD), "run": run}), "it.onnx", "en")
    assert "no medical device" in said
    assert "started from other weights (imagenet), whose licence holds too" in said
