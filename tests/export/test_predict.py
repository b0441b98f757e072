"""Predicting: the same pixels as in training, classes by name, what cannot be read named, no torch."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from kdlib import cli, data
from kdlib.errors import UserError
from kdlib.export import predict as predicting
from kdlib.export.network import Deployed


class Means(nn.Module):
    """Logits are the mean red, green and blue."""

    def forward(self, x):
        return x.mean((2, 3))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import onnx

    path = tmp_path_factory.mktemp("model") / "means.onnx"
    deployed = Deployed(Means(), [0.5] * 3, [0.25] * 3).eval()
    example = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    names = {"input_names": ["images"], "output_names": ["logits"], "dynamic_shapes": ({0: batch},)}
    torch.onnx.export(deployed, (example,), dynamo=True, **names).save(path)
    proto = onnx.load(path)
    about = {"classes": json.dumps(["kırmızı", "yeşil", "mavi"]), "channels": "3", "height": "8", "width": "8"}
    onnx.helper.set_model_props(proto, about)
    onnx.save(proto, path)
    return path


@pytest.fixture
def pictures(tmp_path):
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255))):
        Image.new("RGB", (20, 10), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_text("no image")
    (tmp_path / "notes.txt").write_text("passed over")
    return tmp_path


def test_classes_come_by_name_and_what_cannot_be_read_is_named(model, pictures):
    first, second, broken = predicting.predict(model, [pictures], top=2)
    assert first["classes"][0]["class"] == "kırmızı"
    assert second["classes"][0]["class"] == "mavi"
    # mean red is (1 - 0.5) / 0.25 = 2, the others -2: e² / (e² + 2 e⁻²)
    assert first["classes"][0]["probability"] == pytest.approx(np.e**2 / (np.e**2 + 2 * np.e**-2), abs=1e-5)
    assert len(first["classes"]) == 2
    assert broken["path"].endswith("broken.jpg")
    assert "cannot identify" in broken["error"]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
@pytest.mark.parametrize("asked", [{}, {"resize": "crop", "background": "black"}])
def test_pixels_are_those_of_training(tmp_path, mode, asked):
    noise = np.random.default_rng(0).integers(0, 255, (30, 21, 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(noise[..., 0]))
    for part in ("train", "test"):
        for k in range(6):
            folder = tmp_path / part / f"class{k % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{k}.{'tif' if mode == 'CMYK' else 'png'}")
    dataset = data.load("folder", data_root=tmp_path, image_size=16, **asked)
    path = next((tmp_path / "test" / "class0").iterdir())
    found = predicting._read(path, {"channels": "3", "height": "16", "width": "16", **asked})
    assert np.array_equal(found, dataset.test.images[0].numpy())
    said = dataset.describe()
    assert {key: said[key] for key in ("resize", "background") if key in said} == asked


def test_sixteen_bits_are_refused_as_their_scale_is_not_known(tmp_path):
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    found = predicting._read(tmp_path / "deep.png", {"channels": "3", "height": "8", "width": "8"})
    assert found.startswith("it has more than 8 bits a value")


def test_json_is_a_line_an_image_and_the_exit_code_says_what_failed(model, pictures, capsys):
    assert cli.main(["predict", str(model), str(pictures), "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 3
    assert "error" in found[2]
    assert cli.main(["predict", str(model), str(pictures / "a.png"), "--top", "1"]) == 0
    assert capsys.readouterr().out.strip().endswith("a.png: kırmızı 96.5%")


def test_what_is_no_exported_file_is_refused(tmp_path, model):
    with pytest.raises(UserError, match="is not there; write it with: kdlib export RUN"):
        predicting.open_file(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(UserError, match=r"text\.onnx is no ONNX file: "):
        predicting.open_file(tmp_path / "text.onnx")


def test_predicting_imports_no_torch(model, pictures):
    code = (
        "import sys\nfrom kdlib import cli\n"
        f"cli.main(['predict', {str(model)!r}, {str(pictures / 'a.png')!r}])\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
