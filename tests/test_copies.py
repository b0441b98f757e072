"""Copies of models that torch alone does not copy."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from kdlib.copies import copied
from kdlib.errors import UserError
from kdlib.profiling import profile
from kdlib.pruning import Spec, prune

IMAGE = (3, 8, 8)


class Keeps(nn.Module):
    """Keeps its feature maps, with all they come from."""

    def __init__(self):
        super().__init__()
        self.conv, self.more, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)
        self.maps = []

    def forward(self, x):
        self.maps = [torch.relu(self.conv(x))]
        self.last = self.more(self.maps[0])
        return self.fc(self.last.mean((2, 3)))


def normed(norm):
    return nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


BUILDERS = {
    "keeps": Keeps,
    "weight norm": lambda: normed(weight_norm),
    "parametrised": lambda: normed(parametrizations.weight_norm),
    "spectral": lambda: normed(nn.utils.spectral_norm),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_copy_answers_alike_and_shares_nothing(build):
    model, images = build(), torch.randn(2, *IMAGE)
    model(images).sum().backward()
    copy = copied(model.eval())
    assert torch.equal(copy(images), model(images))
    ours = {p.data_ptr() for p in model.state_dict().values()}
    assert not ours & {p.data_ptr() for p in copy.state_dict().values()}
    copy(images).sum().backward()  # it trains on by itself


def test_kept_maps_are_in_nobodys_way():
    model = Keeps()
    model(torch.zeros(1, *IMAGE)).sum()
    assert profile(model, IMAGE, repeats=1)["total_params"] == 3 * 4 * 9 + 4 + 4 * 4 * 9 + 4 + 10
    assert prune(model, Spec("magnitude", ratio=0.5), [], IMAGE).report["removed"][0] > 0


def test_lazy_layers_are_named():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(2))
    for use in (copied, lambda m: profile(m, IMAGE), lambda m: prune(m, Spec("magnitude", ratio=0.5), [], IMAGE)):
        with pytest.raises(UserError, match="layer 3 of Sequential is lazy and has no weights yet"):
            use(model)
    model(torch.zeros(1, *IMAGE))
    assert torch.equal(copied(model)[3].weight, model[3].weight)
