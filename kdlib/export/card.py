"""A model card of a run, in the form that Hugging Face reads, from its record alone."""

from __future__ import annotations

import json
from string import Template

from kdlib.reporting.core import numbers
from kdlib.reporting.core.evidence import wilson
from kdlib.reporting.core.i18n import N_, say
from kdlib.studies import records

LIBRARIES = {"onnx": "onnx", "torchscript": "pytorch", "safetensors": "pytorch"}
HOW = {
    "teacher": N_("Trained on the labels alone, as a teacher of smaller networks."),
    "baseline": N_("Trained on the labels alone."),
    "student": N_("Trained on the labels and on what a larger network, its teacher, answers."),
}


_FRONT = Template(
    """---
language: $lang
pipeline_tag: image-classification
library_name: $library
tags: [image-classification, kdlib]
datasets: [$data]
metrics: [accuracy]
model-index:
- name: $model
  results:
  - task: {type: image-classification}
    dataset: {name: $data, type: $data}
    metrics: [{type: accuracy, value: $accuracy}]
---"""
)


def card(record: records.Record, file: str, lang: str, form: str = "onnx") -> str:
    """The card of the network in ``file``, written as ``form``: data, results, interval, limits, how to use it."""
    run = record.run
    config, data, metrics = run["config"], run["dataset"], record.metrics
    sizes = data["sizes"]
    accuracy = metrics["test_accuracy"]
    low, high = wilson(accuracy, sizes["test"])
    said = {
        "model": config["model"],
        "data": data["name"],
        "train": numbers.integer(sizes["train"], lang),
        "test": numbers.integer(sizes["test"], lang),
        "classes": numbers.integer(len(data["classes"]), lang),
        "params": numbers.integer(metrics["params"], lang),
        "side": f"{data['shape'][1]}×{data['shape'][2]}",
        "accuracy": numbers.percent(accuracy, 2, lang),
        "interval": f"[{numbers.decimal(100 * low, 2, lang)}; {numbers.decimal(100 * high, 2, lang)}]",
        "seed": config["seed"],
        "run": record.id,
        "commit": str((run.get("code") or {}).get("commit") or "–")[:12],
    }
    takes = _WEIGHTS if form == "safetensors" else _PIXELS
    front = {"lang": lang, "library": LIBRARIES[form], "accuracy": f"{accuracy:.4f}"}
    front |= {key: json.dumps(said[key]) for key in ("model", "data")}
    parts = [
        _FRONT.substitute(front),
        "# " + say("{model} for {classes} classes of {data}", lang, **said),
        say(_how(record), lang) + " " + _pruned(record, lang),
        "## " + say("Data", lang),
        say("{data}: {train} training and {test} test images of {side} pixels, {classes} classes.", lang, **said),
        "## " + say("Results", lang),
        say("Test accuracy {accuracy}, 95% interval over test images {interval}; {params} parameters.", lang, **said),
        "## " + say("Limits", lang),
        say(
            "Measured on the test part of this data set alone; one run of seed {seed}, whose interval leaves out the "
            "noise between seeds. It knows no other classes than these, and answers one of them for any image.",
            lang,
            **said,
        ),
        say(_NOT_MEDICAL, lang) if data["name"] == "chest_xray" else "",
        "## " + say("Use", lang),
        f"```\n{_use(record, file, form)}\n```",
        say(takes, lang, **said),
        "## " + say("Where it comes from", lang),
        say("Run {run}, commit {commit}.", lang, **said) + " " + _weights(config, lang),
    ]
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


_PIXELS = N_("The file takes uint8 images (B, C, H, W) of {side} pixels and normalises them itself.")
_NOT_MEDICAL = N_("This is no medical device and must not be used for diagnosis.")
_WEIGHTS = N_("The file holds the weights alone, for images of {side} pixels normalised as the run's record says.")


def _use(record: records.Record, file: str, form: str) -> str:
    if form == "onnx":
        return f"kdlib predict {file} photo.jpg"
    if form == "torchscript":
        return f"logits = torch.jit.load({file!r})(images)"
    config = record.run["config"]
    return f"model = kdlib.models.build({config['model']!r}, {config['num_classes']})  # cut as run {record.id} says"


def _how(record: records.Record) -> str:
    config = record.run["config"]
    if config.get("teacher") or config.get("loss"):
        return HOW["student"]
    return HOW.get(config["role"], HOW["baseline"])


def _pruned(record: records.Record, lang: str) -> str:
    spec, found = record.run["config"].get("pruning"), record.run.get("pruning")
    if not spec or not found:
        return ""
    left = numbers.percent(found["params"][1] / found["params"][0], 1, lang)
    message = N_("Pruned by {criterion}: {left} of the parameters are left.")
    return say(message, lang, criterion=spec["criterion"], left=left)


def _weights(config: dict, lang: str) -> str:
    start = config.get("weights")
    if not start:
        return say("Trained from random weights.", lang)
    return say("It started from other weights ({start}), whose licence holds too.", lang, start=start["from"])
