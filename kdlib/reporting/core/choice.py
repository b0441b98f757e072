"""Which setting is best: decided by validation accuracy, so that the test accuracy shown for it stays honest."""

from __future__ import annotations


def best_by_validation(results, settings: list[dict]) -> dict | None:
    """The setting with the highest mean validation accuracy; None when none converged.

    A setting of which a seed diverged competes only when all have such a seed: the mean of the survivors flatters
    it. On a tie the first in the study's order.
    """
    cells = [(where, results.cell(where, "val_accuracy")) for where in settings]
    cells = [(where, cell) for where, cell in cells if cell.mean is not None]
    sound = [(where, cell) for where, cell in cells if not cell.diverged]
    return max(sound or cells, key=lambda pair: pair[1].mean, default=(None, None))[0]
