"""What a call will do and cost, before it does it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from kdlib.studies import records, runner
from kdlib.studies.plan import Plan
from kdlib.studies.run import Run


@dataclass(frozen=True)
class Cost:
    """One run of a plan: whether its record is there, its training FLOPs, and seconds by this machine's records.

    ``seconds`` is None where this machine has no record to judge by.
    """

    run: Run
    done: bool
    flops: int
    seconds: float | None

    def row(self) -> dict[str, str | float]:
        """Return the run as a row of an overview: its settings, whether it is on record, TFLOP and seconds."""
        recipe, loss = self.run.recipe, self.run.loss
        trained = "none: tested as it is"
        if recipe is not None:
            trained = f"{recipe.optimizer} lr={recipe.lr:g} batch={recipe.batch_size} epochs={recipe.epochs}"
        return {
            "run": self.run.id,
            "model": self.run.model,
            "loss": "" if loss is None else self.run.method or "kd",
            "T": f"{loss.T:g}" if loss and loss.T is not None else "",
            "alpha": f"{loss.alpha:g}" if loss else "",
            "lam": f"{loss.lam:g}" if loss else "",
            "open": "all layers" if self.run.open is None else " ".join(self.run.open),
            "pruning": _cut(self.run.pruning),
            "recipe": trained,
            "seed": self.run.seed,
            "TFLOP": f"{self.flops / 1e12:.2f}",
            "on record": "yes" if self.done else "no",
            "seconds": "?" if self.seconds is None else f"{self.seconds:.0f}",
        }


def estimate(plan: Plan, folder: Path) -> list[Cost]:
    """Return the cost of every run of a plan."""
    here = [r for r in records.read_all(folder) if _same_machine(r)]
    todo = {run.id for run in runner.missing(plan, folder)}
    found = []
    for run in plan.runs.values():
        record = records.read(folder, run.id)
        flops = run.train_flops()
        alike = [r for r in here if _untrained(r) == (run.recipe is None)]
        rate = _rate(r for r in alike if r.run["config"]["model"] == run.model) or _rate(alike) or _rate(here)
        seconds = record.run["seconds"] if record else flops / rate if rate else None
        found.append(Cost(run, run.id not in todo, flops, seconds))
    return found


def _cut(spec) -> str:
    if spec is None:
        return ""
    amount = f"macs={spec.macs:g}" if spec.ratio is None else f"ratio={spec.ratio:g}"
    return f"{spec.criterion} {amount} {spec.scope}{'' if spec.protect_se else ' SE open'}"


def _untrained(record: records.Record) -> bool:
    return record.run["config"].get("recipe", {}) is None


def _same_machine(record: records.Record) -> bool:
    ours = records.hardware()
    return all(record.run["hardware"].get(key) == ours[key] for key in ("processor", "cores", "gpu"))


def _rate(found: Iterable[records.Record]) -> float | None:
    """Median training FLOP/s."""
    rates = [r.run["train_flops"] / r.run["seconds"] for r in found if r.run["seconds"] > 0]
    return median(rates) if rates else None
