"""Datasets in memory, augmentation in batches; embedded, torchvision and folder sources."""

from kdlib.data.augment import Augmentation, affine, augment, draws, normalise
from kdlib.data.dataset import Dataset, Split, check_batch, fingerprint, hold_out, load, subset
from kdlib.data.radiographs import patient_of
from kdlib.data.sources import SOURCES, Part, Parts, Request, register

__all__ = [
    "SOURCES",
    "Augmentation",
    "Dataset",
    "Part",
    "Parts",
    "Request",
    "Split",
    "affine",
    "augment",
    "check_batch",
    "draws",
    "fingerprint",
    "hold_out",
    "load",
    "normalise",
    "patient_of",
    "register",
    "subset",
]
