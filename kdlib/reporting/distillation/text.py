"""What the table of methods says where a key picks it."""

from __future__ import annotations

from kdlib.reporting.core.i18n import N_

BOOK = {
    "accuracy": N_("Test accuracy (%)"),
    "n": N_("Seeds"),
    "difference": N_("Against alone (points)"),
    "ratio": N_("Time, alone = 1"),
    "step": N_("Time a step (ms)"),
    "looks": N_("Looks at"),
    "time_note": N_(
        "Time: what a run took over its epochs, with its validation and its share of what the runs "
        "of its group have in common (images, the teacher's pass), divided by its training steps. "
        "Students that learn beside one another share the teacher's pass; one that learns by itself "
        "pays for all of it."
    ),
    "other_group": N_("‡ Not timed beside the student alone: it was trained in another group of runs."),
    "diverged": N_("† so many runs diverged; they enter no mean."),
}
