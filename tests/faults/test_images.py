"""Pictures and folders as they come: a right result or one line, and nothing written outside the output folder."""

import io
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdlib.cli import main
from kdlib.data import load
from kdlib.errors import UserError
from kdlib.studies import notebook

FORMATS = ("png", "jpeg", "bmp", "gif", "tiff", "webp", "ppm")


def picture(shade: int = 90, mode: str = "RGB", size=(9, 9)) -> Image.Image:
    image = Image.new("RGB", size, (shade, 40, 200))
    image.paste((250, 250, 10), (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def tree(root: Path, *names: str, count: int = 4) -> Path:
    for part in ("train", "test"):
        for label in names or ("a", "b"):
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(count * (3 if part == "train" else 1)):
                picture(20 * i).save(folder / f"{i}.png")
    return root


def loaded(root: Path, **options):
    return load("folder", data_root=root, **{"image_size": 8, "train_size": None, "test_size": None, **options})


def png(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG that says it has a size, whatever it holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def saved(form: str, **options) -> bytes:
    file = io.BytesIO()
    picture().save(file, form, **options)
    return file.getvalue()


BROKEN = {
    "empty.png": b"",
    "one_byte.png": b"\x89",
    "text.png": b"<html>not found</html>",
    "half.jpg": saved("jpeg")[:200],
    "half.png": saved("png")[:60],
    "bomb.png": png(60_000, 60_000),
    "larger.png": png(2**31 - 1, 2**31 - 1),
    "no_width.png": png(0, 5),
    "short.png": png(9, 9, b"\0" * 10),
    "pickle.jpg": b"\x80\x04cos\nsystem\n.",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(tmp_path, name):
    (tree(tmp_path) / "train" / "b" / name).write_bytes(BROKEN[name])
    with pytest.raises(UserError, match=f"cannot read image .*{name} \\(.*\\): replace or remove it") as error:
        loaded(tmp_path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what it passes over
@pytest.mark.parametrize("form", FORMATS)
def test_files_damaged_anywhere_are_read_or_named(tmp_path, form):
    tree(tmp_path)
    whole, chance, file = saved(form), random.Random(form), tmp_path / "train" / "a" / f"0.{form}"
    (tmp_path / "train" / "a" / "0.png").unlink()
    for _ in range(15):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        file.write_bytes(content[: chance.randint(1, len(content))] if chance.random() < 0.3 else content)
        try:
            assert len(loaded(tmp_path).train) + len(loaded(tmp_path).val) == 24
        except UserError as error:
            assert str(file) in str(error)  # noqa: PT017


MODES = {
    "cmyk.jpg": picture(mode="CMYK"),
    "grey.png": picture(mode="L"),
    "grey_alpha.png": picture(mode="LA"),
    "alpha.png": picture(mode="RGBA"),
    "palette.png": picture(mode="P"),
    "one_bit.png": picture(mode="1"),
    "png_inside.jpg": picture(),
    "sixteen.png": Image.fromarray(np.full((9, 9), 40_000, np.uint16)),
    "thin.png": picture(size=(1, 3000)),
    "dot.png": picture(size=(1, 1)),
}


@pytest.mark.parametrize("name", MODES)
def test_every_kind_of_picture_becomes_pixels(tmp_path, name):
    forms = {"png_inside.jpg": "png"}
    MODES[name].save(tree(tmp_path) / "train" / "a" / name, forms.get(name))
    found = loaded(tmp_path)
    assert found.shape == (3, 8, 8)
    assert len(found.train) + len(found.val) == 25


def test_the_first_frame_counts_and_what_lies_on_its_side_is_turned(tmp_path):
    frames = [picture(shade) for shade in (0, 120, 240)]
    frames[0].save(tree(tmp_path / "a") / "test" / "a" / "0.gif", save_all=True, append_images=frames[1:])
    upright = picture(size=(8, 8))
    exif = Image.Exif()
    exif[274] = 6
    for part, image, options in (("b", upright, {}), ("c", upright.rotate(90), {"exif": exif})):
        image.save(tree(tmp_path / part) / "test" / "a" / "0.png", **options)
    assert (loaded(tmp_path / "b").test.images == loaded(tmp_path / "c").test.images).all()
    first = np.asarray(frames[0].resize((8, 8), Image.Resampling.BILINEAR))
    pictures = loaded(tmp_path / "a").test.images.permute(0, 2, 3, 1).numpy()
    assert any(np.abs(one.astype(int) - first).max() < 8 for one in pictures)


# Folders


ODD = (
    "with space",
    "ığüşöç İ",
    "<script>alert(1)</script>".replace("/", "∕"),
    "a.b..c",
    "%s {0} $x",
    "-rf",
    "'\"",
    "犬",
)


def snapshot(root: Path) -> dict[str, tuple]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in sorted(root.rglob("*"))}


def test_odd_names_come_through_and_nothing_is_written_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebook, "execute_all", lambda experiments: (0.0 for _ in experiments))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root, here = tree(tmp_path / "the images & <more>", *ODD), tmp_path / "here"
    here.mkdir()
    outside = tmp_path / "outside"
    tree(outside)
    (root / "train" / "-rf" / "linked").symlink_to(outside / "train" / "a")
    monkeypatch.chdir(here)
    before = [snapshot(folder) for folder in (root, here, outside)]
    values = {"dataset": "folder", "image_size": "20", "teacher": "conv3", "students": "cnn2", "T": "1", "alpha": "0.1"}
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    place = ["--data-root", str(root), "--output-dir", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["run", "cnn_grid", "--profile", "smoke", *place, *words]) == 0
    assert [snapshot(folder) for folder in (root, here, outside)] == before
    assert {path.name for path in tmp_path.iterdir()} <= {root.name, "here", "outside", "out", "cache"}
    assert set(loaded(root).classes) == set(ODD)
    assert main(["report", "--profile", "smoke", "--output-dir", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "smoke" / "report.en.html").read_text()
    assert ODD[2] not in page
    assert [snapshot(folder) for folder in (root, here, outside)] == before


def test_links_to_nowhere_and_in_circles_end_in_a_line(tmp_path):
    tree(tmp_path)
    (tmp_path / "train" / "a" / "again").symlink_to(tmp_path / "train")
    (tmp_path / "train" / "b" / "circle").symlink_to(tmp_path / "train" / "b" / "circle")
    assert len(loaded(tmp_path).train) + len(loaded(tmp_path).val) == 24
    (tmp_path / "train" / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match=r"gone\.png \(no such file\)"):
        loaded(tmp_path)


def test_a_folder_where_an_image_should_be(tmp_path):
    (tree(tmp_path) / "train" / "a" / "folder.png").mkdir()
    assert len(loaded(tmp_path).train) + len(loaded(tmp_path).val) == 24


def test_a_pipe_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tree(tmp_path) / "train" / "a" / "pipe.png")
    assert len(loaded(tmp_path).train) + len(loaded(tmp_path).val) == 24
    assert f"skipped in {tmp_path}: 1 files that are no images (.png 1)" in capsys.readouterr().err
