"""The doctor says what is there, and what to do about what is not."""

from kdlib import cli, doctor


def test_every_part_is_looked_at(capsys):
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for word in ("kdlib ", "torch ", "CPU: ", "GPU", "memory: ", "disk: ", "store: ", "study: ", "export: "):
        assert word in said


def test_what_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(doctor, "_there", lambda package: package != "onnxruntime")
    (line,) = [line for line in doctor.lines() if line.startswith("export")]
    assert line == "export: for ONNX files, kdlib predict, missing onnxruntime; pip install '.[export]'"
