"""Every notebook as a reader runs it: nbval over copies set to the smoke profile, one a study, in turns in Turkish."""

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from kdlib import studies
from kdlib.studies.call import find_notebook
from kdlib.studies.notebook import html

ROOT = Path(__file__).parents[2]
ORIGINALS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TWINS = sorted((ROOT / "notebooks" / "tr").glob("*.ipynb"))
NOTEBOOKS = [*ORIGINALS, *TWINS]
CHECKED = "# NBVAL_CHECK_OUTPUT"


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def without_comments(source):
    """The tokens of a cell but its comments, which each language has its own of; a checked cell's mark counts."""
    tokens = tokenize.generate_tokens(io.StringIO(source.removeprefix(CHECKED)).readline)
    return [source.startswith(CHECKED), *(token.string for token in tokens if token.type != tokenize.COMMENT)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_only_checked_cells_carry_output(path):
    for cell in code_cells(path):
        assert bool(cell.outputs) == cell.source.startswith(CHECKED), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_notebook_checks_something(path):
    # nbval passes vacuously on a notebook without stored output.
    assert [cell for cell in code_cells(path) if cell.source.startswith(CHECKED)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_notebooks_hold_the_story_not_the_code(path):
    """A cell may show an idea in a few lines; what takes more stands in the package."""
    for cell in code_cells(path):
        assert not re.search(r"^\s*(def |class |for .* in range\(.*epoch)", cell.source, re.M), cell.source
        assert "parameters" in cell.metadata.get("tags", []) or len(cell.source.splitlines()) <= 25, cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_parameters_are_those_that_are_checked(path):
    """A notebook shows the parameters that do something in one of its studies, and no others."""
    ours = [name for name in studies.names() if studies.load(name).notebook == path.stem]
    taken = {parameter for name in ours for parameter in studies.load(name).takes}
    where = {"study", "profile", "lang", "data_root", "device", "output_dir", "download"}
    assert set(papermill.inspect_notebook(path)) == taken | where
    assert taken <= set(studies.Parameters.model_fields)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_page_needs_nothing_from_elsewhere(path):
    page = html(path, "A study", "tr")
    assert '<html lang="tr"' in page
    assert "<title>A study</title>" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "MathJax" not in page
    said = "".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    assert page.count("<math") == len(re.findall(r"\$\$?.+?\$\$?", said, re.DOTALL))
    assert not re.search(r"<m[a-z]+>\\", page)  # a command that the converter does not know


def test_every_study_names_a_notebook():
    assert {studies.load(name).notebook for name in studies.names()} == {path.stem for path in ORIGINALS}


def test_every_notebook_has_a_twin():
    assert [path.name for path in TWINS] == [path.name for path in ORIGINALS]


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)
def test_a_twin_has_the_same_code_and_its_own_words(path):
    original, twin = (nbformat.read(one, 4).cells for one in (find_notebook(path.stem, "en"), path))
    assert [(cell.id, cell.cell_type, cell.metadata) for cell in twin] == [
        (cell.id, cell.cell_type, cell.metadata) for cell in original
    ]
    for ours, theirs in zip(original, twin, strict=True):
        if ours.cell_type == "code":
            expected = ours.source.replace('\nlang = "en"', '\nlang = "tr"')
            assert without_comments(theirs.source) == without_comments(expected)
        else:
            assert theirs.source != ours.source
            for kept in ("$", "<details>", "\n| ", "\n#"):
                assert theirs.source.count(kept) == ours.source.count(kept)


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)
def test_a_twin_checks_the_same_numbers(path):
    original, twin = (
        ["".join(re.findall(r"\d", cell.outputs[0].data["text/html"])) for cell in code_cells(one) if cell.outputs]
        for one in (find_notebook(path.stem, "en"), path)
    )
    assert original == twin


def test_all_cells_run_and_checked_output_holds(tmp_path):
    for i, name in enumerate(studies.names()):
        parameters = {"study": name, "profile": "smoke", "output_dir": str(tmp_path / "outputs")}
        lang = parameters["lang"] = studies.LANGUAGES[i % len(studies.LANGUAGES)]
        notebook = load_notebook_node(str(find_notebook(studies.load(name).notebook, lang)))
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
    imports = nbformat.v4.new_code_cell('from kdlib import reporting, studies\nlang = "en"')
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
