"""Every notebook as a reader runs it: nbval over copies set to the smoke profile, one a study."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from kdlib import studies

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECKED = "# NBVAL_CHECK_OUTPUT"


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_checked_cells_carry_output(path):
    for cell in code_cells(path):
        assert bool(cell.outputs) == cell.source.startswith(CHECKED), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_checks_something(path):
    # nbval passes vacuously on a notebook without stored output.
    assert [cell for cell in code_cells(path) if cell.source.startswith(CHECKED)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_the_story_not_the_code(path):
    """A cell may show an idea in a few lines; what takes more stands in the package."""
    for cell in code_cells(path):
        assert not re.search(r"^\s*(def |class |for .* in range\(.*epoch)", cell.source, re.M), cell.source
        assert "parameters" in cell.metadata.get("tags", []) or len(cell.source.splitlines()) <= 25, cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_those_that_are_checked(path):
    """A notebook shows the parameters that do something in one of its studies, and no others."""
    ours = [name for name in studies.names() if studies.load(name).notebook == path.stem]
    taken = {parameter for name in ours for parameter in studies.load(name).takes}
    where = {"study", "profile", "lang", "data_root", "device", "output_dir", "download"}
    assert set(papermill.inspect_notebook(path)) == taken | where
    assert taken <= set(studies.Parameters.model_fields)


def test_every_study_names_a_notebook():
    assert {studies.load(name).notebook for name in studies.names()} == {path.stem for path in NOTEBOOKS}


def test_all_cells_run_and_checked_output_holds(tmp_path):
    for i, name in enumerate(studies.names()):
        parameters = {"study": name, "profile": "smoke", "output_dir": str(tmp_path / "outputs")}
        parameters["lang"] = studies.LANGUAGES[i % len(studies.LANGUAGES)]
        notebook = load_notebook_node(str(ROOT / "notebooks" / f"{studies.load(name).notebook}.ipynb"))
        nbformat.write(parameterize_notebook(notebook, parameters), tmp_path / f"{name}.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "--nbval-current-env",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    cells = sum(len(code_cells(tmp_path / f"{name}.ipynb")) for name in studies.names())
    assert f"{cells} passed" in done.stdout


def test_a_changed_number_fails(tmp_path):
    notebook = nbformat.read(NOTEBOOKS[0], 4)
    checked = next(cell for cell in notebook.cells if cell.source.startswith(CHECKED))
    imports = nbformat.v4.new_code_cell("from kdlib import studies")
    for output in checked.outputs:
        output.data["text/plain"] = output.data["text/plain"].replace("11,335,114", "11,335,115")
    notebook.cells = [imports, checked]
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "--nbval-current-env",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout
    assert "11,335,115" in done.stdout
