"""The run record: one folder a run, complete or not there at all."""

import csv
import json
import os
import platform
import shutil
import subprocess
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

import kdlib
from kdlib.errors import UserError, first_line
from kdlib.files import flush, sealed, unsealed, write_text

PACKED = "records.zip"
_HOST = platform.node()  # several machines may write to one folder
_VERSIONS = "module versions"  # in a safetensors file: the _metadata of the state dict


@dataclass(frozen=True)
class Condition:
    """One thing a study compares, and the run that shows it; several conditions may point to one run.

    ``role``: ``teacher``, ``baseline`` (trained alone), ``student`` (distilled), ``source`` (trained on a source task)
    or ``transfer`` (started from source weights; ``variant`` says which layers were open); in a pruning study
    ``original``, ``pruned``, ``finetuned`` or ``distilled`` (fine-tuned with the original as teacher), with the
    criterion, the share of channels asked to leave (``ratio``) or of MACs asked to stay (``macs``), and whether
    squeeze-excite bottlenecks were spared. ``method``: the loss a student was distilled with, by name; None stands for
    plain distillation (softened logits compared) and for no distillation. ``T`` is None where the loss has none.
    """

    role: str
    model: str
    recipe: str
    seed: int
    T: float | None
    alpha: float | None
    lam: float | None
    id: str
    variant: str | None = None
    criterion: str | None = None
    ratio: float | None = None
    macs: float | None = None
    protect_se: bool | None = None
    method: str | None = None


@dataclass(frozen=True)
class Record:
    """A finished run as it lies on disk, or in a published study's ``records.zip``."""

    id: str
    path: Path | zipfile.Path
    run: dict

    @property
    def metrics(self) -> dict:
        """Accuracies (fractions), cross-entropies, the epoch kept, the parameter count."""
        return self.run["metrics"]

    @property
    def diverged(self) -> dict | None:
        """None, or ``{"reason", "epoch"}``."""
        return self.run["diverged"]

    def history(self) -> dict[str, list[float]]:
        """Return the columns of history.csv, one value an epoch."""
        with self._whole("history.csv"), (self.path / "history.csv").open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
            return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else {})}

    @contextmanager
    def _whole(self, name: str) -> Iterator[None]:
        """Raise ``UserError`` for a file that is not as it was written, or that cannot be read inside."""
        file = self.path / name
        try:
            if not self._unchanged(name):
                raise ValueError("its checksum does not hold")
            yield
        except (UserError, MemoryError, FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # readers of damaged files raise anything
            reason = first_line(error)
            raise UserError(f"{file} is damaged ({reason}); delete {self.path} and run the study again") from None

    def _unchanged(self, name: str) -> bool:
        """Whether a file has the checksum it was written with; packed and earlier records say none."""
        said = self.run.get("files", {}).get(name)
        return said is None or not isinstance(self.path, Path) or _file_checksum(self.path / name) == said

    @property
    def intact(self) -> bool:
        """Whether every file that is here is as it was written."""
        return all(self._unchanged(name) for name in self.run.get("files", {}) if (self.path / name).is_file())

    @contextmanager
    def _arrays(self) -> Iterator[Mapping[str, np.ndarray]]:
        name = "predictions.npz"
        with self._whole(name), (self.path / name).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            yield file

    def correct(self) -> np.ndarray:
        """Return for each test example whether the run got it right, bool (N,)."""
        with self._arrays() as file:
            top1 = file["top1"] if "top1" in file else file["logits"].argmax(axis=1)
            return top1 == file["labels"]

    def labels(self) -> np.ndarray:
        """Return the class of each test example, int64 (N,)."""
        with self._arrays() as file:
            return file["labels"].astype(np.int64)

    def predictions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return test logits, float32 (N, K), and labels, int64 (N,); a published record holds no logits."""
        with self._arrays() as file:
            if "logits" not in file:
                raise UserError(f"record {self.id} was published without its logits; run the study to have them")
            return file["logits"], file["labels"]

    def groups(self) -> np.ndarray | None:
        """Return to which group (a patient) each test example belongs, int64 (N,); None where there are no groups."""
        with self._arrays() as file:
            return file.get("groups")

    def cuts(self) -> list:
        """Return what left each layer, step by step (``kdlib.pruning.History``); a whole model's is empty."""
        file = self.path / "cuts.json"
        if not file.is_file():
            return []
        with self._whole(file.name):
            return json.loads(file.read_text(encoding="utf-8"))

    def scores(self) -> dict[str, np.ndarray] | None:
        """Return the criterion's scores of each set of channels, float32 (n,); a published record holds none."""
        file = self.path / "scores.npz"
        if not file.is_file():
            return None
        with self._whole(file.name), np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}

    def weights(self) -> dict:
        """Return the state dict, tensors on the CPU, with the versions of its modules."""
        from safetensors import safe_open

        file = self.path / "model.safetensors"
        if not file.is_file():
            raise UserError(f"record {self.id} was published without its weights; run the study to have them")
        with self._whole(file.name), safe_open(file, framework="pt") as found:
            state = OrderedDict((name, found.get_tensor(name)) for name in found.keys())  # noqa: SIM118
            about = found.metadata() or {}
        if _VERSIONS in about:
            # A network may load old weights in another way than its own (torchvision's MNASNet does).
            state._metadata = OrderedDict(json.loads(about[_VERSIONS]))
        return state


def runs_of(folder: Path) -> Path | zipfile.Path:
    """Return where the records of a study's folder lie: beside it, or, published, packed in it."""
    packed = folder / PACKED
    try:
        return zipfile.Path(packed) if packed.is_file() else folder.parent / "runs"
    except zipfile.BadZipFile as error:
        raise UserError(f"{packed} is damaged ({first_line(error)}); fetch it again") from None


def read(runs: Path | zipfile.Path, id: str) -> Record | None:
    """Return the record of a run, or None where there is none."""
    path = runs / id / "run.json"
    try:
        return Record(id, path.parent, unsealed(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # what is damaged is no record
        return None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); fetch it again") from None


def read_all(runs: Path) -> list[Record]:
    """Return every record of a folder."""
    found = (read(runs, path.parent.name) for path in sorted(runs.glob("[!.]*/run.json")))
    return [record for record in found if record]


def write(runs: Path, id: str, config: dict, outcome, extra: dict, pruned=None) -> Record:
    """Write an outcome as the record ``id``: aside first, renamed when whole.

    ``outcome`` is a ``kdlib.training.Outcome``; ``extra`` joins run.json (dataset, train_flops, device). ``pruned``: of
    a run that prunes, its ``kdlib.pruning.Pruned``; its weights are those of the run it needs, less the cuts.
    """
    from safetensors.torch import save_file

    runs.mkdir(parents=True, exist_ok=True)
    aside = runs / f".half-{id}-{_HOST}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    if outcome.state:
        versions = getattr(outcome.state, "_metadata", None)
        about = None if versions is None else {_VERSIONS: json.dumps(versions)}
        save_file(dict(outcome.state), aside / "model.safetensors", about)
    if pruned is not None:
        write_text(aside / "cuts.json", json.dumps(pruned.history))
        scores = {name: own.numpy().astype(np.float32) for name, own in pruned.scores.items()}
        np.savez_compressed(aside / "scores.npz", **scores)
    logits, labels = outcome.logits.numpy().astype(np.float32), outcome.labels.numpy()
    groups = {} if outcome.groups is None else {"groups": outcome.groups.numpy()}
    np.savez_compressed(aside / "predictions.npz", logits=logits, labels=labels, **groups)
    with open(aside / "history.csv", "w", newline="", encoding="utf-8") as lines:
        table = csv.DictWriter(lines, fieldnames=list(outcome.history[0]) if outcome.history else ["epoch"])
        table.writeheader()
        table.writerows(outcome.history)
    run = {
        "id": id,
        "config": config,
        "metrics": outcome.metrics,
        "diverged": outcome.diverged,
        "precision": outcome.precision,
        "seconds": outcome.seconds,
        "group": {"size": outcome.group_size, "seconds": outcome.group_seconds},
        **extra,
        "hardware": hardware(),
        "packages": packages(),
        "code": code(),
        "files": {path.name: _file_checksum(path) for path in sorted(aside.iterdir())},
    }
    write_text(aside / "run.json", sealed(run))
    flush(aside)
    try:
        os.rename(aside, runs / id)
    except OSError:
        there = read(runs, id)
        if there is not None and there.intact:  # another process finished the same run first; theirs is as good
            shutil.rmtree(aside)
        else:  # what lies there without a run.json, or damaged, is no record
            shutil.rmtree(runs / id, ignore_errors=True)
            os.rename(aside, runs / id)
    return read(runs, id)


def contents(runs: Path, id: str) -> dict[str, str] | None:
    """Return the checksums of a record's files: a run that is done again may come to other numbers. None without it."""
    found = read(runs, id)
    return found and found.run.get("files")


def sweep(runs: Path) -> None:
    """Remove what processes of this machine that are no longer alive left half written."""
    for aside in runs.glob(f".half-*-{_HOST}-*"):
        _, _, rest = aside.name.removeprefix(".half-").partition("-")  # an id holds no hyphen, a host's name may
        host, _, process = rest.rpartition("-")
        if host != _HOST:
            continue
        process = int(process)
        if process != os.getpid() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(aside, ignore_errors=True)


def read_sealed(path: Path) -> dict:
    """Return what `sealed` wrote to a file; ``UserError`` where it is damaged."""
    try:
        return unsealed(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); run the study again") from None


def _file_checksum(path: Path) -> str:
    about = path.stat()
    return _checksum_of(path, about.st_size, about.st_mtime_ns)


@cache
def _checksum_of(path: Path, size: int, changed: int) -> str:
    total = 0
    with path.open("rb") as file:
        while part := file.read(2**20):  # twice as fast as the file at once, and in no memory
            total = zlib.crc32(part, total)
    return f"{total:08x}"


def write_conditions(folder: Path, conditions: list[Condition], about: dict) -> None:
    """Write a study's ``runs.json``: the conditions it compares, with the ids of their runs."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "runs.json", sealed({**about, "arms": [asdict(one) for one in conditions]}))


def read_conditions(folder: Path) -> tuple[list[Condition], dict]:
    """Return the conditions of a study's folder and what else its ``runs.json`` says."""
    path = folder / "runs.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no runs.json; run the study first")
    try:
        about = read_sealed(path)
        return [Condition(**condition) for condition in about.pop("arms")], about
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); run the study again") from None


def hardware() -> dict:
    """Return what the runs ran on: processor, cores, threads, memory, GPU."""
    import torch

    return {**_machine(), "threads": torch.get_num_threads()}


@cache
def _machine() -> dict:
    import torch

    from kdlib.training.device import processor

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


@cache
def packages() -> dict:
    """Return the versions that decide a result."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "numpy")},
    }


@cache
def code() -> dict:
    """Return kdlib's version and, in a git checkout, its commit and whether files were changed since."""
    root = Path(kdlib.__file__).parent.parent
    found = {"kdlib": kdlib.__version__, "commit": None, "changed": None}
    if (root / ".git").exists() and shutil.which("git"):
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        status = subprocess.run([*git, "status", "--porcelain", "kdlib"], capture_output=True, text=True, check=False)
        if commit.returncode == 0:
            found |= {"commit": commit.stdout.strip(), "changed": bool(status.stdout.strip())}
    return found
