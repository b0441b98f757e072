"""What a model costs: parameters, multiply-accumulates by four counters, sizes, latency, memory.

``count_parameters`` and ``forward_macs`` need torch alone and are cheap; ``profile`` needs the ``study`` extra.
"""

from kdlib.profiling.counts import (
    MEANING,
    costs,
    count_parameters,
    described,
    forward_macs,
    layer_macs,
    macs_thop,
    packages,
    profile,
)
from kdlib.profiling.timing import TURN, UNTIMED, latencies, state_bytes

__all__ = [
    "MEANING",
    "TURN",
    "UNTIMED",
    "costs",
    "count_parameters",
    "described",
    "forward_macs",
    "latencies",
    "layer_macs",
    "macs_thop",
    "packages",
    "profile",
    "state_bytes",
]
