"""An exported ONNX file in int8, by onnxruntime's static quantiser, measured beside the file it was made from."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from kdlib.data import Dataset
from kdlib.errors import UserError, first_line
from kdlib.export.predict import logits, open_file

CALIBRATION = 200  # training images
TIMINGS = 30


@dataclass(frozen=True)
class Quantised:
    """The int8 file beside the one it was made from: accuracy on the test part, median milliseconds an image, bytes.

    ``correct``: for each test image whether either was right, bool (2, N).
    """

    path: Path
    correct: np.ndarray
    ms: tuple[float, float]
    size: tuple[int, int]


def quantise(file: Path, path: Path, dataset: Dataset) -> Quantised:
    """Write an exported ONNX file in int8, its ranges taken from training images of ``dataset``, and measure both.

    Raises ``UserError`` for a network that onnxruntime cannot quantise.
    """
    from onnxruntime.quantization import CalibrationDataReader, quant_pre_process, quantize_static

    class Images(CalibrationDataReader):
        def __init__(self):
            self.batches = iter(spread(dataset.train.images, CALIBRATION).split(1))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch.numpy()}

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8-") as folder:
        prepared, aside = Path(folder) / "prepared.onnx", Path(folder) / path.name
        try:
            quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
            quantize_static(str(prepared), str(aside), Images(), per_channel=True)
            sessions = [open_file(one)[0] for one in (file, aside)]
            correct = np.stack([_correct(session, dataset) for session in sessions])
        except UserError:
            raise
        except Exception as error:  # the quantiser may raise anything
            raise UserError(f"{file} cannot be written in int8: {first_line(error)}") from None
        ms = _timed(sessions, dataset.test.images[:1].numpy())
        size = file.stat().st_size, aside.stat().st_size
        os.replace(aside, path)
    return Quantised(path, correct, ms, size)


def spread(images: torch.Tensor, count: int) -> torch.Tensor:
    """So many images from end to end: they may lie class by class, and the first ones be of few classes."""
    return images[torch.linspace(0, len(images) - 1, count).long().unique()]


def _correct(session, dataset: Dataset) -> np.ndarray:
    return logits(session, dataset.test.images.numpy()).argmax(1) == dataset.test.labels.numpy()


def _timed(sessions: list, image: np.ndarray) -> tuple[float, float]:
    """Median milliseconds of one image, the two in turns, so that what drifts on a machine hits both alike."""
    times: list[list[float]] = [[], []]
    for _ in range(TIMINGS):
        for own, session in zip(times, sessions, strict=True):
            start = time.perf_counter()
            session.run(None, {"images": image})
            own.append(1e3 * (time.perf_counter() - start))
    return median(times[0]), median(times[1])
