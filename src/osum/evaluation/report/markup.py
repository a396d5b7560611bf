"""Table: cells once, written as Markdown here, as LaTeX and HTML by templates. All text from files is escaped.

Knows nothing of benchmarks or models.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from osum.text import markdown_table

DASH = "–"
"""Stands where there is no figure."""
Kind = Literal["measured", "published", "group"]
"""Of a row; a `group` row names what the rows below it are about."""
_MARKDOWN = re.compile(r"[\\`*<>|~]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|^#")
"""What Markdown could read as its own: a lone bracket is text, and so is `_` inside a word."""
_LATEX = {
    **{sign: f"\\{sign}" for sign in "{}$&#%_"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # after \\ a bracket would be read as a length
    "]": "{]}",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell."""

    text: str
    """Line ends stay; titles of columns may have them too."""
    best: bool = False
    """Shown bold."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """Cells next to each other, as many as the table's head has."""

    cells: tuple[Cell, ...]
    kind: Kind = "measured"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption and notes."""

    name: str
    """A word for labels and anchors, such as `overview`."""
    title: str
    head: tuple[str, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()
    num_text: int = 1
    """The first columns, which hold words; the others hold figures and are set flush right."""


def row(*cells: str | Cell, kind: Kind = "measured") -> TableRow:
    """A row of cells or plain texts."""
    return TableRow(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells), kind)


def one_line(text: str) -> str:
    """White space as single spaces; control characters, which no page may hold, as a visible sign."""
    return "".join("\ufffd" if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in " ".join(text.split()))


# Markdown


def markdown(table: Table) -> str:
    """The table alone: head and rows, without caption and notes."""
    rows = ([_markdown_cell(cell, line.kind) for cell in line.cells] for line in table.rows)
    return markdown_table([_markdown_lines(name) for name in table.head], rows, table.num_text)


def markdown_text(text: str) -> str:
    """Plain text that Markdown, and the HTML inside it, shows as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text)).replace("&", "&amp;")


def _markdown_lines(text: str) -> str:
    return "<br>".join(map(markdown_text, text.split("\n")))


def _markdown_cell(cell: Cell, kind: Kind) -> str:
    text = _markdown_lines(cell.text)
    if cell.best:
        return f"**{text}**"
    return f"*{text}*" if kind == "group" and text else text


# LaTeX and HTML


def latex(table: Table) -> str:
    """A `table` environment."""
    return str(_TEX.get_template("tables.tex.j2").make_module({"tables": ()}).table(table))  # type: ignore[attr-defined]


def latex_document(tables: Iterable[Table]) -> str:
    """All tables in a document of their own."""
    return _TEX.get_template("tables.tex.j2").render(tables=tables)


def latex_text(text: str) -> str:
    """Plain text that LaTeX sets as it is."""
    return "".join(_LATEX.get(sign, sign) for sign in one_line(text))


def html_table(table: Table) -> str:
    """A table that scrolls by itself where it is too wide, with its notes below it."""
    return str(HTML.get_template("page.html.j2").make_module(_NO_PAGE).table(table))  # type: ignore[attr-defined]


def html_text(text: str) -> str:
    """One line for HTML, which the template escapes; arrows, and both ends of an interval, stay together."""
    return re.sub(r" (?=[↑↓])|(?<=\d,) (?=\d)", "\u00a0", one_line(text))


def data_address(content: bytes, kind: str) -> str:
    """A file as an address, so that a page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def digest(text: str) -> Markup:
    """How a page's policy names the script or style that it allows."""
    return Markup(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")


HTML = Environment(loader=PackageLoader(__package__, ""), autoescape=True, trim_blocks=True, undefined=StrictUndefined)
"""Its templates see `shown`, `data` and `digest`."""
HTML.filters |= {"shown": html_text, "data": data_address, "digest": digest}
_TEX = HTML.overlay(
    *("<%", "%>", "<<", ">>", "<#", "#>"),  # of blocks, values and comments: braces are TeX's
    keep_trailing_newline=True,
    autoescape=False,
)
_TEX.filters = {"tex": latex_text, **HTML.filters}
_NO_PAGE = {"title": "", "summary": "", "style": "", "script": "", "sections": ()}


def joined(tables: Sequence[Table], write: Callable[[Table], str] = markdown) -> str:
    """Tables below each other in Markdown, each with title and notes."""
    parts = []
    for table in tables:
        parts += [f"## {markdown_text(table.title)}", write(table)]
        parts += [markdown_text(note) for note in table.notes]
    return "\n\n".join(parts) + "\n"
