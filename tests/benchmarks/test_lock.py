"""requirements-bench.lock: what the bench extra needs beside requirements.lock, and no more."""

import re
from pathlib import Path

import kdlib

ROOT = Path(kdlib.__file__).parent.parent


def pins(name: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / name).read_text(), flags=re.MULTILINE))


def test_it_holds_torchdistill_and_nothing_twice():
    assert "torchdistill" in pins("requirements-bench.lock")
    assert not pins("requirements-bench.lock") & pins("requirements.lock")


def test_every_pin_has_a_hash_and_no_index():
    text = (ROOT / "requirements-bench.lock").read_text()
    assert len(pins("requirements-bench.lock")) == len(
        re.findall(r"^\S+==\S+.*\\\n\s+--hash=sha256:", text, re.MULTILINE)
    )
    assert "http" not in text
