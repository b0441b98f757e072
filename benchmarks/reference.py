"""The loop that distillation code is mostly written as: images one by one from a DataLoader, one student at a time.

What it does is what a competent user of torchvision writes: PIL images, random crop, flip, tensor, normalise in worker
processes that stay alive; teacher in eval mode without gradients; fp32, contiguous memory, torch's own optimisers.
"""

import copy

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.setting import Setting
from kdlib import data


class Images(torch.utils.data.Dataset):
    """A split as torchvision's CIFAR10 holds one: an array (N, H, W, C), each image made a PIL image, transformed."""

    def __init__(self, split: data.Split, transform):
        self.pixels = split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = split.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels = self.pixels[index]
        image = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[:, :, 0])
        return self.transform(image), self.labels[index]


def datasets(setting: Setting) -> dict[str, Images]:
    """Return train, val and test; only train is augmented, with a border of zeros as torchvision pads."""
    plain = [transforms.ToTensor(), transforms.Normalize(setting.dataset.mean, setting.dataset.std)]
    side = setting.dataset.shape[1:]
    moved = [transforms.RandomCrop(side, padding=setting.pad), transforms.RandomHorizontalFlip()]
    return {
        "train": Images(setting.dataset.train, transforms.Compose([*moved, *plain])),
        "val": Images(setting.dataset.val, transforms.Compose(plain)),
        "test": Images(setting.dataset.test, transforms.Compose(plain)),
    }


def loader_options(setting: Setting) -> dict:
    """Return what a training DataLoader is given beside data set and order."""
    return {
        "batch_size": setting.batch_size,
        "num_workers": setting.workers,
        "persistent_workers": setting.workers > 0,
        "pin_memory": setting.device.type == "cuda",
        # Batch norm cannot train on a last batch of one image.
        "drop_last": len(setting.dataset.train) % setting.batch_size == 1,
    }


def evaluation_loader(dataset: Images, setting: Setting, again: bool) -> DataLoader:
    """Return a loader in order, batches of 500; workers stay alive where it is used again."""
    stay = again and setting.workers > 0
    return DataLoader(dataset, batch_size=500, num_workers=setting.workers, persistent_workers=stay)


def kd_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, T: float, alpha: float, lam: float
) -> torch.Tensor:
    """Return alpha · T² · KL(teacher || student) + lam · cross-entropy of logits (B, K) and labels (B,)."""
    log_student = F.log_softmax(student / T, dim=1)
    soft = F.kl_div(log_student, F.softmax(teacher / T, dim=1), reduction="batchmean") * T**2
    return alpha * soft + lam * F.cross_entropy(student, labels)


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader, device: torch.device) -> float:
    """Return the share of images whose highest logit is their label's."""
    model.eval()
    right = total = 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        right += (model(images).argmax(dim=1) == labels).sum().item()
        total += len(labels)
    return right / total


def distill(setting: Setting, seed: int = 0) -> float:
    """Train one student; return its test accuracy. Validation after each epoch, one test at the end."""
    torch.manual_seed(seed)
    device, parts = setting.device, datasets(setting)
    train = DataLoader(parts["train"], shuffle=True, **loader_options(setting))
    val = evaluation_loader(parts["val"], setting, again=True)
    teacher = copy.deepcopy(setting.teacher).to(device).eval()
    student = copy.deepcopy(setting.student).to(device)
    if setting.optimizer == "adam":
        optimizer = torch.optim.Adam(student.parameters(), lr=setting.lr)
    else:
        optimizer = torch.optim.SGD(student.parameters(), lr=setting.lr)
    for _ in range(setting.epochs):
        student.train()
        for images, labels in train:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            with torch.no_grad():
                answer = teacher(images)
            loss = kd_loss(student(images), answer, labels, setting.T, setting.alpha, setting.lam)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy(student, val, device)
    return accuracy(student, evaluation_loader(parts["test"], setting, again=False), device)
