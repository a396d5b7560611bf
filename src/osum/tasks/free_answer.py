"""Reading: the label or the transcript in a free answer of a model that was not trained on our label sets.

By a table of words anyone can look up, `synonyms.yaml`, and never by guessing: an answer that names no label of the
set, or several, holds none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from osum.tasks.label_set import LabelSet

_EDGES = " \t\n\r.,;:!?\"'“”‘’「」。，！？"
_TAG = re.compile(r"<\|([^|<>]*)\|>")
_AGED = re.compile(r"years?[ -]old\b")
"""Says no more than `years`."""
_QUOTED = re.compile(
    r"""^(?:the|this)\b[^:'"‘“]{0,80}(?:\bis|\bsays|\bsaying|\breads|\bcontent|:)[\s:,]*['"‘“](?P<text>.*)['"’”]\.?$""",
    re.IGNORECASE | re.DOTALL,
)
"""`The original content of this audio is: 'good morning.'`"""
_NEGATION = r"(?<!\bnot )(?<!\bnot a )(?<!\bnot an )(?<!\bno )(?<!\bisn't )"


def read_label(answer: str, labels: LabelSet) -> tuple[str | None, tuple[str, ...]]:
    """The one label that an answer names, and what could not be read.

    An answer that is a name and nothing else is that label. Else the labels whose words stand in it count, but for
    those behind a `not`; a word within a longer one (`old` in `old man`) does not count twice.
    """
    text = _TAG.sub(r" \1 ", answer).strip(_EDGES)
    if (whole := labels.canonical(text)) is not None:
        return whole, ()
    found = _named(_AGED.sub("years", text.lower()), labels)
    if len(found) == 1:
        return found[0], ()
    problem = f"names several labels: {', '.join(found)}" if found else f"names no label of {labels.name}"
    return None, (problem,)


def read_transcript(answer: str) -> str:
    """The words themselves: without `<|en|>`, and without the sentence that some models put around them."""
    text = _TAG.sub(" ", answer).strip()
    quoted = _QUOTED.match(text)
    return " ".join((quoted["text"] if quoted else text).split())


def _named(text: str, labels: LabelSet) -> list[str]:
    """Labels in the order of the set, by the longest of the words that overlap."""
    spans = [
        (match.start(), match.end(), label)
        for label, pattern in _patterns(labels).items()
        for match in pattern.finditer(text)
    ]
    kept = [span for span in spans if not any(_within(span, other) for other in spans)]
    named = {label for _, _, label in kept}
    return [label for label in labels.labels if label in named]


def _within(span: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    inside = other[0] <= span[0] and span[1] <= other[1]
    return inside and other[1] - other[0] > span[1] - span[0]


@cache
def _patterns(labels: LabelSet) -> Mapping[str, re.Pattern[str]]:
    synonyms = _synonyms().get(labels.name, {})
    found = {}
    for label in labels.labels:
        folded = [raw for raw, target in labels.folds.items() if target == label]
        words = sorted({label, labels.title(label).lower(), *folded, *synonyms.get(label, ())}, key=len, reverse=True)
        # The ends of a Latin word are checked; Chinese is written without blanks.
        found[label] = re.compile("|".join(rf"{_NEGATION}(?<![a-z]){re.escape(word)}(?![a-z])" for word in words))
    return found


@cache
def _synonyms() -> Mapping[str, Mapping[str, list[Any]]]:
    import yaml  # a catalogue is imported far more often than a free answer is read

    content: Mapping[str, Mapping[str, list[Any]]] = yaml.safe_load(
        (files("osum.tasks") / "synonyms.yaml").read_text("utf8")
    )
    return content
