"""Files of a question: what becomes of them in the message, and which are refused."""

from __future__ import annotations

import pytest

from ipyllm import LLMError
from ipyllm_widgets.attachments.files import (
    as_sent,
    attached_files,
    question_text,
    question_with_files,
    received_files,
    with_text,
)
from tests.widgets.page import PNG

CSV = ("numbers.csv", b"a,b\r\n1,2\r\n")


def test_a_file_is_a_part_of_the_message_and_its_text_no_part_of_the_question():
    message = question_with_files("Sum?", files=[CSV])
    assert message["content"][1] == {"type": "text", "text": '<file name="numbers.csv">\na,b\n1,2\n</file>'}
    assert question_text(message) == "Sum?"
    assert attached_files(message) == [("numbers.csv", 7)]
    assert as_sent(message)["content"] == 'Sum?\n\n<file name="numbers.csv">\na,b\n1,2\n</file>'


def test_with_images_the_parts_stay_parts():
    message = question_with_files("Which?", [PNG], [CSV])
    assert [part["type"] for part in message["content"]] == ["text", "image_url", "text"]
    assert as_sent(message) is message


def test_a_file_alone_is_a_question():
    message = question_with_files("", files=[CSV])
    assert (question_text(message), len(attached_files(message))) == ("", 1)


def test_another_text_keeps_files_and_images():
    changed = with_text(question_with_files("Which?", [PNG], [CSV]), "That?")
    assert question_text(changed) == "That?"
    assert [part["type"] for part in changed["content"]] == ["text", "image_url", "text"]
    assert with_text({"role": "user", "content": "a"}, "b")["content"] == "b"


def test_what_looks_like_a_file_in_a_question_is_text():
    typed = '<file name="x">\ny\n</file>'
    message = question_with_files(typed)
    assert (question_text(message), attached_files(message)) == (typed, [])


@pytest.mark.parametrize("name", ['a"b<c>.txt', "x\ny.txt", "../../etc/passwd", "C:\\x.txt", "\ud800.txt", "n" * 999])
def test_no_name_leaves_its_line(name):
    (file,) = attached_files(question_with_files("?", files=[(name, b"text")]))
    assert not set(file.name) & set('"<>\n\\/')
    assert 0 < len(file.name) <= 200
    file.name.encode()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\xfd", "cannot be sent as text"),
        ("é".encode("latin-1"), "not UTF-8 text"),
        (b"MZ\x90\x00\x03", "cannot be sent as text"),
        (b"PK\x03\x04 zip", "is no text file"),
        (b"x" * 8_000_001, "more than 8.0 MB"),
        (b"y" * 1_000_001, "1,000,001 characters; at most 1,000,000"),
    ],
)
def test_other_files_are_refused_in_a_sentence(content, what):
    with pytest.raises(LLMError, match=what):
        question_with_files("?", files=[("f", content)])


@pytest.mark.parametrize("beginning", [b"PK\x03\x04\x14\x00\x9a", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_files_of_office_programs_are_refused_with_what_to_do(beginning):
    for name, what in (("a.xlsx", "save the sheet as CSV"), ("b.XLS", "as CSV"), ("c.docx", "save it as PDF or text")):
        with pytest.raises(LLMError, match=what):
            question_with_files("?", files=[(name, beginning)])


def test_wrong_arguments_are_refused(tmp_path):
    for files, what in (
        ("a.txt", "must be a list"),
        ([3], "must be a path"),
        ([("a", "text")], "must be bytes"),
        ([tmp_path], "is not a file"),
        ([tmp_path / "none.txt"], "No such file"),
        ([("a", b"x" * 900_000)] * 9, "in total"),
    ):
        with pytest.raises(LLMError, match=what):
            question_with_files("?", files=files)


def test_a_path_is_read(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes("Grüße".encode("utf-16"))
    assert attached_files(question_with_files("?", files=[path])) == [("notes.txt", 5)]


def test_a_page_names_its_files_and_not_its_images():
    assert received_files([PNG, b"x"], ["", "a.txt"]) == ([PNG], [("a.txt", b"x")])
    assert received_files([PNG], None) == ([PNG], [])
    for names in ([], ["a", "b"], [7]):
        with pytest.raises(LLMError, match="reload the page"):
            received_files([PNG], names)
