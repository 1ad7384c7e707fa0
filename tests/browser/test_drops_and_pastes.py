"""Files dropped into a chat or pasted, by the browser's own events of the mouse and the clipboard."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from tests.browser.chat import PNG, lab_with_fake, opened
from tests.browser.compare import Compare
from tests.browser.lab import Lab, Notebook7, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]


@pytest.fixture(
    scope="module", params=[Lab, pytest.param(Notebook7, marks=pytest.mark.thorough)], ids=["lab", "notebook-7"]
)
def lab_and_fake(request, tmp_path_factory):
    with lab_with_fake(tmp_path_factory.mktemp("drops"), page=request.param, env={"IPYLLM_MAX_RETRIES": "0"}) as both:
        yield both


@contextmanager
def dragged(chat, *paths):
    """Drag files from outside the browser; the function moves them over an element, by the given last step."""
    session = chat.page.context.new_cdp_session(chat.page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}

    def move(element, *steps):
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in steps or ("dragEnter", "dragOver"):
            session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **at})

    yield move
    session.detach()


def drop(chat, element, *paths):
    """Drop files on an element."""
    with dragged(chat, *paths) as move:
        move(element, "dragEnter", "dragOver", "drop")


def names(chat):
    return chat.root.locator(".ipyllm-draft [aria-label^=Remove]").evaluate_all(
        "buttons => buttons.map(button => button.getAttribute('aria-label').slice('Remove '.length))"
    )


def copy(page, **texts):
    """Put a picture into the clipboard, and texts by type, with ``_`` for the slash."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async texts => {
            const canvas = new OffscreenCanvas(10, 10);
            canvas.getContext('2d').fillRect(0, 0, 10, 10);
            const item = {'image/png': await canvas.convertToBlob({type: 'image/png'})};
            for (const [name, text] of Object.entries(texts)) {
                const type = name.replace('_', '/');
                item[type] = new Blob([text], {type});
            }
            await navigator.clipboard.write([new ClipboardItem(item)]);
        }""",
        texts,
    )


def test_files_are_dropped_anywhere_in_the_chat_and_sent(lab, fake, tmp_path):
    _, chat = opened(lab)
    image, table = tmp_path / "square.png", tmp_path / "table.csv"
    image.write_bytes(PNG)
    table.write_text("a,b\n1,2\n")
    drop(chat, chat.log, image)
    drop(chat, chat.box, table)
    chat.button("Remove table.csv").wait_for()
    assert names(chat) == ["square.png", "table.csv"]
    assert chat.box.input_value() == ""
    chat.ask("What are these?")
    parts = fake.requests[-1].json["messages"][-1]["content"]
    assert [part["type"] for part in parts].count("image_url") == 1
    assert "1,2" in str(parts)


def test_the_composer_shows_where_files_will_fall_and_no_longer_when_they_leave(lab, tmp_path):
    _, chat = opened(lab)
    image = tmp_path / "square.png"
    image.write_bytes(PNG)
    dropping = chat.root.locator(".ipyllm-dropping")
    with dragged(chat, image) as move:
        move(chat.log)
        dropping.wait_for()
        move(chat.box)
        dropping.wait_for()
        move(lab.page.locator(".jp-InputArea-editor").first)
        dropping.wait_for(state="detached")
    assert names(chat) == []


def test_a_folder_is_refused_in_one_sentence(lab, tmp_path):
    _, chat = opened(lab)
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "one.txt").write_text("one")
    drop(chat, chat.log, folder)
    chat.notice.get_by_text("“papers” is a folder: add the files in it.").wait_for()
    assert names(chat) == []


def test_an_image_from_the_clipboard_is_added_and_text_of_a_document_is_pasted_as_text(lab):
    _, chat = opened(lab)
    page = chat.page
    copy(page)
    chat.box.focus()
    page.keyboard.press("Control+v")
    chat.root.locator(".ipyllm-thumbnail img").wait_for()
    # Word, Excel and PowerPoint put a picture of the text beside it.
    copy(page, text_html="<b>Total</b>", text_plain="Total")
    page.keyboard.press("Control+v")
    chat.wait_for("chat => chat.querySelector('.ipyllm-composer textarea').value === 'Total'")
    assert chat.root.locator(".ipyllm-thumbnail img").count() == 1


def test_a_comparison_takes_dropped_files_too(lab, fake, tmp_path):
    image = tmp_path / "square.png"
    image.write_bytes(PNG)
    source = "from ipyllm import CompareWidget\nCompareWidget(models=['openai/good', 'openai/bad'])"
    shown = Compare(lab.show([source]).run(0))
    drop(shown, shown.root.locator(".ipyllm-composer"), image)
    shown.root.locator(".ipyllm-thumbnail img").wait_for()
    assert names(shown) == ["square.png"]
