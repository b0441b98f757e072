"""Speed, side by side with peers in one run on one machine, as ratios with their spread."""

from collections.abc import Sequence
from importlib import import_module

from benchmarks.setting import Asked, check_root
from benchmarks.timing import check_rounds
from kdlib.errors import UserError, did_you_mean

BENCHES = {
    "kd-step": "benchmarks.kd_step",
    "grid": "benchmarks.grid",
    "store": "benchmarks.store",
    "engines": "benchmarks.engines",
    "prune": "benchmarks.prune",
    "limit": "benchmarks.limit",
    "growth": "benchmarks.growth",
    "ablation": "benchmarks.ablation",
}

__all__ = ["BENCHES", "Asked", "run"]


def run(names: Sequence[str], asked: Asked) -> dict[str, dict]:
    """Run benches (none named: all), print and write what they found, and return it by name.

    Raises ``UserError`` for an unknown bench, no rounds, a folder without images or a device that is not here, before
    anything runs.
    """
    names = list(dict.fromkeys(names)) or list(BENCHES)
    for name in names:
        if name not in BENCHES:
            raise UserError(f"unknown bench {name!r}; {did_you_mean(name, BENCHES)}")
    if asked.rounds is not None:
        check_rounds(asked.rounds)
    if asked.root is not None:
        check_root(asked.root)
    _ = asked.torch_device
    from benchmarks import report

    facts, results = report.about(asked.quick), {}
    print(report.machine(facts))
    if asked.quick:
        print(report.QUICK)
    for name in names:
        result = import_module(BENCHES[name]).run(asked)
        results[name] = result
        report.save_one(asked.output, name, result, facts)
        print(f"\n{result['title']} ({name})\n{report.settings(result['setting'])}\n\n{report.table(result['rows'])}\n")
        for item in result["ratios"]:
            print(f"  {report.sentence(item)}")
        for line in result["left_out"]:
            print(f"  {line}")
    print("\nResults:")
    for path in report.save(asked.output, report.together(asked.output, BENCHES, results, facts), facts):
        print(f"  {path}")
    return results
