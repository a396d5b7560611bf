"""News of a talk: what goes into it and what comes out of it. Values only, without wire names.

Ids count up from 1 in each kind: turns of the user, replies, questions to the turn policy. Times are seconds of the
talk's own clock; places in the sound are seconds of what was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from osum.dialogue.history import Entry
from osum.dialogue.talker import Piece
from osum.dialogue.turn_policy import Evidence, Judgement

Samples = NDArray[np.float32]


# What goes in


@dataclass(frozen=True, eq=False)
class Sound:
    """More of the microphone."""

    samples: Samples
    """(S,) at 16 kHz."""
    reference: Samples | None = None
    """(S,) that the loudspeaker played meanwhile, where it is known and its echo is to be subtracted."""


@dataclass(frozen=True)
class Judged:
    """The policy's answer to a question; None where it failed."""

    question: int
    judgement: Judgement | None


@dataclass(frozen=True, eq=False)
class Came:
    """A piece of a reply; the last is the whole `Reply`."""

    reply: int
    piece: Piece


@dataclass(frozen=True)
class Broke:
    """A reply that cannot be continued."""

    reply: int
    why: str


@dataclass(frozen=True)
class Noted:
    """What was said in one part of a user's turn."""

    turn: int
    part: int
    text: str | None
    """None where it cannot be known."""
    last: bool = True
    found: Any = None
    """All that is known of it, for whoever takes part in the talk: labels, or why there is no text."""


@dataclass(frozen=True)
class Played:
    """The listener's device says how much of a reply it has played."""

    reply: int
    seconds: float


@dataclass(frozen=True)
class Tick:
    """Time has passed, and nothing else."""


@dataclass(frozen=True)
class Commit:
    """The user's turn ends here (push to talk)."""


@dataclass(frozen=True)
class Clear:
    """What was recorded of the turn is thrown away."""


@dataclass(frozen=True)
class Respond:
    """Reply now."""

    options: Any = None
    """Are given to the generator with the conversation; None takes those of the rules."""
    instructions: str | None = None
    """What the model is asked to be, this once."""
    entries: tuple[Entry, ...] | None = None
    """The conversation to reply to; None for the history."""
    remembered: bool = True
    """Whether the reply becomes part of the history."""
    aloud: bool | None = None
    """Whether it is played; None as the rules say."""


@dataclass(frozen=True)
class Cancel:
    """Stop replying."""


@dataclass(frozen=True)
class HoldTalk:
    """Pause: nothing is recorded and nothing is played."""


@dataclass(frozen=True)
class ResumeTalk:
    """Continue where it was paused."""


@dataclass(frozen=True)
class Put:
    """Add an entry to the history."""

    entry: Entry
    behind: str | None = None
    first: bool = False


@dataclass(frozen=True)
class Remove:
    """Forget an entry."""

    entry: str


@dataclass(frozen=True)
class Truncate:
    """The listener has played only so much of a reply: the rest leaves the history."""

    entry: str
    seconds: float


News = (
    Sound | Judged | Came | Broke | Noted | Played | Tick | Commit | Clear | Respond | Cancel | HoldTalk | ResumeTalk
    | Put | Remove | Truncate
)  # fmt: skip


# What comes out: orders to whoever runs the talk


@dataclass(frozen=True, eq=False)
class Judge:
    """Ask the policy, and bring its answer as `Judged`."""

    question: int
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class Begin:
    """Generate a reply, and bring its pieces as `Came`."""

    reply: int
    messages: list[dict[str, Any]]
    options: Any = None


@dataclass(frozen=True)
class Abort:
    """Stop generating a reply; pieces that still come are ignored."""

    reply: int


@dataclass(frozen=True, eq=False)
class Part:
    """A stretch of the user's turn is complete: write it down, and bring the text as `Noted`."""

    turn: int
    part: int
    samples: Samples
    last: bool


# ... and events for whoever takes part in it


@dataclass(frozen=True)
class SpeechStarted:
    """The user has the floor."""

    turn: int
    at: float
    """Seconds of the sound."""


@dataclass(frozen=True)
class SpeechStopped:
    """The user's turn is over."""

    turn: int
    at: float


@dataclass(frozen=True, eq=False)
class TurnTaken:
    """The user's turn is part of the history."""

    turn: int
    entry: Entry
    behind: str | None
    """Id of the entry before."""
    judgement: Judgement | None = None


@dataclass(frozen=True)
class TurnDropped:
    """What was recorded is no turn."""

    turn: int
    why: Literal["backchannel", "wait", "noise", "cleared"]
    announced: bool
    """Whether `SpeechStarted` was sent."""


@dataclass(frozen=True, eq=False)
class Transcribed:
    """What was said in a part of the user's turn, as `Noted` brought it."""

    turn: int
    entry: str
    part: int
    last: bool
    text: str | None
    found: Any = None
    whole: str = ""
    """Text of the turn so far, its earlier parts included."""


@dataclass(frozen=True, eq=False)
class ReplyStarted:
    """A reply begins."""

    reply: int
    entry: str
    behind: str | None
    aloud: bool = True
    options: Any = None
    """What the generator was given with it."""


@dataclass(frozen=True, eq=False)
class Said:
    """More of a reply."""

    reply: int
    piece: Piece


@dataclass(frozen=True)
class ReplyDone:
    """No more of a reply comes: it is written, or was stopped. Once for each `ReplyStarted`."""

    reply: int
    status: Literal["completed", "cut", "cancelled", "failed"]
    """`cut` where the limit of its length ended it."""
    why: str = ""
    """`turn` (the user took the floor), `asked`, or what went wrong."""


@dataclass(frozen=True)
class CutOff:
    """The listener stops playing a reply here, and only this is remembered of it."""

    reply: int
    entry: str
    seconds: float
    kept: str
    lost: str


@dataclass(frozen=True)
class PlayedOut:
    """A reply has been played to its end."""

    reply: int


@dataclass(frozen=True)
class Paused:
    """Nothing is recorded or played until the talk is resumed."""


@dataclass(frozen=True)
class Resumed:
    """The talk continues."""


Order = Judge | Begin | Abort | Part
Event = (
    SpeechStarted | SpeechStopped | TurnTaken | TurnDropped | Transcribed | ReplyStarted | Said | ReplyDone
    | CutOff | PlayedOut | Paused | Resumed
)  # fmt: skip
Output = Order | Event
