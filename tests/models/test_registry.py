"""The registry: names, a user's own models, dotted paths, and what a user gets wrong."""

import sys

import pytest
import torch
from torch import nn

from kdlib import models
from kdlib.errors import UserError
from kdlib.models import registry


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a user's own on the path."""
    folder = tmp_path / "a_users_own"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "nets.py").write_text(
        "from torch import nn\n"
        "def build(num_classes, in_channels=3):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))\n"
        "def only_colour(num_classes):\n"
        "    return nn.Conv2d(3, num_classes, 1)\n"
        "def only_grey(num_classes):\n"
        "    return nn.Conv2d(1, num_classes, 1)\n"
        "def needs_more(depth, num_classes):\n"
        "    return nn.Linear(depth, num_classes)\n"
        "def not_a_model(num_classes):\n"
        "    return 'model'\n"
        "word = 'no function'\n"
        "def raises(num_classes):\n"
        "    return nn.Linear(num_classes, 'wide')\n"
        "import sys, torch\n"
        "def leaves(num_classes):\n"
        "    sys.exit('no GPU here')\n"
        "def scripted(num_classes):\n"
        "    return torch.jit.script(nn.Linear(2, num_classes))\n"
        "def compiled(num_classes):\n"
        "    return torch.compile(nn.Linear(2, num_classes))\n"
        "def meta(num_classes):\n"
        "    return nn.Linear(2, num_classes, device='meta')\n"
        "made = nn.Linear(2, 2)\n"
    )
    (folder / "asks.py").write_text("import argparse\nargparse.ArgumentParser().parse_args(['--no-such'])\n")
    (folder / "unfinished.py").write_text("def build(num_classes):\n    return (\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [n for n in sys.modules if n.split(".")[0] == "a_users_own"]:
        del sys.modules[name]


def linear(num_classes: int, in_channels: int = 3) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, num_classes))


def test_register_as_a_call():
    assert models.register("mine", linear) is linear
    assert "mine" in models.names()
    assert models.build("mine", 5, 2)(torch.rand(1, 2, 4, 4)).shape == (1, 5)


def test_register_as_a_decorator():
    @models.register("decorated")
    def build(num_classes):
        return nn.Linear(1, num_classes)

    assert build(2).out_features == 2
    assert models.build("decorated", 6).out_features == 6


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UserError, match=r"unknown model 'resnet18_kp'.*did you mean 'resnet18_kd'"):
        models.build("resnet18_kp", 10)


def test_unknown_name_far_from_all_lists_the_known():
    with pytest.raises(UserError, match=r"unknown model 'zzz'.*known:.*cnn2"):
        models.check("zzz")


def test_dotted_path(package):
    model = models.build("a_users_own.nets:build", 7)
    assert model(torch.rand(2, 3, 4, 4)).shape == (2, 7)


@pytest.mark.parametrize(
    "path",
    [
        "no_such_package.nets:build",
        "a_users_own.no_such_module:build",
        "a_users_own.nets:no_such_function",
        "a_users_own.nets:word",
        "a_users_own.nets:",
        ":build",
        "..nets:build",
    ],
)
def test_bad_dotted_path(package, path):
    with pytest.raises(UserError, match="model ") as caught:
        models.check(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["a_users_own.nets:needs_more", "a_users_own.nets:not_a_model"])
def test_a_builder_that_builds_no_model_of_so_many_classes(package, path):
    with pytest.raises(UserError, match=path):
        models.build(path, 10)


def test_an_error_of_a_users_own_code_names_its_file_and_line(package, tmp_path):
    with pytest.raises(UserError, match=rf"cannot be built: TypeError: .*\({tmp_path}/a_users_own/nets.py:14\)$"):
        models.build("a_users_own.nets:raises", 10)
    with pytest.raises(UserError, match=r"cannot be imported: SyntaxError: .*\(unfinished.py, line 2\)$"):
        models.check("a_users_own.unfinished:build")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nets:leaves", r"cannot be built: SystemExit: no GPU here \(.*nets.py:17\)"),
        ("asks:build", "cannot be imported: SystemExit: 2"),
        ("nets:scripted", "gives a scripted model; return the torch.nn.Module it was made from"),
        ("nets:compiled", "gives a compiled model; return the torch.nn.Module it was made from"),
        ("nets:meta", "gives weights on device meta, which hold no numbers"),
        ("nets:made", "is a model itself; name a function that takes num_classes and returns one"),
    ],
)
def test_what_is_no_builder_of_a_plain_model_is_named(package, capsys, name, said):
    with pytest.raises(UserError, match=said):
        models.build(f"a_users_own.{name}", 10)


def test_a_lazy_model_is_said_before_its_code_is_digested(package):
    with pytest.raises(UserError, match="is lazy and has no weights yet"):
        registry.code("a_users_own.nets:build", 7, 3)


def test_a_builder_without_in_channels_takes_what_its_first_layer_takes(package):
    assert models.build("a_users_own.nets:only_colour", 4, 3).out_channels == 4
    assert models.build("a_users_own.nets:only_grey", 4, 1).out_channels == 4
    with pytest.raises(UserError, match="takes 1 channels, the images have 3; say grayscale=true"):
        models.build("a_users_own.nets:only_grey", 4, 3)
    with pytest.raises(UserError, match="takes 3 channels, the images have 1"):
        models.build("a_users_own.nets:only_colour", 4, 1)


def test_torchvisions_builders_work_by_path():
    model = models.build("torchvision.models:squeezenet1_1", 4)
    assert isinstance(model, nn.Module)
    assert model.num_classes == 4
