"""``--image``: files, URLs and variables become parts of the message; anything else is refused in one sentence."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ipyllm.images import MAX_BYTES
from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.images import image_part


def picture(kind="PNG", size=(4, 3)):
    held = io.BytesIO()
    Image.new("RGB", size, "teal").save(held, format=kind)
    return held.getvalue()


def decoded(part):
    header, _, body = part["image_url"]["url"].partition(",")
    return header, Image.open(io.BytesIO(base64.b64decode(body)))


def grey(numbers, mode):
    """A picture of one row with these numbers as its pixels."""
    made = Image.new(mode, (len(numbers), 1))
    made.putdata(numbers)
    return made


def figure():
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([1, 2])
    return drawn


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plot.png").write_bytes(picture())
    return tmp_path


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_file_is_what_its_first_bytes_say_not_its_name(folder, kind):
    (folder / "misnamed.png").write_bytes(picture(kind))
    header, shown = decoded(image_part("misnamed.png", {}))
    assert header == f"data:image/{kind.lower()};base64"
    assert shown.format == kind


VALUES = {
    "bytes": picture,
    "a bytearray": lambda: bytearray(picture()),
    "a PIL picture": lambda: Image.new("RGB", (4, 3)),
    "a grey array": lambda: np.zeros((3, 4), np.uint8),
    "an array of fractions": lambda: np.full((3, 4, 3), 0.5),
    "an array with alpha": lambda: np.full((3, 4, 4), 255),
    "a mask": lambda: np.eye(3, 4, dtype=bool),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_variable_can_be_a_picture(name):
    header, shown = decoded(image_part("it", {"it": VALUES[name]()}))
    assert (header, shown.size) == ("data:image/png;base64", (4, 3))


def test_a_figure_and_its_axes_are_drawn():
    drawn = figure()
    for value in (drawn, drawn.axes[0]):
        _, shown = decoded(image_part("it", {"it": value}))
        assert shown.size[0] > 50


def test_a_variable_can_hold_a_path_or_an_address(folder):
    from pathlib import Path

    for value in ("plot.png", Path("plot.png"), folder / "plot.png"):
        assert image_part("it", {"it": value})["image_url"]["url"].startswith("data:image/png")
    assert image_part("it", {"it": "https://example.com/x"})["image_url"]["url"] == "https://example.com/x"


def test_what_a_notebook_displayed_can_be_sent_again():
    from IPython.display import Image as Displayed

    assert decoded(image_part("it", {"it": Displayed(data=picture())}))[1].size == (4, 3)


TEAL = (0, 128, 128)
COLOURS = ["RGB", "RGBA", "RGBX", "RGBa", "P", "CMYK", "YCbCr", "HSV"]


@pytest.mark.parametrize("mode", COLOURS)
def test_a_picture_keeps_its_colours_in_whatever_mode_it_is(mode):
    made = Image.new("RGBA" if mode == "RGBa" else "RGB", (4, 3), TEAL)
    header, shown = decoded(image_part("it", {"it": made.quantize(8) if mode == "P" else made.convert(mode)}))
    assert header == "data:image/png;base64"
    assert shown.mode in {"P", "RGB", "RGBA"}
    near = zip(shown.convert("RGB").getpixel((0, 0)), TEAL, strict=True)
    assert all(abs(one - other) <= 3 for one, other in near)


@pytest.mark.parametrize(
    ("mode", "numbers", "shades"),
    [
        ("1", [0, 255], [0, 255]),
        ("L", [0, 51, 255], [0, 51, 255]),
        ("I", [0, 51, 255], [0, 51, 255]),
        ("I", [0, 13107, 65535], [0, 51, 255]),
        ("I", [-100, 0, 400], [0, 51, 255]),
        ("I;16", [0, 13107, 65535], [0, 51, 255]),
        ("I;16", [0, 257, 514], [0, 1, 2]),
        ("F", [0, 0.2, 1], [0, 51, 255]),
        ("F", [0, 51, 255], [0, 51, 255]),
        ("F", [-1, 0, 4], [0, 51, 255]),
        ("F", [0, 200, 1000], [0, 51, 255]),
        ("F", [7, 7, 7], [7, 7, 7]),
        ("F", [-7, -7], [0, 0]),
    ],
)
def test_numbers_become_shades_of_grey(mode, numbers, shades):
    _, shown = decoded(image_part("it", {"it": grey(numbers, mode)}))
    assert shown.mode in {"1", "L"}
    assert list(shown.convert("L").tobytes()) == shades


def test_transparency_stays():
    for mode in ("LA", "RGBA", "PA"):
        made = Image.new("RGBA", (4, 3), (*TEAL, 0))
        made = made.convert("P").convert("PA") if mode == "PA" else made.convert(mode)
        if mode == "PA":
            made.putalpha(0)
        _, shown = decoded(image_part("it", {"it": made}))
        assert shown.convert("RGBA").getpixel((0, 0))[3] == 0


def test_a_photo_is_turned_as_its_camera_was_held():
    made = Image.new("RGB", (4, 3))
    made.getexif()[0x0112] = 6  # orientation: turned by 90°
    assert decoded(image_part("it", {"it": made}))[1].size == (3, 4)


@pytest.mark.parametrize("exif", [False, True])
def test_a_jpeg_for_printing_is_sent_in_rgb(folder, exif):
    options = {"exif": b"Exif\x00\x00" + bytes(40)} if exif else {}
    Image.new("RGB", (4, 3), TEAL).convert("CMYK").save(folder / "print.jpg", **options)
    header, shown = decoded(image_part("print.jpg", {}))
    assert (header, shown.mode) == ("data:image/png;base64", "RGB")
    assert all(abs(one - other) <= 6 for one, other in zip(shown.getpixel((0, 0)), TEAL, strict=True))
    whole = (folder / "print.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MagicError, match=r"^The image 'broken\.jpg' cannot be read: "):
        image_part("broken.jpg", {})


def test_a_closed_or_empty_picture_and_one_with_nan_are_one_sentence(folder):
    closed = Image.open("plot.png")
    closed.close()
    for value, sentence in (
        (closed, "The variable 'it' cannot be converted: "),
        (Image.new("RGB", (0, 3)), "The variable 'it' cannot be converted: "),
        (grey([0, float("nan")], "F"), "The variable 'it' holds nan or infinite values"),
    ):
        with pytest.raises(MagicError) as caught:
            image_part("it", {"it": value})
        assert str(caught.value).startswith(sentence)


MISTAKES = {
    "text called .png": (b"city,cups\nOslo,310\n", "is not an image: it holds text ('city,cups Oslo,310'…)"),
    "empty": (b"", "is empty."),
    "bmp": (
        picture("BMP"),
        "is not an image: it holds a BMP. Models accept PNG, JPEG, GIF, WebP. Open it with PIL.Image.open",
    ),
    "svg": (b"<svg xmlns='x'></svg>", "it holds an SVG"),
    "pdf": (b"%PDF-1.7\n", "it holds a PDF"),
    "noise": (bytes(range(256)), "it holds bytes of an unknown type"),
    "an escape sequence": (b"\x1b]0;gotcha\x07 and more", "it holds bytes of an unknown type"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_file_that_is_no_picture_is_one_sentence(folder, name):
    data, sentence = MISTAKES[name]
    (folder / "wrong.png").write_bytes(data)
    with pytest.raises(MagicError) as caught:
        image_part("wrong.png", {})
    assert sentence in str(caught.value)


def test_a_picture_of_50_mb_is_one_sentence_and_is_not_read(folder):
    with (folder / "huge.png").open("wb") as file:
        file.write(picture())
        file.truncate(50_000_000)
    with pytest.raises(MagicError, match=r"The image 'huge\.png' has 50 MB; at most 20 MB can be sent"):
        image_part("huge.png", {})
    with pytest.raises(MagicError, match="The variable 'it' has 50 MB"):
        image_part("it", {"it": picture() + bytes(50_000_000)})
    with pytest.raises(MagicError, match="at most 20 MB"):
        image_part("data:image/png;base64," + "A" * (2 * MAX_BYTES), {})


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.zeros((2, 2, 2)), "is not an image: it has 2 × 2 × 2"),
        (np.zeros(0), "is not an image: it has 0"),
        (np.array([[1.5]]), "floats must be between 0 and 1"),
        (np.array([[np.nan]]), "floats must be between 0 and 1"),
        (np.array([[300]]), "its values must be integers from 0 to 255"),
        (np.array([["a"]]), "its values must be integers from 0 to 255"),
        (5, "is not an image but of type int"),
        ("nowhere.png", "there is no file 'nowhere.png'"),
        ("\0", "cannot be read"),
    ],
)
def test_a_variable_that_is_no_picture_is_one_sentence(value, sentence):
    with pytest.raises(MagicError) as caught:
        image_part("it", {"it": value})
    assert sentence in str(caught.value)


def test_a_missing_file_is_answered_with_what_was_probably_meant(folder):
    with pytest.raises(MagicError, match=r"Did you mean 'plot\.png'\?"):
        image_part("plto.png", {})
    with pytest.raises(MagicError, match="There is no folder 'nowhere' either"):
        image_part("nowhere/plot.png", {})
    with pytest.raises(MagicError, match=r"Did you mean 'photo'\?"):
        image_part("phtoo", {"photo": picture()})
