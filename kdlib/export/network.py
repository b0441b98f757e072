"""Build a finished run's network and write it to a file, checked on images against what it was made from."""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdlib import data, models, pruning
from kdlib.copies import on_cpu
from kdlib.errors import UserError, first_line
from kdlib.export import predict
from kdlib.profiling.counts import silence
from kdlib.studies import records

FORMATS = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
SHOWN = 256  # images that an exported file is compared on
EMBEDDED = ("shapes10", "outlines10", "phantom")
FAR = 1e-3  # the largest difference of logits, as a share of their spread


class Deployed(nn.Module):
    """A network that takes images as they are, uint8 (B, C, H, W), and gives logits (B, K): it normalises itself."""

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]):
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor([1 / (255 * s) for s in std]).view(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) of images (B, C, H, W), uint8."""
        return self.network(images.to(self.scale.dtype) * self.scale + self.shift)


@dataclass(frozen=True)
class Checked:
    """What a file was found to do: ``difference``: largest difference of logits as a share of their spread;
    ``agreement``: share of images with the same first class; ``images``: how many, and whether they were ``real``."""

    path: Path
    difference: float
    agreement: float
    images: int
    real: bool


def find(run: str, runs: Path) -> records.Record:
    """The record of a run: its id or how it begins, or the path of its folder; ``UserError`` where that is not one."""
    folder = Path(run)
    if (folder / "run.json").is_file():
        return _read(folder)
    found = sorted(name for path in runs.glob("*/run.json") if run and (name := path.parent.name).startswith(run))
    if len(found) != 1:
        many = f"is how {len(found)} runs begin: {', '.join(found[:4])}" if found else f"is no run in {runs}"
        raise UserError(f"{run} {many}; 'kdlib run STUDY --dry-run' lists them")
    return _read(runs / found[0])


def _read(folder: Path) -> records.Record:
    record = records.read(folder.parent, folder.name)
    if record is None:
        raise UserError(f"{folder / 'run.json'} is damaged; run the study again")
    return record


def network(record: records.Record) -> nn.Module:
    """The trained network of a record, in eval mode on the CPU; takes images normalised by the record's statistics."""
    config, about = record.run["config"], record.run["dataset"]
    model = models.build(config["model"], config["num_classes"], about["shape"][0])
    models.adapt(model, config["model"], about["mean"], about["std"], config.get("input_size"))
    for step in _steps(record):
        if (step.path / "model.safetensors").is_file():
            try:
                model.load_state_dict(step.weights())
            except RuntimeError:
                since = f"does not fit {config['model']}, whose code has changed since; run it again"
                raise UserError(f"run {step.id} {since}") from None
        pruning.replay(model, step.cuts())
    return model.eval()


def _steps(record: records.Record) -> list[records.Record]:
    """The records a network came by, in order: what it was cut from, the cut, what it is."""
    config, steps = record.run["config"], [record]
    while config.get("pruning") and (start := (config.get("weights") or {}).get("from")):
        before = records.read(record.path.parent, start)
        if before is None:
            raise UserError(f"run {record.id} started from run {start}, which is not beside it; run the study again")
        steps.insert(0, before)
        config = before.run["config"]
    if not (record.path / "model.safetensors").is_file() and len(steps) == 1:
        record.weights()  # says why it has none
    return steps


def described(record: records.Record) -> dict[str, str]:
    """What a file says of itself: classes, size, and which run it is of."""
    config, about = record.run["config"], record.run["dataset"]
    said = {"run": record.id, "model": config["model"], "role": config["role"], "data": about["name"]}
    said |= {"classes": json.dumps(about["classes"], ensure_ascii=False), **_decoding(about)}
    said |= zip(("channels", "height", "width"), map(str, about["shape"]), strict=True)
    said |= {"test_accuracy": f"{record.metrics['test_accuracy']:.4f}"}
    return said | {"kdlib": str(record.run["code"].get("kdlib", ""))}


def _decoding(about: dict) -> dict[str, str]:
    return {key: about[key] for key in ("resize", "background") if key in about}


def dataset(record: records.Record, data_root: str | None, test_size: int | None = SHOWN) -> data.Dataset | None:
    """The record's data set, where it can be had: embedded, or below data_root; few training images, and at most so
    many test images, None for all.

    Raises ``UserError`` for images of other classes.
    """
    about = record.run["dataset"]
    channels, height = about["shape"][:2]
    if data_root is None and about["name"] not in EMBEDDED:
        return None
    classes, there = len(about["classes"]), about["sizes"]
    sizes = {"train_size": min(20 * classes, there["train"]), "test_size": min(test_size or math.inf, there["test"])}
    options = {"image_size": height, "grayscale": channels == 1, "val_fraction": 0, **sizes, **_decoding(about)}
    found = data.load(about["name"], data_root=data_root, classes=classes, **options)
    if list(found.classes) != about["classes"]:
        raise UserError(f"{data_root} has other classes than run {record.id}; name the images it was trained on")
    return found


def export(record: records.Record, path: Path, to: str = "onnx", images: torch.Tensor | None = None) -> Checked:
    """Write a record's network as ``to`` (`FORMATS`), compare it with the network on images, and keep it if it agrees.

    ``images``: uint8 (N, C, H, W), None for random ones. Raises ``UserError`` for a network that cannot be written in
    that form, and for a file that computes something else.
    """
    deployed = _deployed(record)
    real = images is not None
    if not real:
        shape = record.run["dataset"]["shape"]
        images = torch.randint(0, 256, (32, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    wanted = _by_torch(deployed, images)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        aside = Path(folder) / path.name
        try:
            with silence():  # exporters talk a lot, and of what the check afterwards answers
                _WRITERS[to](deployed, aside, images[:2], described(record))
                found = _ANSWERS[to](aside, images, record)
        except UserError:
            raise
        except Exception as error:  # an exporter may raise anything
            said = first_line(_cause(error)).split(". Failure message")[0]
            raise UserError(f"{record.run['config']['model']} cannot be written as {to}: {said}") from None
        difference = float(np.abs(found - wanted).max() / (wanted.std() or 1.0))
        agreement = float((found.argmax(1) == wanted.argmax(1)).mean())
        if not difference <= FAR:
            raise UserError(
                f"the {to} file computes something else than {record.run['config']['model']}: logits differ by "
                f"{difference:.2g} of their spread, {agreement:.1%} of first classes agree; it was not kept"
            )
        os.replace(aside, path)
    return Checked(path, difference, agreement, len(images), real)


def _deployed(record: records.Record) -> Deployed:
    return Deployed(network(record), record.run["dataset"]["mean"], record.run["dataset"]["std"]).eval()


def _by_torch(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in images.split(predict.BATCH)]).numpy()


def _cause(error: BaseException) -> BaseException:
    """What an exporter stumbled over, under all that it says of itself."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _onnx(deployed: nn.Module, path: Path, example: torch.Tensor, about: dict[str, str]) -> None:
    import onnx

    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        deployed, (example,), dynamo=True, input_names=["images"], output_names=["logits"], dynamic_shapes=({0: batch},)
    )
    program.save(path)
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, about)
    onnx.save(proto, path)


def _by_onnx(path: Path, images: torch.Tensor, record: records.Record) -> np.ndarray:
    return predict.logits(predict.open_file(path)[0], images.numpy())


def _torchscript(deployed: nn.Module, path: Path, example: torch.Tensor, about: dict[str, str]) -> None:
    traced = torch.jit.trace(deployed, example)
    torch.jit.save(traced, path, _extra_files={"kdlib.json": json.dumps(about)})


def _by_torchscript(path: Path, images: torch.Tensor, record: records.Record) -> np.ndarray:
    return _by_torch(torch.jit.load(path), images)


def _safetensors(deployed: nn.Module, path: Path, example: torch.Tensor, about: dict[str, str]) -> None:
    from safetensors.torch import save_file

    save_file(on_cpu(deployed.network), path, metadata=about)


def _by_safetensors(path: Path, images: torch.Tensor, record: records.Record) -> np.ndarray:
    from safetensors.torch import load_file

    again = _deployed(record)
    again.network.load_state_dict(load_file(path))
    return _by_torch(again, images)


_WRITERS = {"onnx": _onnx, "torchscript": _torchscript, "safetensors": _safetensors}
_ANSWERS = {"onnx": _by_onnx, "torchscript": _by_torchscript, "safetensors": _by_safetensors}
