"""What ways of distilling are called, and what their table says where a key picks it."""

from __future__ import annotations

from kdlib.reporting.i18n import N_, text

PLAIN = "kd"  # how a study's labels name plain distillation, which has no name in the records

LABELS: dict[str, str | dict[str, str]] = {
    PLAIN: "KD (Hinton)",
    "kd_std": N_("KD + z-score"),
    "dkd": "DKD",
    "dist": "DIST",
    "fitnets": "FitNets",
    "at": N_("AT (attention transfer)"),
    "sp": N_("SP (similarities)"),
    "rkd": N_("RKD (relations)"),
}

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


def label(study, key: str, lang: str) -> str:
    """How a method is called: the study's own name for it, else the usual one; an unknown one as it is."""
    labels = getattr(study, "labels", None) or {}
    return text(labels.get(key) or LABELS.get(key) or key, lang)
