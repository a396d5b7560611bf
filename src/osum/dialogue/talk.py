"""Talk: the state of a spoken conversation, a value. `taking_turns.advance` takes one and returns the next.

Nobody waits in here and nothing runs: what takes time (the policy, the model, the voice) is ordered by outputs and
comes back as news. So a talk can be scripted to the millisecond, copied, and replayed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osum.dialogue import hearing
from osum.dialogue.hearing import Hearing, HearingRules
from osum.dialogue.history import Entry, History
from osum.dialogue.news import Output
from osum.dialogue.playback import Playback
from osum.dialogue.talker import Piece
from osum.dialogue.turn_policy import Judgement
from osum.listening.vad import Detector
from osum.utterance import Word

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class TalkRules:
    """How a talk is led."""

    hearing: HearingRules = field(default_factory=HearingRules)
    takes_turns: bool = True
    """Whether turns are found in the sound; False leaves it to `Commit` and `Respond` (push to talk)."""
    replies: bool = True
    """Whether a turn is replied to without `Respond`."""
    interrupts: bool = True
    """Whether speech over a reply can stop it."""
    min_speech: float = 0.1
    """Seconds of speech that begin a turn; anything shorter is a click."""
    padding: float = 0.3
    """Seconds before the first speech that belong to the turn."""
    judge_after: float = 0.5
    """Seconds of silence after which the policy is asked whether the turn is over."""
    judge_over_reply: float = 0.35
    """Seconds of speech over a reply after which the policy is asked whether it interrupts."""
    judge_again: float = 1.0
    """More seconds of speech over a reply after which it is asked once more, where it said no."""
    judge_timeout: float = 0.5
    """Seconds of the clock in which the policy must answer; else the turn is taken, or the reply interrupted."""
    speculate_after: float | None = None
    """Seconds of silence after which a reply is begun that nobody is given yet; None waits for the policy."""
    max_sound: float = 30.0
    """Seconds of one turn that are kept as sound; of a longer one, what came before is kept as text."""
    aloud: bool = True
    """Whether replies are played; False where they are only read."""
    instructions: str = ""
    """What the model is asked to be."""
    reply_options: Any = None
    """Are given to the generator with each conversation."""


@dataclass(frozen=True, eq=False)
class PolicyQuestion:
    """What the policy is being asked."""

    id: int
    asked_at: float
    """Time of the clock."""
    paused: bool


@dataclass(frozen=True, eq=False)
class UserTurn:
    """What the user is saying, pauses included."""

    id: int
    start: int
    """Samples of the stream before it."""
    frames: tuple[Samples, ...]
    probabilities: tuple[float, ...]
    """Of speech, one a frame."""
    end: int
    """Samples of the stream up to the last speech."""
    speech: int
    """Samples with speech, of all of it."""
    over_reply: bool = False
    """Whether it began while a reply was playing."""
    announced: bool = False
    """Whether the user has been given the floor."""
    asked_speech: int = 0
    """Samples with speech when the policy was last asked about a turn over a reply."""
    question: PolicyQuestion | None = None
    judged: Judgement | None = None
    """What the policy said of this pause."""
    parts: int = 0
    """Parts that were given away to be written down."""
    texts: tuple[tuple[int, str], ...] = ()
    """Number and text of parts that came back."""


@dataclass(frozen=True, eq=False)
class ReplyUnderway:
    """A reply that is being generated or played."""

    id: int
    entry: str
    remembered: bool = True
    aloud: bool = True
    """Whether it is played; what is only read counts as read as soon as it is written."""
    released: bool = False
    """Whether it is given out; a speculation is not, until its turn is taken."""
    options: Any = None
    """What its generator was given."""
    behind: str | None = None
    waiting: tuple[Piece, ...] = ()
    """Pieces of a speculation."""
    text: str = ""
    words: tuple[Word, ...] = ()
    playback: Playback = field(default_factory=Playback)
    written: bool = False
    """Whether its last piece has come."""
    codes: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Talk:
    """A conversation at one moment."""

    rules: TalkRules
    hearing: Hearing
    history: History = field(default_factory=History)
    clock: int = 0
    """Samples of the microphone so far."""
    before: tuple[Samples, ...] = ()
    """The last frames without a turn."""
    onset: int = 0
    """Frames with speech in a row, without a turn."""
    user: UserTurn | None = None
    answer: ReplyUnderway | None = None
    held: bool = False
    owed: bool = False
    """Whether a turn that did not interrupt waits for its reply."""
    turns: int = 0
    replies: int = 0
    questions: int = 0


def begin(rules: TalkRules, detector: Detector[Any], history: History | None = None) -> Talk:
    """A talk before its first sound."""
    return Talk(rules, hearing.start(detector), history or History())


class Advance:
    """One call of `advance` on its way: the talk so far, and what has come out of it."""

    def __init__(self, talk: Talk, now: float) -> None:
        self.talk, self.now = talk, now
        self.out: list[Output] = []

    @property
    def rules(self) -> TalkRules:
        """The talk's."""
        return self.talk.rules

    def set(self, **changes: Any) -> None:
        """Change the talk."""
        self.talk = replace(self.talk, **changes)

    def set_user(self, **changes: Any) -> None:
        """Change the user's turn."""
        assert self.talk.user is not None
        self.set(user=replace(self.talk.user, **changes))

    def set_answer(self, **changes: Any) -> None:
        """Change the reply."""
        assert self.talk.answer is not None
        self.set(answer=replace(self.talk.answer, **changes))

    def give(self, *outputs: Output) -> None:
        """Let something out."""
        self.out += outputs


def turn_name(number: int) -> str:
    """Id of the entry of a turn of the user."""
    return f"turn_{number}"


def reply_name(number: int) -> str:
    """Id of the entry of a reply."""
    return f"reply_{number}"


def entry_of(turn: UserTurn, samples: Samples) -> Entry:
    """A user's turn as it is remembered."""
    earlier = " ".join(text for _, text in sorted(turn.texts) if text)
    return Entry(turn_name(turn.id), "user", samples=samples, earlier=earlier)
