"""What a model costs: parameters, multiply-accumulates by four counters, sizes, latency, memory.

``count_parameters`` and ``forward_macs`` need torch alone and are cheap; ``profile`` needs the ``study`` extra.
"""

from kdlib.profiling.costs import MEANING, costs, described, macs_thop, packages, profile
from kdlib.profiling.counting import count_parameters, forward_macs
from kdlib.profiling.layers import layer_macs
from kdlib.profiling.measuring import TURN, UNTIMED, latencies, state_bytes

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
