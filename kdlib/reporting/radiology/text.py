"""What is said of two-class models of medical images where a key picks it."""

from __future__ import annotations

from kdlib.reporting.core.i18n import N_

BOOK = {
    "teacher": N_("Teacher"),
    "baseline": N_("Student alone"),
    "student": N_("Student with teacher"),
    "models": N_("Model"),
    "accuracy": N_("Accuracy (%)"),
    "auroc": N_("AUROC"),
    "sensitivity": N_("Sensitivity (%)"),
    "specificity": N_("Specificity (%)"),
    "f1": N_("F1"),
    "ece": N_("ECE"),
    "images": N_("the {images} test images"),
    "train": N_("Training"),
    "val": N_("Validation"),
    "test": N_("Test"),
    "weights_none": N_("Imbalance: not corrected; the loss weighs every image alike."),
    "weights_balanced": N_(
        "Imbalance: the cross-entropy weighs each class by the inverse of its share of the training part."
    ),
    "weights_mixed": N_("Imbalance: class weights in the cross-entropy for {balanced}; none for {none}."),
    "chance": N_("chance"),
}
