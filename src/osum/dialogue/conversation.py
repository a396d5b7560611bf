"""Conversation: turns of text, sound and speech codes, checked, bounded, and rendered for a mode (echat 2.4).

A conversation is given as Hugging Face messages; a part is `{"type": "text", "text": ...}`, `{"type": "audio", ...}`
with `path` or `audio` (samples (S,) at 16 kHz, or whatever `osum.audio.load` reads), or, of an assistant,
`{"type": "speech", "codes": [...]}`. Knows nothing of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from osum import audio as audio_io
from osum.audio import SAMPLE_RATE
from osum.dialogue.modes import Mode
from osum.dialogue.options import MAX_TURNS
from osum.errors import InputError
from osum.model import OsumProcessor
from osum.model.templates import PLACEHOLDERS

Role = Literal["system", "user", "assistant"]
Messages = Sequence[Mapping[str, Any]]
_MAY_HOLD: dict[str, tuple[str, ...]] = {
    "system": ("text",),
    "user": ("text", "audio"),
    "assistant": ("text", "speech"),
}


@dataclass(frozen=True)
class Turn:
    """What one side said at once."""

    role: Role
    text: str = ""
    sounds: tuple[Any, ...] = ()
    """Sources of sound, in their order."""
    codes: tuple[int, ...] = ()
    """Speech codes of what an assistant said aloud."""


@dataclass(frozen=True)
class Prompt:
    """A conversation as the model takes it."""

    text: str
    features: tuple[Tensor, ...]
    """Log-mel (M, F_i) of each clip, in reading order."""
    runs: tuple[Sequence[int], ...]
    """Joint ids of each `<|ids|>` of the text."""


def read_conversation(messages: Messages, processor: OsumProcessor, max_turns: int = MAX_TURNS) -> tuple[Turn, ...]:
    """The turns of a conversation that ends with the user's, older exchanges than `max_turns` left out.

    Raises:
        InputError: a role, an order or a part that a conversation cannot have.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not messages:
        raise InputError(f"a conversation of {type(messages).__name__}: give a list of messages with role and content")
    turns = [_turn(message, number, processor) for number, message in enumerate(messages, 1)]
    system = turns[:1] if turns[0].role == "system" else []
    said = turns[len(system) :]
    for number, turn in enumerate(said):
        wanted = ("user", "assistant")[number % 2]
        if turn.role != wanted:
            raise InputError(f"turn {number + 1} is of the {turn.role}, where the {wanted} speaks: let them take turns")
    if not said or said[-1].role != "user":
        raise InputError("the conversation does not end with a turn of the user: there is nothing to reply to")
    return (*system, *said[-(2 * max_turns + 1) :])


def _turn(message: Mapping[str, Any], number: int, processor: OsumProcessor) -> Turn:
    """One message, checked."""
    role, content = message.get("role"), message.get("content")
    if role not in _MAY_HOLD:
        raise InputError(f"message {number} has role {role!r}: it must be system, user or assistant")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, Sequence) or not all(isinstance(part, Mapping) for part in parts):
        raise InputError(f"message {number} has content of {type(content).__name__}: give a text or a list of parts")
    for part in parts:
        if part.get("type") not in _MAY_HOLD[role]:
            allowed = " or ".join(_MAY_HOLD[role])
            raise InputError(f"message {number} holds {part.get('type')!r}: a turn of the {role} holds {allowed}")
    text = "".join(_text(part, number, processor) for part in parts if part["type"] == "text")
    sounds = tuple(_sound(part, number) for part in parts if part["type"] == "audio")
    codes = tuple(code for part in parts if part["type"] == "speech" for code in _codes(part, number))
    if not (text.strip() or sounds):
        wanted = "a text or a clip" if role == "user" else "a text"
        raise InputError(f"message {number} of the {role} says nothing: give it {wanted}")
    return Turn(role, text, sounds, codes)


def _codes(part: Mapping[str, Any], number: int) -> list[int]:
    codes = part.get("codes")
    if not isinstance(codes, Sequence) or not all(isinstance(code, int) for code in codes):
        raise InputError(f"message {number} has a speech part without a list of codes: give it what a reply has said")
    return list(codes)


def _text(part: Mapping[str, Any], number: int, processor: OsumProcessor) -> str:
    """The text of a part, which must not hold what steers the model."""
    text = part.get("text")
    if not isinstance(text, str):
        raise InputError(f"message {number} has a text part with text {text!r}: give it a string")
    if mark := next((mark for mark in processor.marks if mark in text), None):
        raise InputError(f"message {number} holds {mark!r}, which steers the model: take it out of the text")
    return text


def _sound(part: Mapping[str, Any], number: int) -> Any:
    source = part.get("audio", part.get("path"))
    if source is None:
        raise InputError(f"message {number} has an audio part without 'audio' or 'path': give it one of them")
    return source


def prompt_of(turns: Sequence[Turn], mode: Mode, processor: OsumProcessor) -> Prompt:
    """Render turns for a mode, whose system prompt stands in where the conversation brings none.

    Raises:
        AudioError: a clip cannot be read, or is longer than the model takes.
        LayoutError: a code outside the codebook.
    """
    text, runs = written(turns, mode, processor)
    if mode.says == "speech":
        text += PLACEHOLDERS[2]  # the begin of speech is part of the question (echat 2.3)
        runs = (*runs, [processor.speech_ids.edge])
    features = tuple(processor.log_mel(_samples(sound)) for turn in turns for sound in turn.sounds)
    return Prompt(text, features, runs)


def written(
    turns: Sequence[Turn], mode: Mode, processor: OsumProcessor, template: str | None = None
) -> tuple[str, tuple[Sequence[int], ...]]:
    """The text of turns in a mode, by its template or another, and the joint ids of each `<|ids|>` in it.

    Raises:
        LayoutError: a code outside the codebook.
    """
    system = [] if turns[0].role == "system" or not mode.system_prompt else [Turn("system", mode.system_prompt)]
    messages = [_message(turn) for turn in (*system, *turns)]
    text = processor.render(messages, template=template or mode.template)
    return text, tuple(processor.speech_ids.of_codes(turn.codes) for turn in turns if turn.codes)


def _message(turn: Turn) -> dict[str, Any]:
    """A turn as the template reads it: sound before text, speech behind it."""
    sounds = [{"type": "audio"}] * len(turn.sounds)
    text = [{"type": "text", "text": turn.text}] if turn.text else []
    speech = [{"type": "speech"}] if turn.codes else []
    return {"role": turn.role, "content": [*sounds, *text, *speech]}


def _samples(source: Any) -> Any:
    """Samples (S,) at 16 kHz of a clip."""
    is_samples = isinstance(source, np.ndarray) and source.ndim == 1
    return audio_io.load((source, SAMPLE_RATE) if is_samples else source)
