"""The small study of tests/studies is what breaks here."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))


@pytest.fixture
def one_line(capsys):
    """Assert that the last command said no more than one line on stderr, beside notes and bars, and return it."""

    def read() -> str:
        lines = [line for line in capsys.readouterr().err.splitlines() if line.strip() and "elapsed" not in line]
        assert len(lines) == 1, lines
        assert lines[0].startswith("kdlib: ")
        return lines[0]

    return read
