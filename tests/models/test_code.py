"""What a record knows of a user's model beyond its name: its parameters and the files it was written in."""

import importlib
import sys

import pytest

from kdlib import models
from kdlib.models import registry
from kdlib.studies.parameters import parse, settle
from kdlib.studies.plan import plan

NET = """
from torch import nn

import shop.parts
from shop.parts import block

WIDTH = 8


def net(num_classes):
    return nn.Sequential(block(WIDTH), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, num_classes))
"""
PARTS = """
from torch import nn


def block(width):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU())
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A package of a user's; called with a file's name and text it writes that and imports all anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(**files: str):
        (tmp_path / "shop").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / "shop" / f"{name}.py").write_text(text)
        for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        registry._code.cache_clear()
        return models.code("shop.net:net", 4, 3)

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
    registry._code.cache_clear()


def test_the_same_code_is_the_same(shop):
    first = shop(__init__="", net=NET, parts=PARTS)
    assert set(first) == {"parameters", "source"}
    assert shop() == first


def test_other_shapes_are_other_code(shop):
    first = shop(__init__="", net=NET, parts=PARTS)
    second = shop(net=NET.replace("WIDTH = 8", "WIDTH = 12"))
    assert second["parameters"] != first["parameters"]
    assert second["source"] != first["source"]


def test_a_change_that_keeps_the_shapes_is_seen_also_in_a_file_that_is_imported(shop):
    first = shop(__init__="", net=NET, parts=PARTS)
    second = shop(parts=PARTS.replace("ReLU", "GELU"))
    assert second["parameters"] == first["parameters"]
    assert second["source"] != first["source"]


def test_what_others_of_the_package_do_does_not_matter_imported_or_not(shop):
    first = shop(__init__="", net=NET, parts=PARTS)
    assert shop(other="x = 1") == first
    importlib.import_module("shop.other")
    registry._code.cache_clear()
    assert models.code("shop.net:net", 4, 3) == first


def test_a_number_from_another_file_counts(shop):
    net = NET.replace("WIDTH = 8", "from shop.config import WIDTH, SLOPE")
    first = shop(__init__="", net=net, parts=PARTS, config="WIDTH = 8\nSLOPE = 0.1")
    assert shop(config="WIDTH = 8\nSLOPE = 0.9") != first


def test_so_does_a_neighbour_outside_of_the_package(shop, tmp_path):
    (tmp_path / "neighbour.py").write_text("slope = 0.1")
    first = shop(__init__="", net="from neighbour import slope\n" + NET, parts=PARTS)
    (tmp_path / "neighbour.py").write_text("slope = 0.9")
    assert shop() != first
    sys.modules.pop("neighbour")


def test_a_way_out_of_the_package_that_is_not_taken_does_not_matter(shop, tmp_path):
    (tmp_path / "neighbour.py").write_text("slope = 0.1")
    fallback = "try:\n    from ...far import slope\nexcept ImportError:\n    from neighbour import slope\n"
    first = shop(__init__="", net=fallback + NET, parts=PARTS)
    (tmp_path / "neighbour.py").write_text("slope = 0.9")
    assert shop() != first
    sys.modules.pop("neighbour")


def typed(text: str):
    """A builder as a notebook cell defines it: no file holds it."""
    names: dict = {"__name__": "__main__"}
    exec(compile("from torch import nn\n" + text, "<cell>", "exec"), names)
    return names["net"]


CELL = """
class Net(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * 2

def net(num_classes):
    return Net(nn.Flatten(), nn.Linear(192, num_classes))
"""


@pytest.mark.parametrize("change", [("* 2", "* 3"), ("nn.Flatten(), ", "nn.Flatten(), nn.ReLU(), ")])
def test_what_was_typed_is_known_by_its_byte_code(monkeypatch, change):
    digests = []
    for text in (CELL, "\n\n" + CELL, CELL.replace(*change)):
        monkeypatch.setitem(registry._BUILDERS, "typed", typed(text))
        digests.append(models.code("typed", 4, 3)["source"])
    assert digests[0] == digests[1] != digests[2]


def test_what_a_partial_fixes_counts(monkeypatch):
    from functools import partial

    def build(num_classes, width=8):
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Dropout(width / 100), nn.Linear(192, num_classes))

    digests = []
    for width in (8, 12):
        monkeypatch.setitem(registry._BUILDERS, "fixed", partial(build, width=width))
        digests.append(models.code("fixed", 4, 3)["source"])
    assert digests[0] != digests[1]


@pytest.mark.parametrize("name", ["cnn2", "resnet18_kd", "kdlib.models.cnn:cnn2"])
def test_kdlibs_own_models_are_known_by_name(name):
    assert models.code(name, 10, 3) is None


def test_a_registered_model_of_a_users_own(shop, monkeypatch):
    shop(__init__="", net=NET, parts=PARTS)
    monkeypatch.setitem(registry._BUILDERS, "shop_net", importlib.import_module("shop.net").net)
    assert models.code("shop_net", 4, 3) == models.code("shop.net:net", 4, 3)


def test_torchvisions_are_known_by_their_source():
    assert set(models.code("torchvision.models:squeezenet1_1", 10, 3)) == {"parameters", "source"}


def test_the_id_of_a_run_depends_on_it(shop, tiny):
    def ids() -> dict[str, str]:
        found = plan(settle(parse({"study": "cifar_conv", "profile": "smoke", "students": "shop.net:net"})), tiny)
        return {condition.role: condition.id for condition in found.conditions}

    shop(__init__="", net=NET, parts=PARTS)
    first = ids()
    shop(parts=PARTS.replace("ReLU", "GELU"))
    second = ids()
    assert first["teacher"] == second["teacher"]
    assert not {first["student"], first["baseline"]} & {second["student"], second["baseline"]}
