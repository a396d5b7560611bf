"""What an engine is given and gives back: requests, events and results. Values only."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from osum.engine.options import GenerationOptions, NumTokens
from osum.errors import InputError
from osum.model.answer_plan import AnswerPlan
from osum.records import check_fields
from osum.tasks import Task


@dataclass(frozen=True)
class Ask:
    """One question: a rendered conversation, and how its answer is decoded."""

    text: str
    """What `OsumProcessor.render` or `.request` gives, one `<|audio|>` for each clip of the request."""
    max_new_tokens: NumTokens
    task: Task | None = None
    """Defines where in the answer the transcript is and which labels are scored; None for a free question."""
    options: GenerationOptions = field(default_factory=GenerationOptions)
    given: str | None = None
    """The transcript: labels are scored behind it, and it is not decoded (see `engine.behind`)."""
    plan: AnswerPlan | None = None
    """What a free question is answered with: text, speech or both (see `engine.planned`); None for text."""
    runs: tuple[Sequence[int], ...] = ()
    """Joint ids of each `<|ids|>` of the text, such as what earlier turns said aloud."""
    words: tuple[str, ...] = ()
    """Words that a timed answer consists of: its times alone are decoded (see `engine.forced`)."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.plan is not None and (self.task is not None or self.options.searches):
            raise InputError("a plan together with a task or with beams: a plan answers a free question, id by id")

    @property
    def drafts(self) -> bool:
        """Whether a transcript is decoded, id by id, that may be the draft of others or have one."""
        return self.transcribes and self.given is None and not self.options.searches

    @property
    def searched(self) -> bool:
        """Whether the answer is found by beam search."""
        return self.given is None and self.options.searches

    @property
    def transcribes(self) -> bool:
        """Whether the answer begins with a plain transcript."""
        return self.task is not None and self.task.transcript == "plain"

    @property
    def bare(self) -> bool:
        """Whether the answer is a plain transcript and nothing else."""
        return self.transcribes and self.task is not None and not (self.task.label_sets or self.task.reply)


@dataclass(frozen=True, eq=False)  # tensors have no truth value
class Request:
    """Questions about the same clips. Each is answered as if it were alone."""

    id: Hashable
    features: tuple[Tensor, ...]
    """Log-mel (M, F_i) of each clip, in reading order."""
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class EngineReply:
    """The answer to one question."""

    text: str
    """Exactly what decoding this question alone gives."""
    ids: tuple[int, ...]
    """Without the id that ends an answer."""
    log_probs: tuple[float, ...] = ()
    """Log-probability of each id; empty where beams were searched."""
    ended: bool = True
    """False where the limit cut the answer."""
    empty: float | None = None
    """Probability that the answer ends before it begins."""
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Label set to the log-probability of each whole tag, up to a constant of the set."""
    drafted: int = 0
    """Tokens of the draft that were offered."""
    accepted: int = 0
    """Tokens that were guessed right and cost no step of their own."""


@dataclass(frozen=True)
class Event:
    """News of one question: ids it was answered with since the last event, and the reply once it is complete."""

    id: Hashable
    ask: int
    """Which of the request's questions."""
    ids: tuple[int, ...] = ()
    reply: EngineReply | None = None


@dataclass(frozen=True)
class Result:
    """All replies to a request in the order of its questions, or why there are none."""

    id: Hashable
    replies: tuple[EngineReply, ...] = ()
    error: str | None = None
    fault: Exception | None = None
    """What went wrong, where `error` is no refusal in words of osum's own."""
