"""TalkOptions: what one reply is asked for. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from osum.engine.options import GenerationOptions
from osum.records import check_fields

Thinking = Literal["tag", "language", "off"]
MAX_TURNS = 5
"""As in the release (echat 2.4)."""


@dataclass(frozen=True)
class TalkOptions:
    """What one reply is asked for."""

    thinking: Thinking = "off"
    """Whether it thinks first: tag names what was recognised, language thinks in sentences, off answers at once."""
    thought_tokens: Annotated[int, Meta(ge=0)] = 200
    """Longest thought; one that has used them up is closed."""
    aloud: bool | None = None
    """Whether to speak; None speaks where the model can and a voice is at hand."""
    in_turns: bool = False
    """Text and speech in turns: the first sound need not wait for the whole text."""
    max_turns: Annotated[int, Meta(ge=0)] = MAX_TURNS
    """Earlier exchanges that are remembered."""
    generation: GenerationOptions | None = None
    """How ids are picked; None takes the mode's own settings."""
    released: bool = False
    """Ask and decode as the released OSUM-EChat does, with its odd prompts and its rule for ages."""

    def __post_init__(self) -> None:
        check_fields(self)
