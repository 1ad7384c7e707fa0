"""A saved notebook as the page that nbconvert makes of it."""

from __future__ import annotations

from nbconvert import HTMLExporter

from tests.fakes import Script

_NOT_FROM_THE_NET = ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url")


def as_html(lab, fake, path):
    """The notebook as nbconvert's HTML, in a tab of its own."""
    html, _ = HTMLExporter(**dict.fromkeys(_NOT_FROM_THE_NET, "")).from_filename(str(path))
    fake.serve("/saved.html", Script(body=html.encode(), headers=(("content-type", "text/html; charset=utf-8"),)))
    tab = lab.context.new_page()
    tab.goto(f"{fake.url}/saved.html")
    return tab
