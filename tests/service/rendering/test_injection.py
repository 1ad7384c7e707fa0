"""No payload puts a tag, attribute, class or address into the HTML that is not on the allow list.

This file has its own copy of the list, and parses the HTML with Python's parser.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from ipyllm.rendering import footer_html, to_html
from ipyllm.response import ChatResponse
from tests.service.rendering.payloads import PAYLOADS

MATHML = {
    *(
        "math",
        "menclose",
        "mfrac",
        "mi",
        "mn",
        "mo",
        "mover",
        "mpadded",
        "mphantom",
        "mroot",
        "mrow",
        "mspace",
    ),
    *("semantics", "annotation"),
    *("msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover"),
}
HTML = {
    *(
        "a",
        "blockquote",
        "br",
        "code",
        "del",
        "div",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "img",
        "kbd",
        "li",
    ),
    *("ol", "p", "pre", "s", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
ATTRIBUTES = {
    "a": {"href", "rel", "target"},
    "blockquote": {"dir"},
    "code": {"class"},
    "div": {"class"},
    **{tag: {"dir", "style"} for tag in ("h1", "h2", "h3", "h4", "h5", "h6", "td", "th")},
    "img": {"src", "alt"},
    "li": {"class", "dir"},
    "ol": {"class", "dir", "start"},
    "p": {"class", "dir", "style"},
    "pre": {"class", "dir"},
    "span": {"class"},
    "table": {"dir"},
    "ul": {"class", "dir"},
}
VALUES = {
    "code class": r"language-[\w.+#-]+",
    "div class": "ipyllm-answer mathjax_ignore tex2jax_ignore",
    "li class": "ipyllm-task",
    "ol class": "ipyllm-part",
    "ul class": "ipyllm-part",
    "p class": "ipyllm-footnote",
    "pre class": "ipyllm-text",
    "span class": "ipyllm-math|[a-z]{1,2}",
    "dir": "auto|ltr|rtl",
    "href": r"(https?://|mailto:)[^\s\"<>]*",
    "rel": "noopener noreferrer nofollow",
    "src": r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+=*",
    "start": r"\d+",
    "style": "text-align:(left|center|right)",
    "target": "_blank",
}


class Audit(HTMLParser):
    """Collects what is not allowed, and every link and picture."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.faults, self.links, self.pictures, self.text, self.open = [], [], [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in HTML | MATHML:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if tag in MATHML:
                if not re.fullmatch(r"[a-z]+", name) or not re.fullmatch(r"[-\w .#+]*", value or ""):
                    self.faults.append(f"<{tag} {name}={value!r}>")
                if name in {"href", "style", "class", "id", "src", "actiontype"}:
                    self.faults.append(f"<{tag} {name}>")
            elif name not in ATTRIBUTES.get(tag, ()) or not re.fullmatch(
                VALUES.get(f"{tag} {name}", VALUES.get(name, ".*")), value or "", re.DOTALL
            ):
                self.faults.append(f"<{tag} {name}={value!r}>")
            self.links += [value] if name == "href" else []
            self.pictures += [value] if name == "src" else []
        if tag not in {"br", "hr", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in {"br", "hr", "img"}:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.faults.append(f"<!--{data}-->")

    handle_decl = unknown_decl = handle_pi = handle_comment


def test_the_corpus_is_worth_its_name():
    assert len(PAYLOADS) >= 60


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_is_disarmed(name):
    audit = Audit(to_html(PAYLOADS[name]))
    assert not audit.faults
    assert not audit.open
    assert audit.text.strip() or audit.pictures, "the reader should see that something was there"


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_is_disarmed_wherever_it_stands(name):
    payload = PAYLOADS[name]
    quoted = "\n".join(f"> {line}" for line in payload.split("\n"))
    listed = "\n".join(f"   {line}" for line in payload.split("\n"))
    for text in (
        f"**before** {payload} *after*",
        f"text\n{payload}\ntext",
        quoted,
        f"1. item\n\n{listed}\n",
        f"| a |\n|---|\n| {payload} |",
        f"[{payload}](https://example.com)",
        f"![{payload}](https://example.com/a.png)",
        payload * 2,
    ):
        assert not Audit(to_html(text)).faults
        assert not Audit(to_html(text, live=True)).faults


def test_all_payloads_together_are_disarmed():
    assert not Audit(to_html("\n\n".join(PAYLOADS.values()))).faults


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_model_name_cannot_inject_into_the_footer(name):
    html = footer_html(ChatResponse(model=PAYLOADS[name]))
    assert re.findall(r"<[^>]*>", html) == [
        '<div class="ipyllm-footer mathjax_ignore tex2jax_ignore">',
        "</div>",
    ]


def test_payloads_are_shown_as_the_text_they_are():
    assert "<script>" in Audit(to_html("<script>alert(1)</script>")).text


def test_lone_surrogates_are_shown_as_replacement_characters_and_halves_of_a_pair_are_joined():
    assert Audit(to_html("a \ud83d b \ud83d\ude00")).text.strip() == "a \ufffd b \U0001f600"


def test_no_link_but_to_the_web_and_mail_survives():
    audit = Audit(to_html("[a](https://a.b) [b](HTTP://a.b) [c](mailto:a@b.c) [d](ftp://a.b) [e](/x) [f](x:y)"))
    assert audit.links == ["https://a.b", "HTTP://a.b", "mailto:a@b.c"]


def test_remote_images_are_links_that_name_their_host():
    audit = Audit(to_html("![sales chart](https://user@tracker.example/x.png?q=1)"))
    assert audit.pictures == []
    assert audit.links == ["https://user@tracker.example/x.png?q=1"]
    assert "🖼 sales chart (tracker.example)" in audit.text


def test_a_badge_keeps_its_own_link_and_names_the_image_host():
    audit = Audit(to_html("[![build](https://img.example/b.svg)](https://ci.example/run)"))
    assert audit.links == ["https://ci.example/run"]
    assert "🖼 build (img.example)" in audit.text


def test_pictures_that_carry_their_own_pixels_are_shown():
    audit = Audit(to_html("![dot](data:image/png;base64,iVBORw0KGgo=)"))
    assert audit.pictures == ["data:image/png;base64,iVBORw0KGgo="]


def test_the_audit_itself_finds_what_it_should():
    for bad in (
        "<script>",
        "<p onclick=x>",
        "<a href='javascript:x'>",
        "<mi href=x>",
        "<p class=x>",
        "<!--x-->",
    ):
        assert Audit(bad).faults
