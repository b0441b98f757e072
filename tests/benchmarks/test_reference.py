import copy

import pytest
import torch
from torch import nn

from benchmarks import reference, setting, torchdistill_box
from benchmarks.setting import Setting
from kdlib import losses, models

CPU = torch.device("cpu")


def small(make_tiny, **changes) -> Setting:
    dataset = make_tiny(train=64, val=16, test=32)
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 4))
    student = models.build("cnn2", 4)
    options = {"batch_size": 16, "epochs": 1, "pad": 1, "workers": 0} | changes
    return Setting(dataset, teacher.eval(), student, CPU, **options)


def logits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(8, 5, generator=chance) for _ in range(2))
    return student, teacher, torch.arange(8) % 5


@pytest.mark.parametrize(("T", "alpha", "lam"), [(4, 0.5, 0.5), (1, 0.9, 0.1), (20, 1.0, 0.0)])
def test_its_loss_is_kdlibs(T, alpha, lam):
    ours = losses.weighted_kl(T, alpha, lam)(*logits())
    torch.testing.assert_close(reference.kd_loss(*logits(), T, alpha, lam), ours)


def test_images_come_as_torchvision_gives_them(make_tiny):
    what = small(make_tiny)
    plain = reference.datasets(what)["test"]
    image, label = plain[3]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (what.dataset.mean, what.dataset.std))
    torch.testing.assert_close(image, (what.dataset.test.images[3].float() / 255 - mean) / std)
    assert label == what.dataset.test.labels[3]


def test_a_single_channel_goes_through(make_tiny):
    dataset = make_tiny(channels=1)
    what = Setting(dataset, nn.Flatten(), nn.Flatten(), CPU, pad=1)
    assert reference.datasets(what)["train"][0][0].shape == (1, 8, 8)


def test_the_loop_learns(make_tiny):
    what = small(make_tiny, epochs=12, lr=0.005, alpha=0.0, lam=1.0, pad=0)
    assert reference.distill(what) > 0.6


def test_neither_teacher_nor_student_of_the_setting_changes(make_tiny):
    what = small(make_tiny)
    before = copy.deepcopy(what.teacher.state_dict()), copy.deepcopy(what.student.state_dict())
    reference.distill(what)
    for was, model in zip(before, (what.teacher, what.student), strict=True):
        assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in was.items())
    assert not what.teacher.training


def test_a_last_batch_of_one_image_is_dropped(make_tiny):
    assert not reference.loader_options(small(make_tiny))["drop_last"]
    assert reference.loader_options(small(make_tiny, batch_size=9))["drop_last"]


def test_kdlibs_side_begins_with_the_same_weights(make_tiny):
    what = small(make_tiny, lr=1e-12, optimizer="sgd")
    state = setting.distill(what, [(4, 0.5)])[0].state
    for name, tensor in what.student.state_dict().items():
        torch.testing.assert_close(state[name], tensor)


def test_without_torchdistill_one_line_says_how_to_get_it():
    assert torchdistill_box.MISSING.count("\n") == 0
    assert 'uv pip install "kdlib[bench]"' in torchdistill_box.MISSING


class TestTorchdistill:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("torchdistill", reason='torchdistill is not installed: uv pip install "kdlib[bench]"')

    def test_its_loss_is_kdlibs(self, make_tiny):
        from torchdistill.losses.mid_level import KDLoss

        student, teacher, labels = logits()
        terms = torchdistill_box.config(small(make_tiny))["criterion"]["kwargs"]["sub_terms"]
        its = KDLoss(**terms["kd"]["criterion"]["kwargs"])
        found = its({".": {"output": student}}, {".": {"output": teacher}}, labels)
        torch.testing.assert_close(found, losses.weighted_kl(4, 0.5, 0.5)(student, teacher, labels))

    def test_the_box_learns(self, make_tiny):
        what = small(make_tiny, epochs=12, lr=0.005, alpha=0.001, lam=1.0, pad=0)
        assert torchdistill_box.distill(what) > 0.6

    def test_the_teacher_stays_as_it_is(self, make_tiny):
        what = small(make_tiny)
        what.teacher.requires_grad_(False)
        before = copy.deepcopy(what.teacher.state_dict())
        torchdistill_box.distill(what)
        assert all(torch.equal(tensor, what.teacher.state_dict()[name]) for name, tensor in before.items())
        assert not what.teacher.training
        assert not any(p.requires_grad for p in what.teacher.parameters())
