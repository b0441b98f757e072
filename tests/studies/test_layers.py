"""The house as it is drawn: no import runs upward, none in a circle."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import kdlib

ROOT = Path(kdlib.__file__).parent
FILES = {".".join(["kdlib", *path.relative_to(ROOT).with_suffix("").parts]): path for path in ROOT.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): path for name, path in FILES.items()}

# What each part may import of kdlib beside itself. `kdlib` alone is its version.
EVERYWHERE = {"kdlib", "kdlib.errors", "kdlib.files", "kdlib.copies", "kdlib.hooks"}
MAY = {
    "kdlib.errors": set(),
    "kdlib.files": set(),
    "kdlib.copies": set(),
    "kdlib.hooks": set(),
    "kdlib.data": {"kdlib.progress"},
    "kdlib.models": set(),
    "kdlib.losses": set(),
    "kdlib.profiling": set(),
    "kdlib.progress": set(),
    "kdlib.training": {"kdlib.data", "kdlib.models", "kdlib.losses", "kdlib.profiling", "kdlib.progress"},
    "kdlib.pruning": {"kdlib.data", "kdlib.models", "kdlib.losses", "kdlib.profiling", "kdlib.progress"},
    "kdlib.studies": {
        "kdlib.data",
        "kdlib.models",
        "kdlib.losses",
        "kdlib.profiling",
        "kdlib.progress",
        "kdlib.training",
        "kdlib.pruning",
    },
    "kdlib.reporting": {"kdlib.studies", "kdlib.progress"},
    "kdlib.export": {
        *("kdlib.data", "kdlib.models", "kdlib.profiling", "kdlib.pruning", "kdlib.studies", "kdlib.progress"),
        "kdlib.reporting",  # its words
    },
}


def part(module: str) -> str:
    """``kdlib.data.augment`` belongs to ``kdlib.data``."""
    return ".".join(module.split(".")[:2])


def imports(path: Path, everywhere: bool, types: bool = False) -> set[str]:
    """What a file imports: at module level, or everywhere; what is for type checkers alone only with ``types``."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            # `from kdlib import data` imports kdlib.data; `from kdlib.data import load` imports kdlib.data
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in MODULES else node.module for name in inner)
        for child in ast.iter_child_nodes(node):
            local = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if (types or not typing) and (everywhere or not local):
                visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "kdlib"}


@pytest.mark.parametrize("name", sorted(n for n in MODULES if part(n) in MAY))
def test_no_import_runs_upward(name):
    own = part(name)
    allowed = MAY[own] | EVERYWHERE | {own}
    # imports within functions count as well: the house is drawn by what a part knows
    assert {part(found) for found in ours(imports(MODULES[name], everywhere=True))} - allowed == set()


def test_the_parts_that_are_drawn_are_there():
    assert set(MAY) - {"kdlib.pruning"} <= {part(name) for name in MODULES}


def test_no_import_runs_in_a_circle():
    graph = {name: ours(imports(path, everywhere=True, types=True)) - {name} for name, path in MODULES.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_no_part_needs_another_that_needs_it():
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        graph.setdefault(part(name), set()).update({part(n) for n in ours(imports(path, True))} - {part(name)})
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("name", sorted(n for n in MODULES if part(n) == "kdlib.reporting"))
def test_reporting_imports_no_torch(name):
    roots = {found.split(".")[0] for found in imports(MODULES[name], everywhere=False)}
    assert not roots & {"torch", "torchvision", "safetensors"}
    deep = {part(found) for found in ours(imports(MODULES[name], everywhere=True))}
    assert not deep & {"kdlib.training", "kdlib.models", "kdlib.pruning", "kdlib.data"}


def test_the_scan_finds_what_it_looks_for(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "import torch.nn\nfrom kdlib import data\nfrom kdlib.models.cnn import ConvNet\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n"
        "try:\n    import numpy\nexcept ImportError:\n    pass\n"
        "def f():\n    import kdlib.training\n"
    )
    base = {"torch.nn", "kdlib.data", "kdlib.models.cnn", "typing", "numpy"}
    assert imports(path, everywhere=False) == base
    assert imports(path, everywhere=True) == base | {"kdlib.training"}


def test_reading_records_and_drawing_them_takes_no_torch():
    code = (
        "import sys, kdlib.reporting, kdlib.studies.records; print(sorted({'torch', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


FAMILIES = ("distillation", "transfer", "pruning", "radiology")


@pytest.mark.parametrize("room", ["core", *FAMILIES])
def test_a_family_of_reporting_stands_on_its_core_alone(room):
    own = f"kdlib.reporting.{room}"
    files = [path for name, path in MODULES.items() if name == own or name.startswith(f"{own}.")]
    found = {name for path in files for name in imports(path, everywhere=True) if name.startswith("kdlib.reporting")}
    assert len(files) > 1
    assert {name for name in found if not name.startswith(("kdlib.reporting.core", own))} == set()
