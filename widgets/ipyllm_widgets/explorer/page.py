"""The explorer without a kernel: a part of a page (of a report, say), and the static output of the widget.

The part contains its data, its style and its script, and loads nothing. A page with a content security policy allows
script and style by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipyllm_widgets import modules
from ipyllm_widgets.explorer.table_payload import excerpt, input_columns, row_payload, table_payload
from ipyllm_widgets.packed import packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ipyllm.experiment.answer_matrix import AnswerMatrix, MatrixRow
    from ipyllm.experiment.row_judgements import RowJudgements

__all__ = ["ExplorerPart", "explorer_part", "static_html"]

_MOST_ROWS: Final = 500
_MOST_BYTES: Final = 1_500_000  # of full texts, before they are packed
_FALLBACK_ROWS: Final = 20
_FALLBACK_ARMS: Final = 6
_HEIGHT: Final = "46em"

_DOCUMENT = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; script-src {script}; style-src {style}\">"
    '<meta name="color-scheme" content="light dark"><title>Answers</title></head>'
    '<body class="ipyllm-xframe">{html}</body></html>'
)


class ExplorerPart(NamedTuple):
    """HTML of an explorer, and what a content security policy must allow for it.

    Attributes
    ----------
    html : str
        A ``div`` with data, style sheet and script.
    script_source, style_source : str
        Source expressions for ``script-src`` and ``style-src``, such as ``'sha256-…'``.
    """

    html: str
    script_source: str
    style_source: str


def explorer_part(
    matrix: AnswerMatrix,
    judged: RowJudgements,
    *,
    most_rows: int = _MOST_ROWS,
    most_bytes: int = _MOST_BYTES,
) -> ExplorerPart:
    """Return the explorer of the first rows of a matrix, for a page without a kernel.

    Parameters
    ----------
    matrix : AnswerMatrix
        Of ``results.matrix()``.
    judged : RowJudgements
        Of ``results.judgements(matrix)``. Votes and notes are shown and cannot be changed.
    most_rows, most_bytes : int
        Maximum number of rows, and of bytes of their full texts. The part says how many rows it leaves out.
    """
    rows, details = _first_rows(matrix, matrix.rows[:most_rows], most_bytes)
    judgements = {
        str(index): {"vote": judged.vote_key_on(row), "note": judged.note_on(row)}
        for index, row in enumerate(rows)
        if judged.vote_on(row) or judged.note_on(row)
    }
    data = packed({"table": table_payload(matrix, rows), "details": details, "judgements": judgements})
    script, style = _script(), _style()
    html = (
        f'<div class="ipyllm-xpage"><style>{style}</style>'
        f'<script type="application/octet-stream" class="ipyllm-xdata">{base64.b64encode(data).decode()}</script>'
        f'<script type="module">{script}</script></div>'
    )
    return ExplorerPart(html, _source(script), _source(style))


def static_html(matrix: AnswerMatrix, judged: RowJudgements) -> str:
    """Return the static output of the widget: the explorer in a frame, and a table where frames are removed.

    The frame has an origin of its own and may only run the explorer's script. Jupyter removes it from a notebook that
    is not trusted; the table is hidden where the frame is.
    """
    part = explorer_part(matrix, judged)
    document = _DOCUMENT.format(script=part.script_source, style=part.style_source, html=part.html)
    # Markdown converters end HTML at an empty line.
    source = escape(document).replace("\n", "&#10;")
    return (
        "<style>.ipyllm-xstill iframe{width:100%;height:" + _HEIGHT + ";border:0}"
        ".ipyllm-xstill:has(iframe) table{display:none}"
        "[data-jp-theme-light=false] .ipyllm-xstill iframe{color-scheme:dark}"
        "[data-jp-theme-light=true] .ipyllm-xstill iframe{color-scheme:light}</style>"
        f'<div class="ipyllm-xstill"><iframe sandbox="allow-scripts" loading="lazy" title="Answers" srcdoc="{source}">'
        f"</iframe>{_fallback(matrix)}</div>"
    )


def _first_rows(
    matrix: AnswerMatrix, rows: Sequence[MatrixRow], most_bytes: int
) -> tuple[Sequence[MatrixRow], list[dict[str, Any]]]:
    """Return as many rows as there is room for, at least one, and their full texts."""
    details: list[dict[str, Any]] = []
    columns, left = input_columns(rows), most_bytes
    for row in rows:
        payload = row_payload(matrix, row, columns)
        left -= len(json.dumps(payload, ensure_ascii=False))
        if left < 0 and details:
            break
        details.append(payload)
    return rows[: len(details)], details


def _fallback(matrix: AnswerMatrix) -> str:
    arms = matrix.arms[:_FALLBACK_ARMS]
    shown = matrix.rows[:_FALLBACK_ROWS]
    left_out = f" The first {len(shown)} of {len(matrix.rows):,} rows." if len(shown) < len(matrix.rows) else ""
    head = "".join(f"<th>{_one_line(name)}</th>" for name in ("prompt", *arms))
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(row, len(arms)))}</tr>" for row in shown)
    return (
        f'<table class="mathjax_ignore tex2jax_ignore"><caption>Answers of {_one_line(matrix.experiment)}.{left_out}'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cells(row: MatrixRow, n_arms: int) -> Iterator[str]:
    yield _one_line(row.prompt)
    for cell in row.cells[:n_arms]:
        yield "–" if cell is None else _one_line(cell.response or cell.error)


def _one_line(text: str) -> str:
    return escape(excerpt(text))


@cache
def _script() -> str:
    script = f"\n{modules.script('explorer/page.js')}\n"
    if "</script" in script or "<!--" in script:
        raise RuntimeError("The script of the explorer cannot stand in a page.")
    return script


@cache
def _style() -> str:
    return f"\n{modules.styles('widget.css', 'explorer/explorer.css')}\n"


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
