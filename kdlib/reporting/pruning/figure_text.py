"""What the figures of pruning say where a key picks it."""

from __future__ import annotations

from kdlib.reporting.core.i18n import N_

BOOK = {
    "original": N_("original"),
    "distilled": N_("distilled"),
    "ratio": N_("ratio {ratio}"),
    "protected": N_("squeeze-excite protected"),
    "global": N_("global"),
    "layerwise": N_("layer-wise"),
    "pareto_title": N_("{model}, {scope} pruning: accuracy against cost"),
    "macs_axis": N_("MACs kept (% of the original)"),
    "size_axis": N_("Size of parameters and buffers (MiB)"),
    "front": N_("none better for less"),
    "sweep_title": N_("{model}, {scope} pruning: accuracy by pruning ratio"),
    "ratio_axis": N_("Pruning ratio (% of channels)"),
    "chance": N_("chance"),
    "channels_title": N_("{model}, {scope} pruning: channels left, layer by layer"),
    "layer_axis": N_("Layers, in network order ({layers})"),
    "left_axis": N_("Channels left (%)"),
    "protected_drawn": N_(" Hatched: protected, {reasons}."),
    "protected_absent": N_(" Protected and not drawn: {reasons}."),
    "output": N_("output layer ({n})"),
    "squeeze-excite": N_("squeeze-excite ({n})"),
    "asked": N_("kept as asked ({n})"),
    "not prunable": N_("cannot be pruned ({n})"),
}
