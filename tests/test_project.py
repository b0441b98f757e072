"""The project's own files: pins that agree, nothing that names a host of an index."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([a-z0-9._-]+)==([^ ]+?)( ;[^\\]*?)?(?: \\)?$", re.M)


def pins(name):
    return {(m[1], m[2], (m[3] or "").strip(" ;")) for m in PIN.finditer((ROOT / name).read_text())}


def test_constraints_are_the_lock_without_hashes():
    assert pins("constraints.txt") == pins("requirements.lock")
    assert len(pins("requirements.lock")) > 100


def test_every_pin_has_a_hash_and_no_index():
    text = (ROOT / "requirements.lock").read_text()
    assert text.count("--hash=sha256:") >= len(pins("requirements.lock"))
    assert "://" not in text
    assert "index-url" not in text


def test_the_lock_holds_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["study"], *extras["dev"]]
    names = {re.match(r"[a-zA-Z0-9._-]+", line)[0] for line in asked} - {"kdlib"}
    assert names <= {name for name, _, _ in pins("requirements.lock")}


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert "-c constraints.txt" in pip


PAGES = [
    "README.md",
    "README.tr.md",
    *(f"docs/{name}.md" for name in ("guide", "performance", "reliability", "scaling")),
]


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_links_to_is_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [*re.findall(r"\]\(([^)#]+)\)", text), *re.findall(r'src="([^"]+)"', text)]
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (ROOT / name).parent.joinpath(link).exists()] == []


def test_ruff_finds_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
