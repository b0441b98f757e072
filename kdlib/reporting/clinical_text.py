"""What reporting writes about two-class models of medical images, in English and Turkish.

As in `text`, no suffix follows a number or a name.
"""

from __future__ import annotations

from kdlib.reporting.i18n import N_

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

FINDINGS = {
    "several_classes": N_(
        "The data have {n} classes. Sensitivity, specificity, AUROC, calibration and confusion "
        "matrices are made for two here and are left out."
    ),
    "no_logits": N_(
        "No run holds its test logits, so sensitivity, specificity, AUROC and calibration cannot be given."
    ),
    "overfits": N_(
        "{who}: overfits. Over the last {n} epochs the validation loss is {val} against {train} in "
        "training, and {rise} above its own lowest."
    ),
    "gap_only": N_(
        "{who}: over the last {n} epochs the validation loss is {val} against {train} in training, "
        "which the report calls overfitting; but it lies only {rise} above its own lowest: training "
        "on has not hurt yet."
    ),
    "rise_only": N_(
        "{who}: over the last {n} epochs the validation loss ({val}) is not above the training loss "
        "({train}), but it is {rise} above its own lowest: unstable rather than overfitted."
    ),
    "fits": N_(
        "{who}: no sign of overfitting. Over the last {n} epochs the validation loss is {val} "
        "against {train} in training, {rise} above its own lowest."
    ),
    "few_epochs": N_("{who}: {n} epochs are too few to speak of overfitting."),
    "loss_note": N_(
        "A gap or rise counts from {share} of the validation loss on. Training losses are taken "
        "while training, with augmentation and dropout, so they are rather too high than too low."
    ),
    "against_teacher": N_("Student with teacher minus its teacher{about}: {metrics}."),
    "against_alone": N_("Student with teacher minus student alone{about}: {metrics}."),
    "auroc": N_("AUROC {difference} {intervals}"),
    "accuracy": N_("accuracy {difference} percentage points {intervals}"),
    "over_units": N_("(95% bootstrap over {units}: {interval})"),
    "over_seeds": N_("(95% bootstrap over {units}: {interval}; t-interval over {n} seeds: {seeds})"),
    "teacher_up": N_("The student beats its teacher here, above zero throughout in: {which}."),
    "teacher_down": N_("The student stays below its teacher here, below zero throughout in: {which}."),
    "teacher_mixed": N_("Better than the teacher in one and worse in the other: no verdict."),
    "teacher_open": N_("The intervals hold zero: these data do not tell student and teacher apart."),
    "alone_up": N_("The teacher helps the student here, above zero throughout in: {which}."),
    "alone_down": N_("The teacher hurts the student here, below zero throughout in: {which}."),
    "alone_mixed": N_("Helped in one and hurt in the other: no verdict."),
    "alone_open": N_("The intervals hold zero: whether the teacher helps stays open."),
    "which_auroc": N_("AUROC"),
    "which_accuracy": N_("accuracy"),
    "one_seed": N_(
        "Fewer than three seeds: these intervals hold the choice of test images alone; the spread "
        "between seeds is unknown, so a difference may be that of two initialisations."
    ),
    "training_share": N_("Training images by class: {shares}."),
    "balanced": N_("Accuracy and balanced accuracy{about}: {models}."),
    "balanced_one": N_("{role} {accuracy} and {balanced}"),
    "not_above": N_("Not shown to lie above the constant answer in accuracy{about}: {roles}."),
    "calibration_one": N_(
        "{role} {verdict} (mean confidence {confidence}, accuracy {accuracy}, ECE {ece} {interval}, "
        "Brier score {brier})"
    ),
}
