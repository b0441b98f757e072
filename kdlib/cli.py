"""The command line: ``kdlib list``, ``kdlib run``, ``kdlib compress``, ``kdlib report``, ``kdlib publish``,
``kdlib profile``, ``kdlib export``, ``kdlib predict``, ``kdlib doctor``."""

import argparse
import json
import os
import re
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from kdlib.errors import UserError, of_the_machine

USER_ERROR = 2
STOPPED = 75  # EX_TEMPFAIL: not done, and the same command goes on


class _Terminated(KeyboardInterrupt):
    """SIGTERM came, outside of a training, which ends at a checkpoint."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Return 0, 1 for a failed notebook, 2 for a mistake in what was asked and for what the machine refuses, 75 when
    --stop-after ended it, 128 and the signal's number when Ctrl-C or SIGTERM did.
    """
    again = f"go on from there with: {shlex.join(['kdlib', *(sys.argv[1:] if argv is None else argv)])}"
    try:
        arguments = _parser().parse_args(argv)
        if argv is None and arguments.command in (_run, _compress):
            _take_huge_pages()
        # A dotted path such as mypkg.models:build is looked for here too, as it is in the notebook's kernel.
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        with _sigterm():
            return arguments.command(arguments)
    except UserError as error:
        print(f"kdlib: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt as interrupt:
        print(f"\nkdlib: interrupted; {again}", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(interrupt, _Terminated) else signal.SIGINT)
    except Exception as error:
        from kdlib.training import Stopped

        if refusal := of_the_machine(error):
            print(f"\nkdlib: {refusal}; what is finished is kept; {again}", file=sys.stderr)
            return USER_ERROR
        if not isinstance(error, Stopped):
            raise
        print(f"\nkdlib: {error}; {again}", file=sys.stderr)
        return STOPPED if error.signal is None else 128 + error.signal


@contextmanager
def _sigterm() -> Iterator[None]:
    """Treat SIGTERM, which schedulers send, as Ctrl-C."""

    def terminate(number: int, frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _take_huge_pages() -> None:
    """Start this command again with huge pages for malloc, which Linux's C library reads at a program's start alone.

    Training then spends less time on page faults. Elsewhere, and where the variable says something of it, nothing is
    done.
    """
    said = os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform == "linux" and "glibc.malloc.hugetlb" not in said:
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, [said, "glibc.malloc.hugetlb=1"]))
        os.execv(sys.executable, [sys.executable, "-m", "kdlib.cli", *sys.argv[1:]])


class _Parser(argparse.ArgumentParser):
    """A mistake in the options is one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Say it, and where to look."""
        raise UserError(f"{message}; '{self.prog} --help' lists what there is")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="kdlib", description=__doc__.split(":")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable, said: str) -> Callable:
        """Add a command; return what adds its options."""
        added = commands.add_parser(name, help=said)
        added.set_defaults(command=run)
        return added.add_argument

    add = command("list", _list, "show the studies, or one study's profiles and parameters")
    add("study", nargs="?")

    add = command("run", _run, "execute studies: train what is missing, then the notebook")
    add("studies", nargs="*", metavar="STUDY", help="names as in 'kdlib list'; none means all")
    add("--profile", default="quick", help="smoke, quick (default), reduced or paper")
    _add_how(add)

    add = command("compress", _compress, "make a small network for a folder of images")
    add("--teacher", help="timm/NAME, another name, mypkg.models:build, or a run's id or folder")
    add("--weights", help="imagenet, scratch, or the file of the teacher's weights, taken as it is")
    add("--student", help="a network for the teacher to teach; without it the teacher is pruned")
    add("--target-macs", metavar="SHARE", help="of the teacher's, to keep; default: 0.7, 0.5 and 0.3")
    add("--max-drop", metavar="POINTS", help="of validation accuracy that may be lost (default 1)")
    add("--image-size", metavar="PIXELS")
    add("--profile", default="reduced", help="smoke, quick, reduced (default) or paper")
    _add_how(add)

    add = command("report", _report, "write all studies of a profile on one page, in English and in Turkish")
    add("--profile", default="quick")
    add("--output-dir", default="outputs")
    add("--to", metavar="DIR", help="where to, if not beside the studies")

    add = command("export", _export, "write a run's network as a file that needs no kdlib")
    add("run", metavar="RUN", help="a run's id, or how it begins, or its folder")
    add("--to", choices=("onnx", "torchscript", "safetensors"), default="onnx")
    add("--profile", default="quick", help="where the run is looked for (default quick)")
    add("--output-dir", default="outputs")
    add("--data-root", metavar="DIR", help="the run's images: its test part compares the two")
    add("--int8", action="store_true", help="in int8 beside it: ONNX, measured on the run's test part")
    add("--out", metavar="FILE", help="default: RUN.onnx, .pt or .safetensors here")

    add = command("predict", _predict, "name what images show, by an exported ONNX file")
    add("model", metavar="FILE")
    add("images", nargs="+", metavar="IMAGE", help="images, or folders of them")
    add("--top", type=int, default=5, metavar="K", help="so many classes (default 5)")
    add("--json", action="store_true", help="a JSON object a line")

    command("doctor", _doctor, "what this machine has, and what to do about what it has not")

    add = command("publish", _publish, "copy a study's results, without weights, to a folder for git")
    add("studies", nargs="+", metavar="STUDY")
    add("--profile", default="reduced")
    add("--output-dir", default="outputs")
    add("--to", default="outputs/published")
    add("--refresh", action="store_true", help="write what is published there anew, from its records")

    add = command("profile", _profile, "what a model costs: parameters, MACs, sizes, latency, memory")
    add("model", help="a registered name, or a path like mypkg.models:build")
    add("--num-classes", default="10")
    add("--input-size", default="32", help="side of the image in pixels")
    add("--in-channels", default="3")
    add("--batch-size", default="1", help="images a batch, for latency and memory; counts are of one")
    add("--open", metavar="LAYERS", help="such as layer4,fc: what is trained; default: everything")
    add("--device", default="cpu", help="auto, cpu (default) or cuda")
    add("--repeats", default="30", help="timed runs; their median is the latency")
    add("--json", action="store_true", help="print JSON")

    return parser


def _add_how(add: Callable) -> None:
    """Options of what trains."""
    add("--lang", default="en", help="en (default) or tr: the language of notebook and figures")
    add("--seeds", help="such as 0,1,2; default: the profile's")
    add("--data-root", metavar="DIR", help="folder with the images, such as train/CLASS/*.jpg and test/CLASS/*.jpg")
    add("--output-dir", default="outputs")
    add("--device", default="auto", help="auto (default), cpu or cuda")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="any parameter of the notebook")
    add("--dry-run", action="store_true", help="show what would be done and what it would cost")
    add("--force", action="store_true", help="execute the notebook again even if it is up to date")
    add("--no-store", action="store_true", help="decode image files anew, and keep nothing of them")
    storage = "images in memory or streamed from disk; default: disk if they take over half of the free memory"
    add("--storage", choices=("auto", "memory", "disk"), help=storage)
    add("--stop-after", metavar="TIME", help="such as 150m: end at a checkpoint then, with exit code 75")
    add("--checkpoint-every", metavar="TIME", default="5m", help="default 5m; 0: after every epoch")
    add("--teacher-store", metavar="SIZE", default="2GB", help="of teachers' logits; 0: none are kept")
    add("--engine", choices=("local", "ray"), default="local", help="local (default), or a Ray cluster")
    add("--address", metavar="HOST:PORT", help="of Ray's head node; default: one that is found or begun")
    add("--jobs", default="1", metavar="N", help="local: processes at a time, a GPU each (default 1)")
    add("--threads", metavar="N", help="CPU threads a job; default: the machine's, shared out")
    add("--log", choices=("tensorboard",), help="event files of every epoch below the output folder")


def _list(arguments: argparse.Namespace) -> int:
    from kdlib.studies import schema

    if arguments.study:
        study = schema.load(arguments.study)
        print(f"{study.name}: {study.title['en']}\n{study.source['en']}\n")
        for label, said in study.summary().items():
            print(f"{label:10s}{said}")
        print(f"columns   {', '.join(study.recipes)}\n")
        for name in study.profiles:
            own = study.with_(name)
            recipe = json.dumps(own.recipe) if own.recipe else "recipes as reported"
            begin = f"{own.weights} weights, " if own.weights else ""
            if own.weights == "source":
                begin = f"weights from {own.source_task.data.name}, "
            print(f"{name:8s}  {own.data.name}, {begin}seeds {own.seeds}, {recipe}")
        return 0
    for name in schema.names():
        study = schema.load(name)
        print(f"{name:14s} {study.title['en']}  [{study.notebook}; {', '.join(study.profiles)}]")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from kdlib.studies import names, parse, prepare

    asked = [parse({"study": study, **_values(arguments)}) for study in (arguments.studies or names())]
    options, stop = _long_run(arguments)
    if arguments.no_store:
        os.environ["KDLIB_NO_STORE"] = "1"  # the notebook's kernel inherits it
    if arguments.storage:
        os.environ["KDLIB_STORAGE"] = arguments.storage
    experiments = []
    for i, parameters in enumerate(asked, 1):
        print(f"[{i}/{len(asked)}] {parameters.study}, {parameters.profile}", flush=True)
        experiments.append(experiment := prepare(parameters))
        if arguments.dry_run:
            experiment.check()
            _show_costs(experiment)
        elif arguments.force or not experiment.up_to_date():
            stop.check(f"stopped before study {parameters.study}")
            start = time.perf_counter()
            # Training here gives the terminal its progress bar; the notebook then finds its runs on record.
            experiment.run(options, stop)
            print(f"      runs done in {time.perf_counter() - start:.0f} s")
    if arguments.dry_run:
        return 0
    # Only now the notebooks, as some show the runs of others beside their own.
    stop.check("stopped before the notebooks")
    if not _execute_notebooks(experiments, arguments.force):
        return 1
    _show_results(experiments)
    if not arguments.studies:
        from kdlib.reporting import page

        (written,) = page.write(Path(arguments.output_dir) / asked[0].profile, langs=[asked[0].lang])
        print(f"  all of it on one page: {written}")
    return 0


def _compress(arguments: argparse.Namespace) -> int:
    """The study ``compress``, asked in an engineer's words."""
    asked = {
        "dataset": "folder" if arguments.data_root else None,
        "image_size": arguments.image_size,
        "weights": arguments.weights,
        "students": arguments.student,
        "macs": arguments.target_macs,
        "max_drop": arguments.max_drop,
        **_teacher(arguments),
    }
    arguments.set = [f"{key}={value}" for key, value in asked.items() if value is not None] + arguments.set
    arguments.studies = ["compress"]
    if (code := _run(arguments)) or arguments.dry_run:
        return code
    from kdlib import reporting
    from kdlib.reporting import compression

    results = reporting.read(Path(arguments.output_dir) / arguments.profile / "compress")
    (table,) = compression.sheets(results)
    shown = table.frame(arguments.lang).iloc[:, list(compression.MAIN)]
    print(f"\n{shown.rename_axis(columns=None).to_string()}\n")
    if run := compression.read(results).run:
        root = f" --data-root {shlex.quote(arguments.data_root)}" if arguments.data_root else ""
        output = "" if arguments.output_dir == "outputs" else f" --output-dir {shlex.quote(arguments.output_dir)}"
        print(f"→ kdlib export {run} --profile {arguments.profile}{output}{root} --out small.onnx")
    return 0


def _teacher(arguments: argparse.Namespace) -> dict[str, Any]:
    """A run's id or folder is its network, its weights and the size of its images; anything else names a network."""
    named = arguments.teacher
    if named is None or not ((Path(named) / "run.json").is_file() or re.fullmatch("[0-9a-f]{6,16}", named)):
        return {"teacher": named}
    from kdlib.export import network

    record = network.find(named, Path(arguments.output_dir) / arguments.profile / "runs")
    if arguments.weights:
        raise UserError(f"--teacher {named} is a run, which has its weights; leave out --weights")
    config, (_, height, width) = record.run["config"], record.run["dataset"]["shape"]
    side = height if arguments.image_size is None and height == width else arguments.image_size
    weights = record.path / "model.safetensors"
    return {"teacher": config["model"], "weights": weights, "image_size": side, "input_size": config.get("input_size")}


def _report(arguments: argparse.Namespace) -> int:
    from kdlib.reporting import page

    folder = Path(arguments.output_dir) / arguments.profile
    for path in page.write(folder, Path(arguments.to) if arguments.to else None):
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def _values(arguments: argparse.Namespace) -> dict[str, Any]:
    asked = ("profile", "lang", "seeds", "data_root", "output_dir", "device")
    values = {key: getattr(arguments, key) for key in asked}
    for item in arguments.set:
        key, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: say --set KEY=VALUE")
        values[key] = value
    return values


def _long_run(arguments: argparse.Namespace) -> tuple:
    """How runs are done, and when they stop."""
    after = None if arguments.stop_after is None else _amount("stop-after", arguments.stop_after, _TIMES)
    every = _amount("checkpoint-every", arguments.checkpoint_every, _TIMES)
    size = _amount("teacher-store", arguments.teacher_store, _SIZES)
    jobs = _whole("jobs", arguments.jobs)
    threads = None if arguments.threads is None else _whole("threads", arguments.threads)
    if arguments.address and arguments.engine != "ray":
        raise UserError(f"--address {arguments.address} is Ray's; say --engine ray")
    if jobs > 1 and arguments.engine == "ray":
        raise UserError("--jobs is of --engine local; Ray has as many as the cluster has room for (--threads N each)")
    from kdlib.studies.runner import Options
    from kdlib.training import Stop

    where = {"engine": arguments.engine, "address": arguments.address, "jobs": jobs, "threads": threads}
    return Options(checkpoint_every=every, teacher_store=int(size), log=arguments.log, **where), Stop(after)


_TIMES = {"s": 1, "m": 60, "h": 3600}
_SIZES = {"MB": 1_000_000, "GB": 1_000_000_000}


def _amount(name: str, value: str, units: dict[str, int]) -> float:
    """Return a number with a unit in seconds or bytes."""
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*({'|'.join(units)})", value)
    if value != "0" and not found:
        raise UserError(
            f"--{name} {value}: say a number with a unit ({', '.join(units)}), such as 5{[*units][1]}, or 0"
        )
    return float(found[1]) * units[found[2]] if found else 0.0


def _execute_notebooks(experiments: list, force: bool) -> bool:
    """Execute the notebooks that are not up to date; return whether all came to their end."""
    from kdlib.studies import notebook

    due, sound = [], True
    for experiment in experiments:
        if force or not experiment.up_to_date():
            due.append(experiment)
        else:
            print(f"{experiment.study.name}: up to date")
    for experiment, end in zip(due, notebook.execute_all(due), strict=True):
        if isinstance(end, notebook.NotebookFailed):
            print(f"kdlib: {end}", file=sys.stderr)
            sound = False
        else:
            print(f"{experiment.study.name}: notebook executed in {end:.0f} s", flush=True)
    return sound


def _show_costs(experiment) -> None:
    costs = experiment.costs()
    rows = [cost.row() for cost in costs]
    widths = {key: max(len(key), *(len(str(row[key])) for row in rows)) for key in rows[0]}
    for row in ({key: key for key in widths}, *rows):
        print("  " + "  ".join(str(row[key]).ljust(width) for key, width in widths.items()).rstrip())
    todo = [cost for cost in costs if not cost.done]
    seconds = [cost.seconds for cost in todo]
    if not todo:
        print(f"  {len(costs)} runs, all on record: nothing to train")
        return
    known = "time unknown, this machine has no records yet" if None in seconds else f"about {sum(seconds) / 60:.1f} min"
    flops = sum(cost.flops for cost in todo) / 1e12
    print(f"  {len(costs)} runs, {len(costs) - len(todo)} on record, {len(todo)} to train: {flops:.1f} TFLOP, {known}")


def _show_results(finished: list) -> None:
    print("\nResults:")
    for experiment in finished:
        folder = experiment.folder
        print(f"  {experiment.study.name}")
        print(f"    notebook  {folder / f'notebook.{experiment.parameters.lang}.html'} (and .ipynb)")
        print(f"    tables    {folder / 'tables'}")
        print(f"    figures   {folder / 'figures'}")


def _export(arguments: argparse.Namespace) -> int:
    from kdlib.export import network
    from kdlib.export.card import card
    from kdlib.studies import LANGUAGES

    record = network.find(arguments.run, Path(arguments.output_dir) / arguments.profile / "runs")
    path = Path(arguments.out or f"{record.id}{network.FORMATS[arguments.to]}")
    if arguments.int8 and arguments.to != "onnx":
        raise UserError("--int8 writes ONNX; leave out --to")
    images = network.dataset(record, arguments.data_root, None if arguments.int8 else network.SHOWN)
    if arguments.int8 and images is None:
        raise UserError("--int8 needs images to take its ranges from; say --data-root DIR")
    found = network.export(record, path, arguments.to, images and images.test.images[: network.SHOWN])
    kind = "test images" if found.real else "random images (say --data-root to compare on the run's own)"
    print(f"{found.path} ({found.path.stat().st_size / 1e6:.1f} MB): {record.run['config']['model']}, run {record.id}")
    print(f"  compared on {found.images} {kind}: {found.agreement:.1%} of first classes agree,")
    print(f"  logits differ by {found.difference:.1g} of their spread at most")
    if arguments.int8:
        _quantise(path, images)
    for lang in LANGUAGES:
        beside = path.with_suffix(f".{lang}.md")
        beside.write_text(card(record, path.name, lang, arguments.to), encoding="utf-8")
        print(f"  model card: {beside}")
    if arguments.to == "onnx":
        print(f"  kdlib predict {found.path} IMAGE...")
    return 0


def _quantise(path: Path, images: Any) -> None:
    """Write the int8 file and say what it costs and gains."""
    from kdlib.export.quantise import quantise
    from kdlib.reporting.core.evidence import over_images
    from kdlib.reporting.core.table import difference_cell

    found = quantise(path, path.with_suffix(".int8.onnx"), images)
    whole, small = (100 * own.mean() for own in found.correct)
    change = found.correct[1].astype(int) - found.correct[0]
    gap = difference_cell(over_images(float(change.mean()), [change])).ours("en")
    print(f"{found.path} ({found.size[1] / 1e6:.1f} MB): the same in int8")
    print(f"  {len(change)} test images: {small:.2f} % against {whole:.2f} %, {gap} points")
    print(f"  an image takes {found.ms[1]:.2f} ms against {found.ms[0]:.2f} (median, in turns, batch of 1, this CPU)")


def _predict(arguments: argparse.Namespace) -> int:
    from kdlib.export.predict import predict

    wrong = 0
    for found in predict(arguments.model, arguments.images, arguments.top):
        wrong += "error" in found
        if arguments.json:
            print(json.dumps(found, ensure_ascii=False))
        elif "error" in found:
            print(f"{found['path']}: skipped, {found['error']}", file=sys.stderr)
        else:
            said = ", ".join(f"{one['class']} {one['probability']:.1%}" for one in found["classes"])
            print(f"{found['path']}: {said}")
    return 1 if wrong else 0


def _doctor(arguments: argparse.Namespace) -> int:
    from kdlib.doctor import lines

    print("\n".join(lines()))
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from kdlib.studies.publish import publish, refresh

    source, target = Path(arguments.output_dir), Path(arguments.to)
    for study in arguments.studies:
        if arguments.refresh:
            with tempfile.TemporaryDirectory() as made:
                _write(target / arguments.profile / study, Path(made))
                folder, size = refresh(study, arguments.profile, Path(made), target)
        else:
            if (source / arguments.profile / study / "runs.json").is_file():
                _write(source / arguments.profile / study, source / arguments.profile / study)
            folder, size = publish(study, arguments.profile, source, target)
        print(f"{study}: {folder} ({size / 1e6:.1f} MB)")
    return 0


def _write(study: Path, folder: Path) -> None:
    """Write what a study's records say into a folder, in all languages."""
    from kdlib import reporting
    from kdlib.studies import LANGUAGES

    results = reporting.read(study)
    for lang in LANGUAGES:
        reporting.write(results, folder, lang)


def _profile(arguments: argparse.Namespace) -> int:
    classes, size, channels, batch_size, repeats = (
        _whole(name, getattr(arguments, name))
        for name in ("num_classes", "input_size", "in_channels", "batch_size", "repeats")
    )
    from kdlib import models, profiling
    from kdlib.training import resolve_device

    device = resolve_device(arguments.device)
    model = models.build(arguments.model, classes, channels)
    if arguments.open is not None:
        models.open_only(model, [name.strip() for name in arguments.open.split(",") if name.strip()])
    found = profiling.profile(model, (channels, size, size), batch_size, device, repeats)
    if arguments.json:
        print(json.dumps({"model": arguments.model, **found}, indent=1))
    else:
        print(profiling.described(arguments.model, found))
    return 0


def _whole(name: str, value: str) -> int:
    if not value.isascii() or not value.isdecimal() or int(value) < 1:
        raise UserError(f"--{name.replace('_', '-')} {value}: give a whole number of at least 1")
    return int(value)


if __name__ == "__main__":
    sys.exit(main())
