"""What each choice of the training step is worth: the step with one taken away, beside the step as it is."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from benchmarks import timing
from benchmarks.setting import Asked
from kdlib import models
from kdlib.losses import weighted_kl
from kdlib.progress import Progress
from kdlib.training import Job, Recipe
from kdlib.training.check import Handling
from kdlib.training.device import autocast
from kdlib.training.learner import Learner
from kdlib.training.teacher import TeacherOutput

TITLE = "What each choice is worth, step by step"
AS_IS, FP32, CONTIGUOUS, UNFUSED = "as it is", "in fp32", "contiguous memory", "optimiser not fused"
ONE_THREAD, COMPILED, PAGES, NO_PAGES = "one thread", "compiled (not taken)", "huge pages", "no huge pages"
STEP, FORWARD = "training step", "forward, no gradients"
NOTES = [
    "Steps of one network on one batch of 128 images of 32×32, over and over; a round times a number of them in a row "
    "for each variant. As it is: bf16 autocast, channels_last, a fused optimiser, all threads.",
    "Where bf16 is slow kdlib itself takes fp32, and it steps a small network on one thread.",
    "Ratios above 1 say that the step as it is, is faster. Compiling is no part of the time: it is done before, and "
    "takes up to a minute a network.",
    "Huge pages are set when a program starts, so each turn of these two is a process of its own.",
]
TUNABLES = "GLIBC_TUNABLES"


@dataclass(frozen=True)
class Size:
    """How large the bench is; ``nets``: network, steps a turn, whether it is trained; ``variants`` empty: all."""

    nets: tuple = (("resnet18_light", 6, True), ("cnn2", 60, True), ("resnet18_kd", 8, False))
    batch_size: int = 128
    rounds: int = 7
    variants: tuple[str, ...] = ()


QUICK = Size((("cnn2", 5, True),), rounds=2, variants=(FP32, UNFUSED))


def run(asked: Asked, size: Size | None = None) -> dict:
    """Time the step as it is and its variants in turns; return a row and a ratio for each."""
    size, rounds, device = asked.sized(size, Size(), QUICK)
    rows, ratios = [], []
    chosen = {
        name: [v for v in _variants(trains) if not size.variants or v in size.variants] for name, _, trains in size.nets
    }
    with Progress(sum((rounds + 1) * (len(v) + 1) for v in chosen.values()), "ablation") as bar:
        for name, steps, trains in size.nets:
            here = [variant for variant in chosen[name] if variant != NO_PAGES]
            turns = {}
            for variant in (AS_IS, *here):
                turns[variant] = prepared(name, variant, steps, trains, size.batch_size, device)
                turns[variant]()
                bar.advance(1)
            found = timing.alternate(turns, rounds, after=lambda: bar.advance(1))
            if NO_PAGES in chosen[name]:
                _with_and_without_pages(found, name, steps, trains, size, device)
                bar.advance(rounds + 1)
            rows += [_row(name, STEP if trains else FORWARD, variant, found) for variant in found[0]]
            ratios += [{"label": f"{name}, {variant}", **_ratio(found, variant)} for variant in chosen[name]]
    return {
        "title": TITLE,
        "setting": {"batch size": size.batch_size, "image size": [3, 32, 32], "device": str(device), "rounds": rounds},
        "rows": rows,
        "ratios": ratios,
        "notes": NOTES,
        "left_out": [],
    }


def _variants(trains: bool) -> list[str]:
    own = [UNFUSED] if trains else []
    pages = [NO_PAGES] if os.path.exists("/sys/kernel/mm/transparent_hugepage") else []
    return [FP32, CONTIGUOUS, *own, ONE_THREAD, *pages, COMPILED]


def prepared(
    name: str, variant: str, steps: int, trains: bool, batch_size: int, device: torch.device
) -> Callable[[], float]:
    """Build a network and a batch; return a function that takes a turn of ``steps`` and returns the images it saw."""
    torch.manual_seed(0)
    precision = "fp32" if variant == FP32 else "bf16"
    layout = torch.contiguous_format if variant == CONTIGUOUS else torch.channels_last
    images = torch.randn(batch_size, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (batch_size,), device=device)
    output = TeacherOutput(torch.randn(batch_size, 10, device=device), {})
    job = Job(lambda: None, Recipe(epochs=1), loss=weighted_kl(4.0, 0.5))
    model = models.build(name, 10).to(memory_format=layout)
    learner = Learner(job, model, device, precision, 1, Handling(layout, writes=False))
    learner.begin()
    if variant == UNFUSED:
        for group in learner.optimiser.param_groups:
            group["fused"] = False
    if variant == COMPILED:
        learner.model.compile(dynamic=False)
    once = (
        partial(learner.step, images, labels, output) if trains else partial(_forward, learner.model, images, precision)
    )
    return partial(_turn, once, steps, batch_size, 1 if variant == ONE_THREAD else torch.get_num_threads(), device)


@torch.no_grad()
def _forward(model: nn.Module, images: torch.Tensor, precision: str) -> None:
    with autocast(images.device, precision):
        model.eval()(images)


def _turn(once: Callable[[], None], steps: int, batch_size: int, threads: int, device: torch.device) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for _ in range(steps):
            once()
        if device.type == "cuda":
            torch.cuda.synchronize()
    finally:
        torch.set_num_threads(before)
    return steps * batch_size


def _with_and_without_pages(
    found: list[timing.Round], name: str, steps: int, trains: bool, size: Size, device: torch.device
) -> None:
    """Add to each round a turn with huge pages and one without, each in a process of its own."""
    for i, turns in enumerate(found):
        for variant in (PAGES, NO_PAGES) if i % 2 else (NO_PAGES, PAGES):
            with _tunables("glibc.malloc.hugetlb=1" if variant == PAGES else ""):
                asked = (name, steps, trains, size.batch_size, device, torch.get_num_threads())
                turns[variant] = timing.peak_of(alone, *asked)[0]


def alone(
    name: str, steps: int, trains: bool, batch_size: int, device: torch.device, threads: int
) -> Callable[[], timing.Turn]:
    """Prepare the step as it is in a process of its own; return a function that takes one turn and times it."""
    torch.set_num_threads(threads)
    turn = prepared(name, AS_IS, steps, trains, batch_size, device)
    turn()
    return lambda: timing.alternate({AS_IS: turn}, 1)[0][AS_IS]


@contextmanager
def _tunables(value: str) -> Iterator[None]:
    before = os.environ.get(TUNABLES)
    os.environ[TUNABLES] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[TUNABLES]
        else:
            os.environ[TUNABLES] = before


def _ratio(found: list[timing.Round], variant: str) -> dict[str, float]:
    return timing.ratio(found, PAGES if variant == NO_PAGES else AS_IS, variant)


def _row(name: str, kind: str, variant: str, found: list[timing.Round]) -> dict:
    rate = timing.rates(found, variant)
    return {
        "network": name,
        "what": kind,
        "variant": variant,
        "images/s": rate["median"],
        "lowest": rate["min"],
        "highest": rate["max"],
        "as it is, times as fast": None if variant in (AS_IS, PAGES) else _ratio(found, variant)["median"],
    }
