"""Held out by patient: no group on both sides, every class near its share, the same for a seed everywhere."""

import json
from collections.abc import Iterator

import pytest
import torch

from kdlib.data import SOURCES, Part, Parts, Request, Split, fingerprint, hold_out, load, register
from kdlib.errors import UserError


def labels_of(*sizes: int) -> torch.Tensor:
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


def counts(labels: torch.Tensor, classes: int) -> list[int]:
    return torch.bincount(labels, minlength=classes).tolist()


def patients_of(labels: torch.Tensor, most: int = 4) -> torch.Tensor:
    """Groups of one to `most` images, each within one class, with numbers that have gaps."""
    groups = torch.empty_like(labels)
    number = 5
    for label in range(int(labels.max()) + 1):
        mine = (labels == label).nonzero().flatten().tolist()
        size = 1
        while mine:
            groups[mine[:size]] = number
            mine, number, size = mine[size:], number + 3, size % most + 1
    return groups


def shared(groups: torch.Tensor, kept: torch.Tensor, held: torch.Tensor) -> set[int]:
    return set(groups[kept].tolist()) & set(groups[held].tolist())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_no_group_is_on_both_sides_and_every_class_comes_near_its_share(seed, fraction):
    labels = labels_of(134, 388)
    groups = patients_of(labels)
    kept, held = hold_out(labels, fraction, seed, groups)
    assert shared(groups, kept, held) == set()
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(522))
    assert torch.equal(held, held.sort().values)
    for size, got in zip((134, 388), counts(labels[held], 2), strict=True):
        assert abs(got - size * fraction) <= 2  # half the largest group


def test_hold_out_of_groups_is_the_same_for_the_same_seed_and_in_every_version():
    labels = torch.arange(40) % 4
    groups = torch.arange(40) % 20  # image i and image i + 20 are of one patient
    held = hold_out(labels, 0.2, 0, groups)[1]
    assert held.tolist() == [0, 3, 9, 14, 20, 23, 29, 34]
    assert torch.equal(hold_out(labels, 0.2, 0, groups)[1], held)
    assert not torch.equal(hold_out(labels, 0.2, 1, groups)[1], held)
    # What the groups are called does not matter, only which come first.
    assert torch.equal(hold_out(labels, 0.2, 0, groups * 7 + 100)[1], held)


def test_groups_of_one_keep_the_shares_of_single_images():
    labels = labels_of(1341, 3875)
    kept, held = hold_out(labels, 0.2, 7, torch.arange(5216))
    assert counts(labels[held], 2) == [268, 775]
    assert len(kept) + len(held) == 5216


def test_a_group_of_several_classes_counts_for_its_commonest_and_stays_whole():
    # Group 0: two of class 1 and one of class 0; group 1: one of each, so class 0; the rest stand alone.
    labels = torch.tensor([1, 0, 1, 1, 0] + [0] * 10 + [1] * 10)
    groups = torch.tensor([0, 0, 0, 1, 1, *range(2, 22)])
    for seed in range(20):
        kept, held = hold_out(labels, 0.5, seed, groups)
        assert shared(groups, kept, held) == set()
        by_group = torch.tensor([1, 0] + [0] * 10 + [1] * 10)[groups[held]]
        assert counts(by_group, 2) in ([6, 7], [6, 8])  # 6 and 7 of 13, or one more with the three


def test_every_class_keeps_a_group():
    labels = torch.tensor([0] * 6 + [1, 1, 1])
    kept, held = hold_out(labels, 0.9, 0, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3]))
    assert counts(labels[kept], 2) == [2, 3]
    assert counts(labels[held], 2) == [4, 0]


def test_a_large_patient_is_left_where_taking_it_would_overshoot():
    labels = torch.tensor([0] * 12 + [1] * 12)
    groups = torch.tensor([0] * 8 + [1, 2, 3, 4] + [5] * 8 + [6, 7, 8, 9])
    for seed in range(10):
        held = hold_out(labels, 0.25, seed, groups)[1]  # 3 of each 12: never the patient with eight
        assert counts(labels[held], 2) == [3, 3]
        assert not set(groups[held].tolist()) & {0, 5}


def test_too_few_groups_to_hold_out_is_an_error():
    with pytest.raises(UserError, match=r"too few training groups of images \(2\) to hold 0.2 of them out"):
        hold_out(torch.tensor([0, 0, 0, 1, 1]), 0.2, 0, torch.tensor([0, 0, 0, 1, 1]))


@pytest.fixture
def clinic() -> Iterator[str]:
    """120 + 20 images of two classes; a patient's images all show the patient's number."""

    @register("clinic")
    def source(request: Request) -> Parts:
        parts, first = [], 0
        for sizes in ((30, 90), (8, 12)):
            labels = labels_of(*sizes)
            groups = patients_of(labels).unique(return_inverse=True)[1] + first
            images = groups.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
            parts.append(Part(images, labels, groups))
            first = int(groups.max()) + 1
        return Parts(("well", "ill"), *parts)

    yield "clinic"
    del SOURCES["clinic"]


@pytest.mark.parametrize("train_size", [None, 60])
def test_load_keeps_patients_apart_and_beside_their_images(clinic, train_size):
    data = load(clinic, train_size=train_size)
    splits = (data.train, data.val, data.test)
    for part in splits:
        assert part.groups.dtype == torch.int64
        assert torch.equal(part.groups, part.images[:, 0, 0, 0].long())
    sets = [set(part.groups.tolist()) for part in splits]
    assert sets[0] & sets[1] == sets[0] & sets[2] == sets[1] & sets[2] == set()
    assert len(data.train) + len(data.val) == (train_size or 120)
    assert torch.equal(data.val.groups, load(clinic, train_size=train_size).val.groups)
    assert not torch.equal(data.val.images, load(clinic, train_size=train_size, split_seed=1).val.images)


def test_describe_counts_patients(clinic):
    data = load(clinic)
    told = json.loads(json.dumps(data.describe()))
    assert told["group_counts"] == {
        part: len(set(getattr(data, part).groups.tolist())) for part in ("train", "val", "test")
    }
    assert told["class_counts"]["train"] == [24, 72]
    assert told["class_counts"]["val"] == [6, 18]


def test_groups_are_no_part_of_the_fingerprint(clinic):
    data = load(clinic)
    bare = {part: Split(getattr(data, part).images, getattr(data, part).labels) for part in ("train", "val", "test")}
    assert fingerprint(data.classes, bare) == data.fingerprint
