import json

import pytest

from benchmarks import report

FACTS = {
    "hardware": {
        "machine": "x86_64",
        "processor": "Some CPU",
        "cores": 2,
        "threads": 1,
        "memory_gib": 23.5,
        "gpu": None,
    },
    "packages": {"python": "3.11.7", "torch": "2.15.0", "torchdistill": None},
    "code": {},
    "date": "2026-01-02T03:04:05+00:00",
    "quick": False,
    "load": 0.1,
}
RESULT = {
    "title": "One student",
    "setting": {"images": 4000, "image size": [3, 32, 32], "T": 4.0, "device": "cpu"},
    "rows": [
        {"side": "kdlib", "images/s": 1234.5, "seconds": 3.25, "test accuracy": 0.5, "peak memory, MB": None},
        {"side": "plain loop", "images/s": 99.25, "seconds": 40.0, "test accuracy": 0.4955, "peak memory, MB": 0.5},
    ],
    "ratios": [{"label": "one student, against plain loop", "median": 12.44, "min": 1.999, "max": 13.0, "n": 5}],
    "notes": ["Timed: all."],
    "left_out": ["torchdistill is not installed."],
}
MARKDOWN = """\
# Benchmarks

Some CPU, 2 cores, 1 thread, 23.5 GiB; python 3.11.7, torch 2.15.0; 2026-01-02; load average before: 0.1

## One student (`kd-step`)

images: 4,000; image size: 3×32×32; T: 4; device: cpu

| side       | images/s | seconds | test accuracy | peak memory, MB |
| ---------- | -------: | ------: | ------------: | --------------: |
| kdlib      |    1,235 |    3.25 |         50.0% |               – |
| plain loop |     99.3 |    40.0 |         49.6% |          0.5000 |

- one student, against plain loop: 12× as fast (2.00× to 13× in 5 rounds)

- torchdistill is not installed.
- Timed: all.
"""


def test_the_document_to_the_letter():
    assert report.markdown({"kd-step": RESULT}, FACTS) == MARKDOWN


def test_quick_numbers_say_so():
    assert report.QUICK in report.markdown({"kd-step": RESULT}, FACTS | {"quick": True})


def test_a_gpu_is_named_in_the_place_of_the_processor():
    facts = FACTS | {"hardware": FACTS["hardware"] | {"gpu": "Some GPU"}}
    assert report.machine(facts).startswith("Some GPU, 2 cores")


@pytest.mark.parametrize(("value", "said"), [(0.394, "0.39×"), (2.34, "2.3×"), (29.6, "30×"), (1.0, "1.00×")])
def test_a_ratio_has_the_digits_that_say_something(value, said):
    assert report.times(value) == said


def test_all_is_written_and_reads_as_it_was(tmp_path):
    report.save_one(tmp_path, "kd-step", RESULT, FACTS)
    paths = report.save(tmp_path, {"kd-step": RESULT}, FACTS)
    assert [path.name for path in paths] == ["bench.json", "bench.md", "bench.png", "bench.svg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(path.name for path in paths), "kd-step.json"])
    assert json.loads(paths[0].read_text(encoding="utf-8")) == {**FACTS, "benches": {"kd-step": RESULT}}
    assert json.loads((tmp_path / "kd-step.json").read_text(encoding="utf-8")) == {**FACTS, **RESULT}
    assert paths[1].read_text(encoding="utf-8") == MARKDOWN


def test_without_a_ratio_there_is_no_figure(tmp_path):
    paths = report.save(tmp_path, {"growth": RESULT | {"ratios": []}}, FACTS)
    assert [path.name for path in paths] == ["bench.json", "bench.md"]


def test_the_facts_are_of_this_machine():
    facts = report.about(quick=True)
    json.dumps(facts)
    assert facts["quick"] is True
    assert facts["packages"]["torch-pruning"] == "1.6.1"
    assert report.machine(facts).count("\n") == 0


def test_a_later_call_keeps_what_an_earlier_one_measured(tmp_path):
    report.save_one(tmp_path, "prune", RESULT, FACTS | {"date": "2001-02-03T04:05:06+00:00"})
    report.save_one(tmp_path, "growth", RESULT, FACTS | {"quick": True})
    found = report.together(tmp_path, ["kd-step", "prune", "growth"], {"kd-step": RESULT}, FACTS)
    assert list(found) == ["kd-step", "prune"]
    assert found["kd-step"] == RESULT
    assert {key: found["prune"][key] for key in RESULT} == RESULT
    assert "2001-02-03" in found["prune"]["measured"]
    assert "2001-02-03" in report.markdown(found, FACTS)


def test_the_figure_shows_peers_alone():
    assert report.figure(dict.fromkeys(("ablation", "store", "engines"), RESULT), FACTS) is None
