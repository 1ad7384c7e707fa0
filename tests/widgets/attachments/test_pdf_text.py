"""Text of PDF files, read in another process."""

from __future__ import annotations

import importlib.util

import pytest

from ipyllm import LLMError
from ipyllm_widgets.attachments import pdf_text as reader
from ipyllm_widgets.attachments.pdf_text import pdf_text


def pdf(*pages: str) -> bytes:
    """A PDF file with a line of text on each page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects += [
            (
                f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * n} 0 R "
                "/Resources << /Font << /F1 3 0 R >> >> >>"
            ),
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    data, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode()
    xref = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    tail = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{xref}trailer << /Size {len(objects) + 1} /Root 1 0 R >>"
    return data + f"{tail}\nstartxref\n{len(data)}\n%%EOF\n".encode()


def test_the_pages_are_numbered():
    assert pdf_text(pdf("Hello there", "And more"), "a.pdf", 1000) == "[page 1]\nHello there\n\n[page 2]\nAnd more"


@pytest.mark.thorough
def test_what_cannot_be_read_is_a_sentence(monkeypatch):
    for data, what in (
        (b"%PDF-1.4\nnothing of a PDF", "“a.pdf” is damaged"),
        (pdf(""), "has no text"),
        (pdf("too long"), "more than 3 characters"),
    ):
        with pytest.raises(LLMError, match=what):
            pdf_text(data, "a.pdf", 3)
    monkeypatch.setattr(reader, "_TIMEOUT_S", 0.01)
    with pytest.raises(LLMError, match="takes longer"):
        pdf_text(pdf("Hello"), "a.pdf", 1000)


def test_without_pypdf_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(reader, "find_spec", lambda name: None)
    with pytest.raises(LLMError, match=r"pip install 'ipyllm\[pdf\]'"):
        pdf_text(b"%PDF-", "a.pdf", 1000)
