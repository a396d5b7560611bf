"""History: what was said in a talk, entry by entry, and the conversation that a model is given of it.

A value: every change gives a new one. Knows nothing of audio devices or wire formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from osum.errors import InputError
from osum.utterance import Word

Samples = NDArray[np.float32]
Status = Literal["complete", "incomplete"]
MAX_ENTRIES = 200
"""Entries that are kept; older ones are forgotten, so that a talk of hours takes no more memory."""
MAX_SOUNDS = 8
"""Newest entries whose sound is kept; of older ones the text stays."""


@dataclass(frozen=True)
class SpokenSound:
    """The sound of a reply, so that it can be cut where its listener stopped it."""

    words: tuple[Word, ...] = ()
    """With their times, as far as the synthesizer has given them."""
    seconds: float = 0.0
    whole: bool = True
    """Whether `seconds` are all of it."""


@dataclass(frozen=True, eq=False)  # arrays have no truth value
class Entry:
    """What one side said at once."""

    id: str
    role: Literal["system", "user", "assistant"]
    text: str = ""
    """What was written or said; of a reply that was cut off, what had been played of it."""
    samples: Samples | None = None
    """(S,) at 16 kHz, of a user who spoke."""
    earlier: str = ""
    """Text of what was spoken before `samples`, where a turn was too long to be kept as sound."""
    codes: tuple[int, ...] = ()
    """Speech codes of a reply that was played to its end."""
    status: Status = "complete"
    lost: str = ""
    """Text of a reply that was written and not played; the model is not given it."""
    sound: SpokenSound = SpokenSound()


@dataclass(frozen=True)
class History:
    """The entries, in order."""

    entries: tuple[Entry, ...] = ()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, name: str) -> Entry:
        """The entry of an id.

        Raises:
            InputError: there is none.
        """
        return self.entries[self._place(name)]

    def before(self, name: str) -> str | None:
        """The id of the entry before."""
        at = self._place(name)
        return self.entries[at - 1].id if at else None

    def put(self, entry: Entry, behind: str | None = None, first: bool = False) -> History:
        """One more, at the end, behind another, or `first`; what is too old is forgotten.

        Raises:
            InputError: the id is taken, or there is no entry to stand behind.
        """
        if any(each.id == entry.id for each in self.entries):
            raise InputError(f"entry {entry.id!r} is there already: give each entry an id of its own")
        at = 0 if first else len(self.entries) if behind is None else self._place(behind) + 1
        return History(_bounded((*self.entries[:at], entry, *self.entries[at:])))

    def swap(self, entry: Entry) -> History:
        """An entry in place of the one with its id."""
        at = self._place(entry.id)
        return History((*self.entries[:at], entry, *self.entries[at + 1 :]))

    def remove(self, name: str) -> History:
        """Without one entry.

        Raises:
            InputError: there is no such entry.
        """
        at = self._place(name)
        return History((*self.entries[:at], *self.entries[at + 1 :]))

    def _place(self, name: str) -> int:
        for at, entry in enumerate(self.entries):
            if entry.id == name:
                return at
        raise InputError(f"no entry {name!r}: it was never there, or is forgotten")


def _bounded(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The newest entries, sound with the newest of them alone."""
    kept = entries[-MAX_ENTRIES:]
    spoken = [at for at, entry in enumerate(kept) if entry.samples is not None]
    if len(spoken) <= MAX_SOUNDS:
        return kept
    old = spoken[-MAX_SOUNDS]
    return tuple(
        replace(entry, samples=None) if at < old and entry.samples is not None else entry
        for at, entry in enumerate(kept)
    )


def messages_of(history: Sequence[Entry] | History, instructions: str = "") -> list[dict[str, Any]]:
    """The conversation as `Talker` takes it: sides in turn, from the user's first words to the user's last.

    Entries of one side that follow one another are one message; a reply of which nothing was played is none.
    """
    texts = [instructions, *(entry.text for entry in history if entry.role == "system")]
    messages: list[dict[str, Any]] = []
    for entry in history:
        parts = [] if entry.role == "system" else _parts(entry)
        if not parts or (entry.role == "assistant" and not messages):
            continue
        if messages and messages[-1]["role"] == entry.role:
            messages[-1]["content"] += parts
        else:
            messages.append({"role": entry.role, "content": parts})
    system = "\n".join(filter(None, texts))
    return [*([{"role": "system", "content": system}] if system else []), *messages]


def _parts(entry: Entry) -> list[dict[str, Any]]:
    text = entry.text if entry.samples is None else entry.earlier
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text.strip() else []
    if entry.samples is not None:
        parts.append({"type": "audio", "audio": entry.samples})
    if parts and entry.codes:
        parts.append({"type": "speech", "codes": list(entry.codes)})
    return parts
