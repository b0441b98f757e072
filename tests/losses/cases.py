"""Inputs that the tests of the losses share, and what they are made of in float64 numpy."""

import numpy as np
import torch

from kdlib import losses
from kdlib.losses import Response

LOGITS = ["dkd", "dist", "kd_std"]
MAPS = ["sp", "fitnets", "at", "rkd"]


def chance(seed=0):
    return np.random.default_rng(seed)


def softmax(logits, T=1.0):
    e = np.exp((logits - logits.max(axis=1, keepdims=True)) / T)
    return e / e.sum(axis=1, keepdims=True)


def kl(teacher, student):
    """KL(teacher || student) of probabilities, summed over the last axis, mean over the first."""
    return (teacher * np.log(teacher / student)).sum(axis=1).mean()


def tensor(array, grad=False, dtype=torch.float64):
    return torch.tensor(array, dtype=dtype, requires_grad=grad)


def labels(rows=6, classes=5, seed=3):
    return torch.tensor(chance(seed).integers(classes, size=rows))


def maps(shape, seed=0, dtype=torch.float64):
    return tensor(chance(seed).normal(size=shape), dtype=dtype)


def response(features=((6, 3, 4, 4),), classes=5, seed=0, grad=False, dtype=torch.float64):
    logits = chance(seed).normal(size=(features[0][0] if features else 6, classes)) * 2
    made = tuple(maps(shape, seed + 10 + i, dtype) for i, shape in enumerate(features))
    for feature in made:
        feature.requires_grad_(grad)
    return Response(tensor(logits, grad, dtype), made)


def soft(loss, student, teacher, adapter=None):
    """The soft term of feature maps or logits, a float."""
    if not isinstance(student, Response):
        if loss.needs_features:
            rows = len(student[0])
            logits = torch.zeros(rows, 2, dtype=torch.float64)
            student, teacher = Response(logits, tuple(student)), Response(logits, tuple(teacher))
        else:
            rows = len(student)
            student, teacher = Response(student), Response(teacher)
    rows, classes = student.logits.shape
    return loss.terms(student, teacher, torch.arange(rows) % classes, adapter=adapter)[0].item()


def build(name, T=4.0, alpha=1.0, lam=1.0, **told):
    return losses.preset(name, T, alpha, lam, **told)
