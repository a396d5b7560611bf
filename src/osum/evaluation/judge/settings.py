"""JudgeSettings: which language model judges, and how it is asked. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """Who judges."""

    model: str
    """As the endpoint names it."""
    temperature: Annotated[float, Meta(ge=0)]
    """Of sampling; 0 asks for the most probable answer."""
    max_tokens: Annotated[int, Meta(ge=1)]
    """Longest answer in tokens."""
    seed: int
    """Sent with each question."""
    language: Literal["en", "zh"] = "en"
    """Of the words that the judge is asked in."""
