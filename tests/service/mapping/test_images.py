"""Columns of images: sent with the prompt, identified by their contents, refused or failed row by row."""

from __future__ import annotations

import base64
import io
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from ipyllm import LLMError, OpenAIService, llm_map, usage
from tests.fakes import answer
from tests.images import figure, picture, png


def mapped(data, template="What is it?", images="photo", **options):
    return llm_map(data, template, images=images, progress=False, **options)


def sent(request):
    """Return the text of a request, and the files of its images."""
    text, *images = request.json["messages"][-1]["content"]
    return text["text"], [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in images]


def colour_of(data):
    return Image.open(io.BytesIO(data)).convert("RGB").getpixel((0, 0))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for colour in ("teal", "navy"):
        (tmp_path / f"{colour}.png").write_bytes(png(colour))
    return tmp_path


@pytest.fixture
def painter(server):
    """Let the server answer with the colours that it sees."""
    server.on(lambda request: answer(" ".join(bytes(colour_of(image)).hex() for image in sent(request)[1])))
    return server


KINDS = {
    "a path": lambda folder: "teal.png",
    "a Path": lambda folder: folder / "teal.png",
    "bytes": lambda folder: png(),
    "Pillow": lambda folder: picture(),
    "an array": lambda folder: np.array(picture()),
    "a dataset's": lambda folder: {"bytes": png(), "path": None},
    "a data URL": lambda folder: "data:image/png;base64," + base64.b64encode(png()).decode(),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_cell_of_every_kind_of_image_is_sent_after_the_prompt(model, painter, folder, name):
    frame = pd.DataFrame({"photo": [KINDS[name](folder)], "what": ["leaf"]}, index=["a"])
    assert mapped(frame, "Which colour has the {{ what }}?", model=model).to_dict() == {"a": "008080"}
    assert sent(painter.requests[0])[0] == "Which colour has the leaf?"


def test_a_figure_is_drawn(model, server):
    mapped(pd.DataFrame({"photo": [figure()]}), model=model)
    assert Image.open(io.BytesIO(sent(server.requests[0])[1][0])).size[0] > 50


def test_several_columns_and_lists_are_sent_together(model, painter, folder):
    frame = pd.DataFrame({"left": ["teal.png", None], "right": [["navy.png", "teal.png"], "navy.png"]})
    assert mapped(frame, images=["left", "right"], model=model).tolist() == ["008080 000080 008080", "000080"]


@pytest.mark.parametrize("images", ["value", "photo"])
def test_a_series_of_images_of_pandas_or_polars(model, painter, folder, images):
    paths = ["teal.png", "navy.png"]
    assert mapped(pd.Series(paths, name="photo"), images=images, model=model).tolist() == ["008080", "000080"]
    found = mapped(pl.Series("photo", paths), images=images, model=model)
    assert (type(found), found.to_list()) == (pl.Series, ["008080", "000080"])
    assert pd.Series(paths).llm.map("?", images="value", model=model, progress=False).tolist() == ["008080", "000080"]


def test_pictures_can_be_classified(model, server, folder):
    server.on(lambda request: answer("blue" if colour_of(sent(request)[1][0])[1] == 0 else "green"))
    frame = pd.DataFrame({"photo": ["teal.png", "navy.png"]})
    found = frame.llm.classify("Which?", images="photo", labels=["blue", "green"], model=model, progress=False)
    assert (str(found.dtype), found.tolist()) == ("category", ["green", "blue"])


# ---- equal and earlier ones ------------------------------------------------------------------------


def test_images_are_told_apart_by_their_contents(model, painter, folder):
    frame = pd.DataFrame({"photo": ["teal.png", png("teal"), "navy.png", picture("navy"), png("red")]})
    found = mapped(frame, model=model)
    assert found.tolist() == ["008080", "008080", "000080", "000080", "ff0000"]
    assert len(painter.requests) == 3


def test_the_same_again_asks_for_what_is_new_and_a_changed_file_is_new(model, painter, folder):
    frame = pd.DataFrame({"photo": ["teal.png", "navy.png"]})
    mapped(frame, model=model)
    longer = pd.concat([frame, pd.DataFrame({"photo": [png("red")]})])
    assert mapped(longer, model=model).tolist() == ["008080", "000080", "ff0000"]
    assert len(painter.requests) == 3
    (folder / "navy.png").write_bytes(png("white"))
    assert mapped(frame, model=model).tolist() == ["008080", "ffffff"]
    assert len(painter.requests) == 4
    assert set(usage(kernel=None)["prompt"]) == {"What is it?"}


def test_a_prompt_without_images_is_another_question(model, server, folder):
    frame = pd.DataFrame({"photo": ["teal.png"], "text": ["What is it?"]})
    server.on(lambda request: answer("text" if isinstance(request.json["messages"][-1]["content"], str) else "image"))
    assert mapped(frame, "{{ text }}", model=model).tolist() == ["image"]
    assert mapped(frame, "{{ text }}", images=None, model=model).tolist() == ["text"]


# ---- rows without one ------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, np.nan, []], ids=["None", "NaN", "empty"])
def test_a_row_without_an_image_is_null_and_not_asked_about(model, painter, folder, missing):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mapped(pd.DataFrame({"photo": ["teal.png", missing]}), model=model)
    assert found.isna().tolist() == [False, True]
    assert found.llm.errors().to_numpy().tolist() == [[1, "no_prompt", "The row has no image in 'photo'."]]
    assert len(painter.requests) == 1


def test_an_image_that_cannot_be_read_fails_its_row_only(model, painter, folder):
    frame = pd.DataFrame({"photo": ["teal.png", "gone.png", b"PK\x03\x04"]})
    with pytest.warns(UserWarning, match=r"2 of 3 rows have no answer \(bad_request 2\)"):
        found = mapped(frame, model=model)
    assert found.tolist()[0] == "008080"
    _, gone, archive = [None, *found.llm.errors()["message"]]
    assert re.match(r"The image in 'photo' of row 1 cannot be read: there is no file 'gone.png'", gone)
    assert archive.startswith("The image in 'photo' of row 2 is not an image: it holds a ZIP archive")
    (folder / "gone.png").write_bytes(png("navy"))
    assert mapped(frame[:2], model=model).tolist() == ["008080", "000080"]
    assert len(painter.requests) == 2


def test_a_file_that_changes_while_others_are_asked_is_no_matter_of_the_budget(model, server, folder):
    def change_the_other(_):
        (folder / "navy.png").write_bytes(png("red"))
        return answer("Seen.")

    server.on(change_the_other)
    frame = pd.DataFrame({"photo": ["teal.png", "navy.png"]})
    with pytest.warns(UserWarning, match=r"1 of 2 rows has no answer \(bad_request 1\)"):
        found = mapped(frame, model=model, concurrency=1)
    assert found.tolist()[0] == "Seen."
    assert "photo' of row 1 has changed since" in found.llm.errors()["message"].iloc[0]


# ---- refused ---------------------------------------------------------------------------------------


def test_a_model_that_reads_no_images_is_refused_before_anything_is_sent(server, own_settings, folder):
    (own_settings / "config.toml").write_text('[profiles."openai/blind"]\nimages = false\n')
    blind = OpenAIService("blind", base_url=server.base_url, api_key="x")
    with pytest.raises(LLMError, match="openai/blind reads no images; use a model that does") as caught:
        mapped(pd.DataFrame({"photo": ["teal.png"]}), model=blind)
    assert caught.value.category == "bad_request"
    assert not server.requests


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": "foto"}, "There is no column 'foto' with images. Did you mean 'photo'?"),
        ({"images": 3}, "images must be the name of a column"),
        ({"template": None}, "What is asked about the images? Give a template"),
        ({"template": "What is {{ photo }}?"}, "which is a column of images, sent with the text: leave it out"),
        ({"data": pd.DataFrame({"photo": ["gone.png", "lost.png"]})}, "The image in 'photo' of row 0 cannot be read"),
    ],
    ids=["typo", "no name", "no question", "in the text", "none readable"],
)
def test_mistakes_are_one_sentence_before_anything_is_sent(model, server, folder, options, said):
    with pytest.raises(LLMError) as caught:
        mapped(**{"data": pd.DataFrame({"photo": ["teal.png"]}), "model": model, **options})
    assert said in str(caught.value)
    assert not server.requests
