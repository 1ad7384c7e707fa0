"""Images in columns of an experiment, and in the messages of its rows."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ipyllm import Experiment, LLMError, OpenAIService
from ipyllm.experiment.prompts import read_prompts
from tests.images import figure, picture, png


def url(data):
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def parts(source, template="What is it?", images="photo"):
    return [prompt.messages[-1]["content"] for prompt in read_prompts(source, template, images=images)[0]]


def refusal(source, template="What is it?", images="photo"):
    with pytest.raises(LLMError) as caught:
        read_prompts(source, template, images=images)
    return str(caught.value)


def asked_images(server):
    found = []
    for request in server.requests:
        content = request.json["messages"][-1]["content"]
        found.append([part["image_url"]["url"] for part in content if part["type"] == "image_url"])
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for colour in ("teal", "navy"):
        (tmp_path / f"{colour}.png").write_bytes(png(colour))
    return tmp_path


KINDS = {
    "a path": lambda folder: str(folder / "teal.png"),
    "a relative path": lambda folder: "teal.png",
    "a Path": lambda folder: folder / "teal.png",
    "bytes": lambda folder: png(),
    "Pillow": lambda folder: picture(),
    "an array": lambda folder: np.array(picture()),
    "a dataset's": lambda folder: {"bytes": png(), "path": "000001.png"},
    "a data URL": lambda folder: url(png()),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_image_is_sent_with_the_text(name, folder):
    ((text, image),) = parts([{"photo": KINDS[name](folder), "label": "teal"}])
    assert text == {"type": "text", "text": "What is it?"}
    head, _, body = image["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB").getpixel((0, 0)) == (0, 128, 128)


def test_an_address_is_passed_on_and_a_figure_is_drawn():
    ((_, address), (_, drawn)) = parts([{"photo": "https://example.com/x"}, {"photo": figure()}])
    assert address == {"type": "image_url", "image_url": {"url": "https://example.com/x"}}
    assert drawn["image_url"]["url"].startswith("data:image/png;base64,")


def test_several_columns_lists_and_no_image(folder):
    rows = [
        {"text": "Which is blue?", "left": "teal.png", "right": ["navy.png", "teal.png"]},
        {"text": "Hello", "left": None, "right": float("nan")},
    ]
    first, second = parts(rows, "{{ text }}", images=["left", "right"])
    assert [part["type"] for part in first] == ["text", "image_url", "image_url", "image_url"]
    assert first[1] == first[3] != first[2]
    assert second == "Hello"


def test_images_reach_the_server_and_running_again_asks_nothing_twice(model, server, folder):
    def run(rows):
        return Experiment(rows, "What is it?", images="photo", models=model(), warmup=0, name="photos").run(
            progress=False
        )

    results = run([{"photo": "teal.png"}, {"photo": "navy.png"}])
    assert sorted(asked_images(server)) == sorted([[url(png("teal"))], [url(png("navy"))]])
    assert results.calls["prompt"].tolist() == ["What is it?", "What is it?"]
    run([{"photo": (folder / "teal.png").read_bytes()}, {"photo": str(folder / "navy.png")}])
    assert len(server.requests) == 2, "an image is identified by its contents"
    (folder / "navy.png").write_bytes(png("red"))
    with pytest.warns(UserWarning, match="has changed"):
        run([{"photo": "teal.png"}, {"photo": "navy.png"}])
    assert asked_images(server)[2:] == [[url(png("red"))]]


def test_a_file_that_changes_before_it_is_sent_stops_the_run_with_a_sentence(model, server, folder):
    experiment = Experiment([{"photo": "teal.png"}], "What is it?", images="photo", models=model(), warmup=0)
    (folder / "teal.png").write_bytes(png("red"))
    with pytest.warns(UserWarning, match="The image in 'photo' of row 0 has changed since the experiment was made"):
        experiment.run(progress=False)
    (folder / "teal.png").unlink()
    with pytest.warns(UserWarning, match="The image in 'photo' of row 0 cannot be read: there is no file"):
        experiment.run(progress=False)
    assert not server.requests


def test_images_in_messages_may_be_paths_and_pictures(folder):
    def message(source, **options):
        content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": source, **options}}]
        return [{"role": "user", "content": content}]

    rows = [message("teal.png", detail="low"), message(picture("navy")), message("https://example.com/x")]
    found = [messages[-1]["content"][1]["image_url"] for messages in (p.messages for p in read_prompts(rows)[0])]
    assert found == [{"detail": "low", "url": url(png())}, {"url": url(png("navy"))}, {"url": "https://example.com/x"}]


def test_an_image_is_added_to_the_last_message_of_a_row(folder):
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "?"}], "photo": "teal.png"}
    (prompt,), _ = read_prompts([row], images="photo")
    assert prompt.messages[0]["content"] == "Hi"
    assert [part["type"] for part in prompt.messages[1]["content"]] == ["text", "image_url"]
    row["messages"].append({"role": "assistant", "content": "A tree."})
    with pytest.raises(LLMError, match="Row 0 has an image for its last message, which is no question"):
        read_prompts([row], images="photo")


def test_workers_need_no_file(model, server, folder):
    """A chunk holds the images: a worker may be another machine."""
    import pickle

    from ipyllm.experiment.remote_chunk import Chunk
    from ipyllm.experiment.run_config import RunConfig

    experiment = Experiment([{"photo": "teal.png"}], "?", images="photo", models=model(), warmup=0)
    trials = list(experiment.grid.trials.values())
    config = RunConfig("photos", "", 0, None, experiment.ledger, experiment._spending)
    held = pickle.dumps(Chunk.of(trials, config))
    (folder / "teal.png").unlink()
    assert pickle.loads(held).unpack()[0].messages[-1]["content"][1]["image_url"]["url"] == url(png())


def test_images_are_sent_by_an_executor(model, server, folder):
    experiment = Experiment([{"photo": picture()}], "?", images="photo", models=model(), warmup=0)
    with ThreadPoolExecutor(1) as executor:
        results = experiment.run(executor, progress=False)
    assert results.state == "1 of 1 calls have an answer."
    assert asked_images(server) == [[url(png())]]


def test_a_model_that_reads_no_images_is_refused_before_anything_is_sent(server, own_settings):
    (own_settings / "config.toml").write_text('[profiles."openai/blind"]\nimages = false\n')
    blind = OpenAIService("blind", base_url=server.base_url, api_key="x")
    with pytest.raises(LLMError, match="openai/blind reads no images"):
        Experiment([{"photo": picture()}], "What is it?", images="photo", models=blind)
    assert not server.requests


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": "foto"}, "There is no column 'foto' with images. Did you mean 'photo'?"),
        ({"images": picture()}, "images must be the name of a column"),
        ({"template": None}, "What is asked about the images?"),
        ({"template": "What is {{ photo }}?"}, "which is a column of images, sent with the text"),
        (
            {"source": [{"photo": b"PK\x03\x04"}]},
            "The image in 'photo' of row 0 is not an image: it holds a ZIP archive",
        ),
        ({"source": [{"photo": "nowhere.png"}]}, "The image in 'photo' of row 0 cannot be read: there is no file"),
        ({"source": [{"photo": {"label": 3}}]}, "The image in 'photo' of row 0 is a dict without an image"),
    ],
    ids=["typo", "no name", "no question", "in the text", "zip", "missing", "dict"],
)
def test_mistakes_with_images_are_one_sentence(options, said):
    assert said in refusal(**{"source": pd.DataFrame({"photo": [png()]}), **options})


def test_a_column_of_images_alone_is_no_prompt():
    with pytest.raises(LLMError, match="an image: give images='photo'"):
        read_prompts(pd.DataFrame({"photo": [picture()]}))
