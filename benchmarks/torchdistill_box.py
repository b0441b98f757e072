"""The same distillation in torchdistill's own training box (Matsubara 2021, arXiv 2011.12913), from its release.

Its box takes no part in modes: a teacher stays as it comes, and one that comes in train mode normalises by batch
statistics and moves its running ones. So that both sides have the same teacher, ours is put in eval mode first. The
loop around the box is that of its examples, without their logging.
"""

import copy
from importlib.util import find_spec

import torch
from torch.utils.data import RandomSampler, SequentialSampler

from benchmarks import reference
from benchmarks.setting import Setting

MISSING = 'torchdistill is not installed, its rows are left out; to have them: uv pip install "kdlib[bench]"'


def available() -> bool:
    """Whether torchdistill is installed."""
    return find_spec("torchdistill") is not None


def config(setting: Setting) -> dict:
    """Return the box's training configuration; made anew for each box, which changes it."""
    logits = {f"{who}_module_{what}": value for who in ("student", "teacher") for what, value in _OUTPUT.items()}
    # Its alpha weighs the cross-entropy, its beta the soft term.
    weights = {"temperature": setting.T, "alpha": setting.lam, "beta": setting.alpha, "reduction": "batchmean"}
    loss = {"criterion": {"key": "KDLoss", "kwargs": logits | weights}, "weight": 1.0}
    evaluation = {"batch_size": 500, "num_workers": setting.workers, "persistent_workers": setting.workers > 0}
    return {
        "num_epochs": setting.epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": reference.loader_options(setting),
        },
        "val_data_loader": {
            "dataset_id": "val",
            "sampler": {"class_or_func": SequentialSampler},
            "kwargs": evaluation,
        },
        "teacher": {"requires_grad": False, "forward_proc": "forward_batch_only"},
        "student": {"requires_grad": True, "forward_proc": "forward_batch_only"},
        "optimizer": {"key": "Adam" if setting.optimizer == "adam" else "SGD", "kwargs": {"lr": setting.lr}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": loss}}},
    }


_OUTPUT = {"path": ".", "io": "output"}


def distill(setting: Setting, seed: int = 0) -> float:
    """Train one student in the box; return its test accuracy. Validation after each epoch, one test at the end."""
    from torchdistill.core.distillation import get_distillation_box

    torch.manual_seed(seed)
    device, parts = setting.device, reference.datasets(setting)
    teacher, student = copy.deepcopy(setting.teacher).eval(), copy.deepcopy(setting.student)
    box = get_distillation_box(teacher, student, parts, config(setting), device, None, False, 1)
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        for images, labels, extra in box.train_data_loader:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            loss = box.forward_process(images, labels, extra)
            box.post_forward_process(loss=loss)
        reference.accuracy(box.student_model, box.val_data_loader, device)
        box.post_epoch_process()
    test = reference.evaluation_loader(parts["test"], setting, again=False)
    found = reference.accuracy(box.student_model, test, device)
    box.clean_modules()
    return found
