"""Whatever is typed, the command ends with 0 or with 2 and one line, and never with a traceback.

KDLIB_EXAMPLES=10 tries ten times as much.
"""

import contextlib
import io
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdlib.cli import main
from kdlib.errors import UserError, of_the_machine
from kdlib.studies import parse, schema
from kdlib.studies.parameters import Parameters, settle

ODD = [
    *(
        "",
        " ",
        ",",
        "-",
        "--",
        "=",
        "[]",
        "{}",
        "null",
        "none",
        "nan",
        "-inf",
        "1e400",
        "-0.0",
        "1e-400",
        "0x10",
        "1_0",
    ),
    *(
        "9" * 30,
        "9" * 5000,
        "0-99999999999",
        "3-1",
        "1..2",
        "0,5",
        "1,5;2",
        "½",
        "١",
        "1\n2",
        "a\0b",
        "\udcff",
        "\x1b[31m",
    ),
    *(
        "../..",
        "/",
        "~",
        "~nobody-at-all/x",
        "/dev/null/x",
        "/proc/self/mem",
        "con:",
        "a:b",
        ":",
        "os:getcwd",
        "os:_exit",
    ),
    *(
        "json:loads",
        "kdlib:nothing",
        "timm/",
        "timm/no_such",
        "torchvision.models:resnet0",
        "ğüşıöç",
        "<b>",
        "%s%n",
        "{0}",
    ),
    *(
        "true",
        "maybe",
        "auto",
        "cuda:7",
        "meta",
        "cpu:x",
        "layer9",
        "head,",
        "(",
        "(?P<a",
        "**",
        "*",
        "[!",
        "'",
        '"',
        "#",
    ),
]
KNOWN = ["tr_kd", "cnn_grid", "ts6", "tr_transfer", "kd_methods", "radiology_final", "smoke", "paper", "cnn2", "conv3"]
KNOWN += [
    "folder",
    "shapes10",
    "cifar10",
    "taylor",
    "random",
    "all",
    "scratch",
    "at",
    "fitnets",
    "0",
    "1",
    "2",
    "0.5",
    "10",
]
WORDS = st.one_of(st.sampled_from(ODD), st.sampled_from(KNOWN), st.text(max_size=20), st.integers().map(str))
VALUES = st.one_of(
    WORDS, st.none(), st.booleans(), st.integers(), st.floats(), st.lists(WORDS | st.floats(), max_size=3)
)
NAMES = sorted(Parameters.model_fields)
# A path is asked of the disk, and sizes are drawn or decoded: those that are not refused must not be large.
SMALL = {"profile": "smoke", "device": "cpu", "download": "false"}


def bounded(examples: int):
    examples *= int(os.environ.get("KDLIB_EXAMPLES", "1"))
    quick = settings(max_examples=examples, derandomize=True, deadline=None, database=None)
    return settings(quick, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("name", NAMES)
@bounded(40)
@given(study=st.sampled_from(schema.names()), value=VALUES)
def test_a_papermill_parameter_is_taken_or_refused_in_one_line(name, study, value):
    refused = None
    try:
        found = parse({"study": study, "profile": "smoke", name: value})
        parse(found.flat())
        settle(found)
    except UserError:
        pass
    except OSError as error:  # a path that the machine refuses: the command says it in one line
        refused = error
    assert refused is None or of_the_machine(refused)


@bounded(200)
@given(values=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), VALUES, max_size=4))
def test_parameters_together_are_taken_or_refused(values):
    with contextlib.suppress(UserError):
        settle(parse({"profile": "smoke", **values}))


def called(words: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            code = main(words)
        except SystemExit as end:  # argparse's own
            code = end.code
    return code, out.getvalue(), error.getvalue()


def assert_said(words: list[str]) -> None:
    code, _, error = called(words)
    lines = [line for line in error.splitlines() if line.strip() and "elapsed" not in line]
    assert code in (0, 2), (words, lines)
    if code == 2:
        assert lines, words
        assert lines[-1].startswith("kdlib: ")
        assert "Traceback" not in error


@bounded(12)
@given(study=st.sampled_from(KNOWN[:2]), name=st.sampled_from([n for n in NAMES if n != "download"]), value=WORDS)
def test_set_of_any_parameter(tmp_path, study, name, value):
    given = {key: small for key, small in SMALL.items() if key != name}
    words = [word for key, small in given.items() if key == "download" for word in ("--set", f"{key}={small}")]
    place = ["--profile", "smoke", "--device", "cpu", "--output-dir", str(tmp_path / "out")]
    assert_said(["run", study, "--dry-run", *place, *words, "--set", f"{name}={value}"])
    assert not (tmp_path / "out").exists()


# What each command takes: its options with a value, its flags; whatever trains, times or writes is held back.
HOW = [
    *("--lang", "--seeds", "--data-root", "--device", "--set", "--stop-after", "--checkpoint-every"),
    *("--teacher-store", "--storage", "--log", "--engine", "--address", "--jobs", "--threads"),
]
COMPRESS = ["--teacher", "--weights", "--student", "--target-macs", "--max-drop", "--image-size"]
COMMANDS = {
    "list": ([], []),
    "run": (HOW, ["--force", "--dry"]),
    "compress": ([*COMPRESS, *HOW], ["--force", "--dry"]),
    "report": (["--profile", "--output-dir"], []),
    "export": (["--to", "--profile", "--output-dir", "--data-root", "--out"], ["--int8"]),
    "predict": (["--top"], ["--json"]),
    "publish": (["--profile", "--output-dir"], ["--refresh"]),
    "profile": (
        ["--num-classes", "--input-size", "--in-channels", "--batch-size", "--open", "--device", "--repeats"],
        ["--json"],
    ),
    "doctor": ([], ["--fast"]),
}
HELD = {
    "run": ["--dry-run", "--profile", "smoke", "tr_kd"],
    "compress": ["--dry-run", "--profile", "smoke"],
    "profile": ["--repeats", "1", "--input-size", "32"],
}


@st.composite
def commands(draw) -> list[str]:
    name = draw(st.sampled_from(sorted(COMMANDS)))
    options, flags = COMMANDS[name]
    words = draw(st.lists(WORDS, max_size=2))
    # A valid size may be as large as the memory of the machine; those that are none are asked for.
    odd = st.sampled_from([word for word in ODD if not word.strip().isdigit() or len(word) > 20]) | st.text(max_size=8)
    for option in draw(st.lists(st.sampled_from(options), max_size=2, unique=True)) if options else []:
        value = draw(odd if name == "profile" else WORDS)
        words += [option, value] if draw(st.booleans()) else [f"{option}={value}"]
    words += draw(st.lists(st.sampled_from(flags), max_size=1)) if flags else []
    return [name, *words, *HELD.get(name, [])]


@bounded(60)
@given(words=commands())
def test_options_and_arguments_of_every_command(tmp_path_factory, words):
    here = tmp_path_factory.mktemp("here")
    with contextlib.chdir(here):
        assert_said(words)
    assert not [path for path in here.rglob("*") if path.is_file()], words


@bounded(30)
@given(word=st.text(max_size=10), rest=st.lists(WORDS, max_size=3))
def test_a_command_that_is_none(word, rest):
    assert_said([word, *rest])


def test_what_is_refused_by_the_parser_is_one_line():
    code, out, error = called(["run", "--no\nsuch"])
    assert (code, out) == (2, "")
    assert error.splitlines() == ["kdlib: unrecognized arguments: --no such; 'kdlib --help' lists what there is"]


def test_every_option_of_the_command_line_is_tried():
    from kdlib import cli

    commands = next(action for action in cli._parser()._actions if action.dest == "==SUPPRESS==").choices
    held = {"--help", "--output-dir", "--profile", "--dry-run", "--no-store", "--to"}
    for name, parser in commands.items():
        known = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
        assert known - held <= {
            *COMMANDS[name][0],
            *COMMANDS[name][1],
            *({"--force"} if name in ("run", "compress") else ()),
        }
