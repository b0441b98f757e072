"""Datasets in memory or on disk, augmentation in batches; embedded, torchvision and folder sources."""

from kdlib.data.augment import Augmentation, affine, augment, draws, normalise
from kdlib.data.dataset import Dataset, Split, check_batch, fingerprint, hold_out, load, subset
from kdlib.data.radiographs import patient_of
from kdlib.data.sources import SOURCES, Part, Parts, Request, register
from kdlib.data.store import available_memory, read_ahead

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
    "available_memory",
    "check_batch",
    "draws",
    "fingerprint",
    "hold_out",
    "load",
    "normalise",
    "patient_of",
    "read_ahead",
    "register",
    "subset",
]
