"""What is asked of a pruning."""

import math
from dataclasses import dataclass
from numbers import Integral, Real

from kdlib.errors import UserError, did_you_mean
from kdlib.pruning.criteria import CALIBRATED, CRITERIA

SCOPES = ("global", "layerwise")


@dataclass(frozen=True)
class Spec:
    """How a model is pruned; all of it stands in the run record.

    Either ``ratio``, the share of channels that leave, or ``macs``, the share of multiply-accumulates that stays.
    ``scope``: ``global`` ranks the channels of all layers together, ``layerwise`` takes the same share of each.
    ``steps``: scores are taken anew before each of so many equal steps. ``round_to``: channel counts are multiples of
    it, rounded up. ``protect_se``: squeeze-excite bottlenecks stay whole. ``keep``: modules that stay whole. ``norm``:
    1 or 2, of magnitude; ``threshold``: of coverage. ``normalise``: ``mean`` divides scores by their layer's mean
    before a global ranking, ``none`` takes them as they are. ``seed``: of calibration images and random scores.

    Raises ``UserError`` for values that make no pruning.
    """

    criterion: str
    ratio: float | None = None
    macs: float | None = None
    scope: str = "global"
    steps: int = 1
    round_to: int = 1
    protect_se: bool = True
    keep: tuple[str, ...] = ()
    calibration_batches: int = 100
    batch_size: int = 32
    threshold: float = 0.25
    norm: int = 1
    normalise: str = "mean"
    seed: int = 0

    def __post_init__(self):
        if self.criterion not in CRITERIA:
            raise UserError(f"unknown criterion {self.criterion!r}; {did_you_mean(self.criterion, CRITERIA)}")
        if (self.ratio is None) == (self.macs is None):
            raise UserError("a pruning has either a ratio (channels that leave) or macs (the share that stays)")
        for name, value in (("pruning ratio", self.ratio), ("macs", self.macs)):
            if value is not None and not (_number(value) and 0 < value < 1):
                raise UserError(f"{name} must lie between 0 and 1, both excluded, not {value!r}")
        for name, value in (("scope", SCOPES), ("normalise", ("mean", "none")), ("norm", (1, 2))):
            if getattr(self, name) not in value:
                raise UserError(f"{name} must be one of {', '.join(map(str, value))}; got {getattr(self, name)!r}")
        for name in ("steps", "round_to", "calibration_batches", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise UserError(f"{name} must be a whole number of at least 1, not {value!r}")
        if isinstance(self.keep, str):
            raise UserError(f"keep is a list of module names, not {self.keep!r}; say keep=({self.keep!r},)")
        object.__setattr__(self, "keep", tuple(self.keep))
        if not (_number(self.threshold) and 0 <= self.threshold < 1):
            raise UserError(f"threshold must lie from 0 to below 1, not {self.threshold!r}")

    @property
    def calibrated(self) -> bool:
        """Whether the criterion looks at images."""
        return self.criterion in CALIBRATED


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
