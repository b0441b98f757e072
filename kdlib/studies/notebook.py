"""Execute a study's notebook through papermill, and keep what fails apart from what is finished."""

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kdlib.files import remove_if_left, write_text
from kdlib.studies.call import find_notebook

if TYPE_CHECKING:
    from kdlib.studies.experiment import Experiment

_START_TRIES = 3
# The kernel's own log would stand between the progress bars; what goes wrong comes back as an exception.
_QUIET = ["--IPKernelApp.log_level=CRITICAL"]


class NotebookFailed(Exception):
    """A cell failed; the message names it and says where the partial notebook lies."""


def execute_all(experiments: Sequence["Experiment"]) -> Iterator[float | NotebookFailed]:
    """Execute the notebooks of studies whose runs are there, two at a time; yield in their order seconds, or a failure.

    When the caller stops, those that have begun come to their end, and no other begins.
    """

    def one(experiment: "Experiment") -> float | NotebookFailed:
        start = time.perf_counter()
        try:
            name, parameters = experiment.study.notebook, experiment.parameters.flat()
            execute(name, parameters, experiment.folder, experiment.title)
        except NotebookFailed as failure:
            return failure
        experiment.mark_finished()
        return time.perf_counter() - start

    # The kernels inherit it: they train nothing, and the threads of two would wait for each other.
    with _environment("OMP_NUM_THREADS", "1"), ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        yield from pool.map(one, experiments)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Have an environment variable for a while, unless the caller has set it."""
    unset = name not in os.environ
    os.environ.setdefault(name, value)
    try:
        yield
    finally:
        if unset:
            del os.environ[name]


def execute(name: str, parameters: dict, folder: Path, title: str) -> Path:
    """Execute a notebook into ``folder/notebook.<lang>.ipynb`` and ``.html``; return the notebook's path.

    It is the notebook of the parameters' language; ``title`` is that of its page.

    Raises ``NotebookFailed`` when a cell fails; its partial notebook is kept as ``notebook.<lang>.failed.ipynb``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"notebook.{parameters['lang']}"
    target, failed = folder / f"{stem}.ipynb", folder / f"{stem}.failed.ipynb"
    # papermill writes as it goes: a killed or failed run must not lie where a finished one would.
    aside = folder / f".{stem}.{os.getpid()}.half.ipynb"
    failed.unlink(missing_ok=True)
    for half in folder.glob(".*.half.ipynb"):
        remove_if_left(half)
    _execute(find_notebook(name, parameters["lang"]), aside, parameters, failed)
    write_text(target.with_suffix(".html"), html(aside, title, parameters["lang"]))
    os.replace(aside, target)
    return target


def _execute(source: Path, aside: Path, parameters: dict, failed: Path) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    for attempt in range(1, _START_TRIES + 1):
        try:
            options = {"progress_bar": False, "cwd": Path.cwd(), "extra_arguments": _QUIET}
            papermill.execute_notebook(source, aside, parameters, **options)
            return
        except papermill.PapermillExecutionError as error:
            os.replace(aside, failed)
            first = error.source.strip().splitlines()[0] if error.source.strip() else ""
            what = f"{error.ename}: {error.evalue}"
            raise NotebookFailed(f"cell {error.cell_index} ({first!r}) failed: {what}; see {failed}") from None
        except (DeadKernelError, RuntimeError) as error:
            # Kernels sometimes die while starting; what they had finished is on record, so starting over is cheap.
            if attempt == _START_TRIES:
                if aside.exists():
                    os.replace(aside, failed)
                raise NotebookFailed(f"the kernel died {attempt} times: {error}; see {failed}") from None


# nbconvert's page without what it would load from elsewhere: require.js, MathJax, Mermaid and the widgets' manager.
_OFFLINE = "{% extends 'lab/index.html.j2' %}" + "".join(
    f"{{% block {name} %}}{{% endblock %}}"
    for name in ("html_head_js", "jupyter_widgets", "html_head_js_mathjax", "html_head_js_mermaidjs")
)


def html(path: Path, title: str, lang: str) -> str:
    """Return the notebook as one page that needs nothing from elsewhere, without the numbered prompts."""
    from html import unescape

    import nbformat
    from jinja2 import pass_context
    from latex2mathml.converter import convert
    from nbconvert import HTMLExporter

    def mathml(found: re.Match) -> str:
        return convert(unescape(found[2]).strip(), display="block" if found[1] == "$$" else "inline")

    class Page(HTMLExporter):
        @pass_context
        def markdown2html(self, context, source):
            return re.sub(r"(\$\$?)(.+?)\1", mathml, super().markdown2html(context, source), flags=re.DOTALL)

    notebook = nbformat.read(path, 4)
    notebook.metadata["title"] = title
    exporter = Page(
        raw_template=_OFFLINE,
        language_code=lang,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
    )
    return exporter.from_notebook_node(notebook)[0]
