"""Where pieces of a plan are done: in this process, in several of this machine, or on a Ray cluster."""

import contextlib
import io
import os
import pickle
import signal
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Self

import torch
from torch import multiprocessing

from kdlib.data import Dataset, Split
from kdlib.errors import UserError, first_line
from kdlib.files import whole
from kdlib.progress import Progress
from kdlib.training import Stop, Stopped

_LOOK = 0.5  # seconds between two looks at the board


@dataclass(frozen=True)
class Board:
    """A folder that driver and workers see: how far each piece is, and whether all are to stop.

    Files, unlike a queue, hold no lock that a killed worker would take with it.
    """

    folder: Path

    def tell(self, piece: int, amount: float) -> None:
        """Say how much of a piece is done."""
        with contextlib.suppress(OSError), whole(self.folder / str(piece)) as aside:
            aside.write_text(str(amount))

    def amount(self, piece: int) -> float:
        """Return what was last told of a piece."""
        try:
            return float((self.folder / str(piece)).read_text())
        except (OSError, ValueError):
            return 0.0

    def stop(self) -> None:
        """Ask all workers to end at a checkpoint."""
        (self.folder / "stop").touch()

    @property
    def stopping(self) -> bool:
        """Whether workers are to end; so they are when the driver took the board away."""
        return (self.folder / "stop").exists() or not self.folder.exists()


class _Bar:
    """What a worker has for a progress bar: it tells the board."""

    def __init__(self, board: Board, piece: int):
        self.board, self.piece, self.amount, self.told = board, piece, 0.0, 0.0

    def advance(self, amount: float) -> None:
        self.amount += amount
        if time.monotonic() - self.told >= _LOOK:
            self.told = time.monotonic()
            self.board.tell(self.piece, self.amount)

    skip = advance

    def say(self, text: str) -> None:
        pass


class _Stop(Stop):
    """What the board says of stopping, looked up twice a second."""

    def __init__(self, board: Board):
        super().__init__()
        self.board, self.looked, self.found = board, 0.0, False

    @property
    def requested(self) -> bool:
        if time.monotonic() - self.looked >= _LOOK:
            self.looked, self.found = time.monotonic(), self.board.stopping
        return self.found


Do = Callable[[Any, Progress, Stop], None]
"""Does a piece; records are written by it."""


def _serve(do: Do, number: int, packed: bytes, images: Any, board: Board, threads: int) -> str | None:
    """Do one piece in a worker; return None, or a mistake of the user's. ``Stopped`` is no error: the driver knows."""
    torch.set_num_threads(threads)
    try:
        piece = _Unpickler(io.BytesIO(packed), _fetched(images)).load()
        do(piece, _Bar(board, number), _Stop(board))
    except Stopped:
        pass
    except UserError as error:
        return str(error)
    return None


# A piece goes to a worker without its images, which are placed once.


class _Pickler(pickle.Pickler):
    def persistent_id(self, one: Any) -> str | None:
        return one.fingerprint if isinstance(one, Dataset) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, images: dict[str, Dataset]):
        super().__init__(file)
        self.images = images

    def persistent_load(self, id: str) -> Dataset:
        return self.images[id]


def _pack(piece: Any) -> bytes:
    """Return a piece as bytes, in which its data sets are named by their fingerprints."""
    file = io.BytesIO()
    _Pickler(file).dump(piece)
    return file.getvalue()


@dataclass(frozen=True)
class _Images:
    """Data sets whose tensors lie in a file of this machine: here stands under which name."""

    file: Path
    named: dict[str, Dataset]

    @classmethod
    def placed(cls, file: Path, images: dict[str, Dataset]) -> Self:
        tensors: dict[str, torch.Tensor] = {}

        def place(tensor: torch.Tensor) -> str:
            tensors[name := str(len(tensors))] = tensor
            return name

        named = {id: _converted(dataset, place) for id, dataset in images.items()}
        torch.save(tensors, file)
        return cls(file, named)


@cache
def _mapped(file: Path) -> dict[str, torch.Tensor]:
    """Map the tensors of a file: all workers share its pages."""
    return torch.load(file, mmap=True, weights_only=True)


def _fetched(images: _Images | dict[str, Any]) -> dict[str, Dataset]:
    """Take images out of their file, or out of Ray's store, where all workers of a node read the same memory."""
    if isinstance(images, _Images):
        return {id: _converted(one, _mapped(images.file).__getitem__) for id, one in images.named.items()}
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the arrays are read-only, and nothing writes to images
        return {id: _converted(ray.get(one), torch.from_numpy) for id, one in images.items()}


def _converted(dataset: Dataset, how: Callable) -> Dataset:
    """Return a data set whose splits hold something else for their tensors."""

    def converted(split: Split) -> Split:
        return Split(*(None if held is None else how(held) for held in (split.images, split.labels, split.groups)))

    return replace(dataset, **{part: converted(getattr(dataset, part)) for part in ("train", "val", "test")})


class InProcess:
    """Does a piece when it is handed over, on the caller's bar."""

    workers, board = 1, None

    def __init__(self, do: Do, bar: Progress, stop: Stop):
        self.do, self.bar, self.stop = do, bar, stop

    def submit(self, number: int, piece: Any) -> Future:
        """Do the piece; what it raises is raised here."""
        self.do(piece, self.bar, self.stop)
        future: Future = Future()
        future.set_result(None)
        return future


def _begin(device: int | str | None) -> None:
    """Set up a worker process: its GPU, signals left to the driver, and no life after the driver's."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device)

    def follow() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class Processes:
    """N worker processes on this machine, a GPU each where there are as many.

    Each is a pool of its own: in a common pool the death of one worker ends the work of all.
    """

    def __init__(self, do: Do, workers: int, threads: int, gpus: list[str], folder: Path, images: dict[str, Dataset]):
        self.do, self.workers, self.threads, self.gpus = do, workers, threads, gpus
        self.board, self.images = Board(folder), _Images.placed(folder / "images.pt", images)
        self.pools: list[ProcessPoolExecutor | None] = [None] * workers
        self.busy: dict[int, Future] = {}

    def submit(self, number: int, piece: Any) -> Future:
        """Hand a piece to a free worker; its future raises ``BrokenProcessPool`` when that dies."""
        worker = next(i for i in range(self.workers) if i not in self.busy or self.busy[i].done())
        asked = (self.do, number, _pack(piece), self.images, self.board, self.threads)
        try:
            self.busy[worker] = self._pool(worker).submit(_serve, *asked)
        except BrokenProcessPool:  # it died, at a piece or between two
            self.pools[worker] = None
            self.busy[worker] = self._pool(worker).submit(_serve, *asked)
        return self.busy[worker]

    def _pool(self, worker: int) -> ProcessPoolExecutor:
        if self.pools[worker] is None:
            gpu = self.gpus[worker % len(self.gpus)] if self.gpus else None
            self.pools[worker] = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (gpu,))
        return self.pools[worker]

    def close(self) -> None:
        """End the workers, at a checkpoint where they are still at work."""
        self.board.stop()
        for pool in self.pools:
            if pool is not None:
                pool.shutdown(cancel_futures=True)


class OnRay:
    """A Ray cluster whose nodes see the folder of the records: a task a piece.

    A piece takes ``threads`` CPUs, or one GPU. Ray does not try again by itself, as progress is the scheduler's.
    """

    def __init__(
        self,
        do: Do,
        address: str | None,
        threads: int | None,
        device: str,
        folder: Path,
        images: dict[str, Dataset],
    ):
        self.do, self.board = do, Board(folder)
        self.ray, self.began = _connected(address)
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cpus = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU")]
        self.threads = threads or min(cpus)
        gpus = int(sum(node.get("GPU", 0) for node in nodes)) if device == "cuda" else 0
        self.workers = gpus or sum(count // self.threads for count in cpus)
        if not self.workers:
            self.close()
            raise UserError(f"no node of the cluster has {self.threads} CPUs; the largest has {max(cpus)}")
        resources = {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": self.threads}
        self.task = self.ray.remote(max_retries=0, **resources)(_serve_shared)
        as_arrays = partial(_converted, how=lambda tensor: tensor.contiguous().numpy())
        self.images = {id: self.ray.put(as_arrays(dataset)) for id, dataset in images.items()}

    def submit(self, number: int, piece: Any) -> Future:
        """Hand a piece to the cluster."""
        asked = (self.do, number, _pack(piece), self.images, self.board, self.threads)
        return self.task.remote(*asked).future()

    def close(self) -> None:
        """Let go of the cluster, which goes on unless it was started here."""
        self.board.stop()
        if self.began:
            self.ray.shutdown()


def _serve_shared(do: Do, number: int, packed: bytes, images: Any, board: Board, threads: int) -> str | None:
    if not board.folder.is_dir():
        return f"node {socket.gethostname()} does not see {board.folder.parent}; say --output-dir on shared storage"
    return _serve(do, number, packed, images, board, threads)


def _connected(address: str | None) -> tuple[Any, bool]:
    """Return Ray, connected, and whether that was done here."""
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray needs Ray; install it with: pip install 'kdlib[scale]'") from None
    if ray.is_initialized():
        return ray, False
    if address not in (None, "auto", "local"):  # Ray itself tries for minutes, and then ends the process
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), 5).close()
        except (OSError, ValueError, OverflowError) as error:
            raise UserError(f"--address {address} cannot be reached ({error}); say HOST:PORT of a head node") from None
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=True)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--address {address}: {first_line(error)}") from None
    return ray, True


def lost(error: BaseException) -> bool:
    """Whether an error means that a worker, or its node, is gone."""
    if isinstance(error, BrokenProcessPool):
        return True
    names = {"WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "LocalRayletDiedError"}
    return type(error).__module__ == "ray.exceptions" and type(error).__name__ in names


@contextlib.contextmanager
def scratch(folder: Path | None) -> Iterator[Path]:
    """A folder for board and images: on this machine's disk, or beside the records for all nodes to see."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".board-", dir=folder, ignore_cleanup_errors=True) as found:
        yield Path(found).resolve()
