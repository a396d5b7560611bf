"""The report as one HTML page that opens without a network: figures and clips lie inside it.

Every text is escaped, and the page's own policy lets no script run but the one whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from osum.evaluation.report.markup import DASH, html_text
from osum.evaluation.report.worst import Mistake, key

_FILES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    name: str
    title: str
    body: str
    """HTML."""


def page(title: str, told: str, sections: Iterable[Section]) -> str:
    """The whole page; sections without a body are left out."""
    filled = [section for section in sections if section.body]
    links = "".join(f'<li><a href="#{section.name}">{html_text(section.title)}</a></li>' for section in filled)
    body = "".join(
        f'<section aria-labelledby="{section.name}"><h2 id="{section.name}">{html_text(section.title)}</h2>'
        f"{section.body}</section>\n"
        for section in filled
    )
    style, script = ((_FILES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = f"default-src 'none'; img-src data:; media-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the results</a>\n'
        f"<header><h1>{html_text(title)}</h1><p>{html_text(told)}</p>"
        '<button type="button" id="theme" class="theme" hidden>Light or dark</button></header>\n'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main id="main">\n{body}</main>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def image(png: bytes, caption: str) -> str:
    """A figure with what it shows in words."""
    return (
        f'<figure><img src="{_data(png, "image/png")}" alt="{html_text(caption)}">'
        f"<figcaption>{html_text(caption)}</figcaption></figure>\n"
    )


def answers(
    mistakes: Mapping[tuple[str, str], Sequence[Mistake]], titles: Mapping[str, str], sounds: Mapping[str, bytes]
) -> str:
    """The table of the worst errors with its search; without a script all of it is shown.

    Args:
        mistakes: by benchmark and model.
        titles: of the benchmarks.
        sounds: MP3 of the clips by `key`.
    """
    if not any(mistakes.values()):
        return ""
    head = ("test set", "model", "reference", "answer", "probability", "how wrong", "clip")
    rows = "".join(
        _answer_row(titles[benchmark], model, mistake, sounds)
        for (benchmark, model), some in mistakes.items()
        for mistake in some
    )
    columns = "".join(f'<th scope="col">{name}</th>' for name in head)
    sets = _choice("set", "Test set", [titles[benchmark] for benchmark, _ in mistakes])
    models = _choice("model", "Model", [model for _, model in mistakes])
    return (
        '<form id="search" role="search" hidden><label>Search<input type="search" name="words"></label>'
        f'{sets}{models}<output name="count" aria-live="polite"></output></form>\n'
        '<div class="wide" tabindex="0" role="region" aria-label="The worst errors"><table id="worst" class="answers">'
        f"<caption>The worst errors of each model on each test set</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def _choice(name: str, label: str, values: Sequence[str]) -> str:
    options = "".join(f"<option>{html_text(value)}</option>" for value in dict.fromkeys(values))
    return f'<label>{label}<select name="{name}"><option value="">all</option>{options}</select></label>'


def _answer_row(title: str, model: str, mistake: Mistake, sounds: Mapping[str, bytes]) -> str:
    sure = DASH if mistake.probability is None else f"{mistake.probability:.2f}"
    name = html_text(mistake.prediction.id)
    sound = sounds.get(key(mistake.prediction))
    heard = (
        f'<audio controls preload="none" aria-label="{name}" src="{_data(sound, "audio/mpeg")}"></audio><br>'
        if sound
        else ""
    )
    texts = "".join(f'<td dir="auto">{html_text(text)}</td>' for text in (mistake.reference, mistake.answer))
    return (
        f'<tr><th scope="row">{html_text(title)}</th><td>{html_text(model)}</td>{texts}<td class="n">{sure}</td>'
        f"<td>{html_text(mistake.measure)}</td><td>{heard}{name}</td></tr>"
    )


def folded(title: str, text: str) -> str:
    """Text that opens on a click, white space kept."""
    lines = "\n".join(html_text(line.replace(" ", "\u00a0")) for line in text.splitlines())
    return f"<details><summary>{html_text(title)}</summary><pre>{lines}</pre></details>\n"


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
