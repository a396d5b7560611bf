"""Table: cells once, written as Markdown, LaTeX (booktabs) and HTML. All text from files is escaped here.

Knows nothing of benchmarks or models.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

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
_FLUSH_RIGHT = ' class="n"'


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell."""

    text: str
    """Line ends stay; titles of columns may have them too."""
    best: bool = False
    """Shown bold."""


@dataclass(frozen=True, slots=True)
class Row:
    """Cells beside each other, as many as the table's head has."""

    cells: tuple[Cell, ...]
    kind: Kind = "measured"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption and notes."""

    name: str
    """A word for labels and anchors, such as `overview`."""
    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    num_text: int = 1
    """The first columns, which hold words; the others hold figures and are set flush right."""


def row(*cells: str | Cell, kind: Kind = "measured") -> Row:
    """A row of cells or plain texts."""
    return Row(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells), kind)


def by_line(text: str, write: Callable[[str], str], end: str) -> str:
    """Each line of a text written, with `end` between them."""
    return end.join(write(line) for line in text.split("\n"))


def one_line(text: str) -> str:
    """White space as single spaces; control characters, which no page may hold, as a visible sign."""
    return "".join("\ufffd" if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in " ".join(text.split()))


# Markdown


def markdown(table: Table) -> str:
    """The table alone: head and rows, without caption and notes."""
    rules = ["---" if number < table.num_text else "---:" for number in range(len(table.head))]
    lines = [[_markdown_lines(name) for name in table.head], rules]
    lines += [[_markdown_cell(cell, line.kind) for cell in line.cells] for line in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Plain text that Markdown, and the HTML inside it, shows as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text)).replace("&", "&amp;")


def _markdown_lines(text: str) -> str:
    return by_line(text, markdown_text, "<br>")


def _markdown_cell(cell: Cell, kind: Kind) -> str:
    text = _markdown_lines(cell.text)
    if cell.best:
        return f"**{text}**"
    return f"*{text}*" if kind == "group" and text else text


# LaTeX


def latex(table: Table) -> str:
    """A `table` environment; the document needs the packages booktabs and, for wide tables, graphicx."""
    columns = "l" * table.num_text + "r" * (len(table.head) - table.num_text)
    body = [_latex_line(_latex_lines(name, "b") for name in table.head), r"\midrule", *_latex_rows(table)]
    notes = [rf"\par\smallskip\raggedright\footnotesize {latex_text(note)}" for note in table.notes]
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        r"\setlength{\belowcaptionskip}{4pt}",
        rf"\caption{{{latex_text(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        *notes,
        r"\end{table}",
    ]
    return "\n".join(lines)


def latex_document(tables: Iterable[Table]) -> str:
    """All tables in a document of their own."""
    head = [
        r"\documentclass{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{booktabs,graphicx,textcomp}",
        r"\usepackage[margin=2cm]{geometry}",
        r"% names in Chinese need xelatex or lualatex, and \usepackage{xeCJK} or {luatexja-fontspec}",
        r"\begin{document}",
    ]
    return "\n\n".join(["\n".join(head), *(latex(table) for table in tables), r"\end{document}"]) + "\n"


def latex_text(text: str) -> str:
    """Plain text that LaTeX sets as it is."""
    return "".join(_LATEX.get(sign, sign) for sign in one_line(text))


def _latex_rows(table: Table) -> list[str]:
    grouped = any(line.kind == "group" for line in table.rows)
    inner = rf"\cmidrule{{2-{len(table.head)}}}" if grouped else r"\midrule"
    lines = []
    before: Kind | None = None
    for line in table.rows:
        if before and line.kind == "group":
            lines.append(r"\midrule")
        elif before not in (None, "group", line.kind):
            lines.append(inner)  # between published and measured
        lines.append(_latex_line(_latex_cell(cell, line.kind) for cell in line.cells))
        before = line.kind
    return lines


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_lines(text: str, beside: str = "t") -> str:
    """Several lines are a table of one column, its first (`t`) or last (`b`) line beside the other cells."""
    lines = by_line(text, latex_text, r" \\ ")
    return rf"\begin{{tabular}}[{beside}]{{@{{}}r@{{}}}}{lines}\end{{tabular}}" if "\n" in text else lines


def _latex_cell(cell: Cell, kind: Kind) -> str:
    text = _latex_lines(cell.text)
    if cell.best:
        return rf"\textbf{{{text}}}"
    return rf"\emph{{{text}}}" if kind == "group" and text else text


# HTML


def html_table(table: Table) -> str:
    """A table that scrolls by itself where it is too wide, with its notes below it."""
    head = "".join(_html_head(name, number < table.num_text) for number, name in enumerate(table.head))
    body = "".join(_html_row(line, table.num_text) for line in table.rows)
    notes = "".join(f'<p class="note">{html_text(note)}</p>' for note in table.notes)
    caption = html_text(table.title)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table id="{table.name}">'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{notes}\n"
    )


def html_text(text: str) -> str:
    """Plain text that HTML shows as it is, in an attribute too; arrows, and both ends of an interval, stay together."""
    return html.escape(re.sub(r" (?=[↑↓])|(?<=\d,) (?=\d)", "\u00a0", one_line(text)))


def _html_lines(text: str) -> str:
    return by_line(text, html_text, "<br>")


def _html_head(name: str, text: bool) -> str:
    return f'<th scope="col"{"" if text else _FLUSH_RIGHT}>{_html_lines(name)}</th>'


def _html_row(line: Row, num_text: int) -> str:
    cells = "".join(_html_cell(cell, number, num_text, line.kind) for number, cell in enumerate(line.cells))
    return f'<tr class="{line.kind}">{cells}</tr>'


def _html_cell(cell: Cell, number: int, num_text: int, kind: Kind) -> str:
    text = _html_lines(cell.text)
    align = "" if number < num_text else _FLUSH_RIGHT
    if kind == "group" and text:
        return f'<th scope="{"rowgroup" if number == 0 else "col"}"{align}>{text}</th>'
    if number == 0 and text:
        return f'<th scope="row">{text}</th>'
    return f"<td{align}>{f'<strong>{text}</strong>' if cell.best else text}</td>"


def joined(tables: Sequence[Table], write: Callable[[Table], str] = markdown) -> str:
    """Tables below each other in Markdown, each with title and notes."""
    parts = []
    for table in tables:
        parts += [f"## {markdown_text(table.title)}", write(table)]
        parts += [markdown_text(note) for note in table.notes]
    return "\n\n".join(parts) + "\n"
