"""The command line as a user types it."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

from kdlib.cli import main
from kdlib.studies import notebook, schema

SMOKE = ["--profile", "smoke"]


def run(*words, out):
    return main(["run", *words, *SMOKE, "--output-dir", str(out)])


def test_list_names_every_study(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in schema.names())


def test_list_is_light():
    code = "import sys; from kdlib.cli import main; main(['list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tr_kdd"], "unknown study 'tr_kdd'; did you mean 'tr_kd'?"),
        (["tr_kd", "--set", "alhpa=0.3"], "unknown parameter 'alhpa'; did you mean 'alpha'?"),
        (["tr_kd", "--set", "T=0"], "parameter T='0': input should be greater than 0"),
        (["tr_kd", "--set", "T"], "--set T: say --set KEY=VALUE"),
        (["tr_kd", "--set", "students=resnet18_lite"], "did you mean 'resnet18_light'?"),
        (["cnn_grid", "--set", "alpha=1.5"], "alpha must lie between 0 and 1"),
        (["tr_kd", "--set", "dataset=cifar10", "--data-root", "/no/such/folder"], "/no/such/folder"),
        (["tr_kd", "--lang", "de"], "parameter lang='de'"),
        (["tr_kd", "--device", "warp"], "unknown device 'warp'"),
        (["tr_kd", "--set", "batch_size=5000"], "5000"),
    ],
)
def test_a_mistake_is_one_line_exit_2_and_nothing_written(words, message, tmp_path, capsys):
    out = tmp_path / "outputs"
    assert run(*words, out=out) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="malloc of Linux's C library")
def test_training_starts_once_more_with_huge_pages_and_keeps_what_is_tuned(monkeypatch, capsys):
    begun = []
    monkeypatch.setattr(os, "execv", lambda *command: begun.append(command))
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    monkeypatch.setattr(sys, "argv", ["kdlib", "run", "tr_kdd"])
    assert [main(), main()] == [2, 2]
    assert begun == [(sys.executable, [sys.executable, "-m", "kdlib.cli", "run", "tr_kdd"])]
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=0:glibc.malloc.hugetlb=1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    main()
    monkeypatch.delenv("GLIBC_TUNABLES")
    monkeypatch.setattr(sys, "argv", ["kdlib", "list"])
    assert main() == 0
    assert len(begun) == 1


def test_dry_run_writes_nothing_and_counts(tmp_path, capsys):
    out = tmp_path / "outputs"
    assert run("cifar_conv", "--dry-run", out=out) == 0
    shown = capsys.readouterr().out
    assert "3 runs, 0 on record, 3 to train" in shown
    assert "no records yet" in shown
    assert not out.exists()


def test_run_leaves_a_finished_study_and_a_second_call_does_nothing(tmp_path, capsys):
    out = tmp_path / "outputs"
    assert run("cifar_conv", "--lang", "tr", out=out) == 0
    folder = out / "smoke" / "cifar_conv"
    assert str(folder / "tables") in capsys.readouterr().out
    kinds = {path.suffix for path in (folder / "tables").glob("all_runs.tr.*")}
    assert kinds == {".md", ".tex", ".csv"}
    assert (folder / "figures" / "curves.tr.svg").is_file()
    executed = nbformat.read(folder / "notebook.tr.ipynb", 4)
    assert not [o for c in executed.cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert executed.cells[0].source.startswith("# Bilgi damıtma")
    page = (folder / "notebook.tr.html").read_text(encoding="utf-8")
    assert "<title>Bilgi damıtma: on evrişimden üçe</title>" in page
    # said by cells that are the same in both languages
    assert re.search(r"<th>eğitim ayarları</th>.*<th>kaydı var</th>", page, re.DOTALL)
    assert not re.search(r"<th>(recipe|on record|parameters)</th>", page)
    assert len(json.loads((folder / "runs.json").read_text())["arms"]) == 3

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert run("cifar_conv", "--lang", "tr", out=out) == 0
    assert "up to date" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before

    published = tmp_path / "published"
    assert main(["publish", "cifar_conv", "--profile", "smoke", "--output-dir", str(out), "--to", str(published)]) == 0
    assert not list(published.rglob("*.safetensors"))
    from kdlib import reporting

    ours = [t.csv("en") for t in reporting.tables(reporting.read(folder))]
    theirs = [t.csv("en") for t in reporting.tables(reporting.read(published / "smoke" / "cifar_conv"))]
    assert ours == theirs


def test_a_failing_cell_is_named_and_its_notebook_kept_aside(tmp_path, monkeypatch):
    broken = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    broken.cells = [
        nbformat.v4.new_code_cell("lang = 'en'", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("# divide\n1 / 0"),
    ]
    nbformat.write(broken, tmp_path / "broken.ipynb")
    monkeypatch.setattr(notebook, "find_notebook", lambda name, lang: tmp_path / "broken.ipynb")
    folder = tmp_path / "study"
    with pytest.raises(notebook.NotebookFailed, match=r"'# divide'.*ZeroDivisionError"):
        notebook.execute("broken", {"lang": "en"}, folder, "Broken")
    assert [path.name for path in folder.iterdir()] == ["notebook.en.failed.ipynb"]


def test_a_dry_run_finds_what_the_run_would(tmp_path, capsys):
    import torch

    torch.save({"fc.weight": torch.zeros(7, 16)}, tmp_path / "other.pt")
    words = ["run", "ts6", "--profile", "smoke", "--dry-run", "--output-dir", str(tmp_path / "out")]
    assert main([*words, "--set", f"weights={tmp_path / 'other.pt'}"]) == 2
    said = capsys.readouterr().err
    assert "none of the 1 tensors fits" in said
    assert not (tmp_path / "out").exists()
