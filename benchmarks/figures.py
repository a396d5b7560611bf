"""What the scripts here share: which labels of a clip are known, and how scores are drawn, written and shown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osum.scoring import Score
from osum.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Question:
    """One label of a clip that a model is asked for."""

    label_set: str
    title: str
    task: str
    """The model's task that names the label."""
    with_weak: bool = True
    """Whether a label that was guessed from the source counts."""

    def truth(self, row: Utterance) -> str | None:
        """The right label, None where it is not known."""
        guessed = self.label_set in row.extra.get("weak", ())
        return None if guessed and not self.with_weak else row.labels.get(self.label_set)


QUESTIONS = (
    Question("gender", "gender", "SGC"),
    Question("age", "age, child or adult", "SAP"),
    Question("event", "vocal event", "VED"),  # laughs and sighs are weak labels only
    Question("language", "language", "LID"),
    Question("emotion", "emotion, acted", "SER", with_weak=False),
)


def score_row(score: Score) -> dict[str, Any]:
    """A score as JSON, with null for what could not be measured."""
    numbers = {"value": score.value, "low": score.low, "high": score.high, **score.detail}
    return {name: None if math.isnan(number) else round(number, 5) for name, number in numbers.items()}


def interval(score: Mapping[str, Any] | None, factor: float = 100) -> str:
    """A value with its interval, `93.1 [90.2, 95.5]`."""
    if score is None or score["value"] is None:
        return "–"
    value, low, high = (factor * score[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a report, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
