"""``--image``: files, URLs and variables become parts of the message; anything else is refused in one sentence."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.images import MAX_BYTES, image_part


def picture(kind="PNG", size=(4, 3)):
    held = io.BytesIO()
    Image.new("RGB", size, "teal").save(held, format=kind)
    return held.getvalue()


def decoded(part):
    header, _, body = part["image_url"]["url"].partition(",")
    return header, Image.open(io.BytesIO(base64.b64decode(body)))


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


MISTAKES = {
    "text called .png": (b"city,cups\nOslo,310\n", "is not an image: it holds text ('city,cups Oslo,310'…)"),
    "empty": (b"", "is empty."),
    "bmp": (picture("BMP"), "is not an image: it holds a BMP. Models accept PNG, JPEG, GIF, WebP."),
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
        ("nowhere.png", "There is no file or variable 'nowhere.png'"),
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
