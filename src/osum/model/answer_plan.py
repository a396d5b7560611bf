"""AnswerPlan: which ids an answer may say next, and when it is over. Text, speech, one after the other, or in turns.

Knows nothing of scores or of how ids are chosen: `generate` and the engine ask the same plan (echat 1.6).

1. A plan says where an answer begins: writing, or speaking where the text was given.
2. `AnswerProgress.after(id)` is where it stands behind one more id. The text's end turns writing into speaking; so,
   in turns, do 6 text ids, and 18 speech ids turn back while there is text.
3. Speech begins and ends with the same id: the second one ends the answer.

Worked example, text then speech, `.` the text's end and `|` the edge of speech: `h i . | 7 9 |` is written up to `.`,
spoken from the first `|`, and over at the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from osum.model.spoken_answer import SPEECH_TURN, TEXT_TURN, SpeechIds

Rule = Callable[[Sequence[int]], "Limits | None"]
"""From an answer's joint ids so far to a limit on the next id; None where the rule does not act."""


@dataclass(frozen=True)
class Limits:
    """Joint ids that alone may come next, and ids that may not."""

    only: frozenset[int] = frozenset()
    """Empty for all."""
    never: frozenset[int] = frozenset()


@dataclass(frozen=True)
class AnswerPlan:
    """The form of one answer."""

    speech: SpeechIds
    text_end: int
    """The id that closes the text."""
    writes: bool = True
    """Whether the answer has a text; without one it speaks a text that was given."""
    speaks: bool = False
    """Whether the answer is said aloud."""
    in_turns: bool = False
    turns_behind: tuple[int, ...] = ()
    """Ids behind which turns begin, such as those that close a thought; none where they begin at once."""
    begin_forced: bool = True
    """Whether speech must begin with its edge id; the release learned it instead."""
    rules: tuple[Rule, ...] = ()

    def begin(self) -> AnswerProgress:
        """Where an answer stands before its first id. Where nothing is written, the prompt has begun the speech."""
        left = None if self.turns_behind else self._turn(aloud=False)
        return AnswerProgress(self, aloud=not self.writes, edges=0 if self.writes else 1, left=left)

    def _turn(self, aloud: bool) -> int | None:
        """Ids of one turn; None where there are no turns."""
        return (SPEECH_TURN if aloud else TEXT_TURN) if self.in_turns else None


@dataclass(frozen=True)
class AnswerProgress:
    """How far an answer is. A value: `after` gives the next one."""

    plan: AnswerPlan
    aloud: bool
    """Whether the next id is a speech id; else it is a text id."""
    edges: int = 0
    """How many ids that begin or end speech were said."""
    left: int | None = None
    """Ids left in this turn; None where it ends by itself."""
    tail: tuple[int, ...] = ()
    """The last ids before turns begin, as many as may begin them."""
    over: bool = False
    """Whether the answer is complete."""

    @property
    def first(self) -> int:
        """The first joint id of the head that says the next id."""
        return self.plan.speech.first if self.aloud else 0

    def limits(self, answer: Sequence[int]) -> list[Limits]:
        """What the plan and its rules say of the next id behind an answer's joint ids."""
        begins = self.aloud and self.edges == 0 and self.plan.begin_forced
        forced = [Limits(only=frozenset((self.plan.speech.edge,)))] if begins else []
        return forced + [limit for rule in self.plan.rules if (limit := rule(answer)) is not None]

    def after(self, token: int) -> AnswerProgress:
        """Where the answer stands behind one more id."""
        return self._spoken(token) if self.aloud else self._written(token)

    def _written(self, token: int) -> AnswerProgress:
        plan = self.plan
        if token == plan.text_end:
            return replace(self, aloud=plan.speaks, left=None, over=not plan.speaks)
        if self.left is None and plan.turns_behind:
            tail = (*self.tail, token)[-len(plan.turns_behind) :]
            return replace(self, tail=tail, left=plan._turn(aloud=False) if tail == plan.turns_behind else None)
        return self._turned(plan)

    def _spoken(self, token: int) -> AnswerProgress:
        edges = self.edges + (token == self.plan.speech.edge)
        if edges == 2:
            return replace(self, edges=2, over=True)
        return replace(self, edges=edges)._turned(self.plan)

    def _turned(self, plan: AnswerPlan) -> AnswerProgress:
        """One id less in this turn, or the other side's turn; a closed text has no more turns."""
        if self.left is None:
            return self
        if self.left > 1:
            return replace(self, left=self.left - 1)
        return replace(self, aloud=not self.aloud, left=plan._turn(not self.aloud))


@dataclass(frozen=True)
class Opens:
    """An answer begins with these ids."""

    ids: tuple[int, ...]

    def __call__(self, answer: Sequence[int]) -> Limits | None:
        return Limits(only=frozenset((self.ids[len(answer)],))) if len(answer) < len(self.ids) else None


@dataclass(frozen=True)
class Once:
    """Right behind certain ids only some may follow, the first time that these ids are said (echat 1.6).

    It keeps a tag thought from inventing an age: behind `年龄为:<` the release may say three beginnings alone.
    """

    behind: tuple[int, ...]
    only: frozenset[int]

    def __call__(self, answer: Sequence[int]) -> Limits | None:
        size = len(self.behind)
        if tuple(answer[-size:]) != self.behind:
            return None
        seen = any(tuple(answer[at : at + size]) == self.behind for at in range(len(answer) - size))
        return None if seen else Limits(only=self.only)


AGE_IN_THOUGHT = Once((102_185, 17_714, 31_252), frozenset((99_119, 1808, 7863)))
"""The release's one-shot rule over ids of Qwen's tokenizer: an age is CHILD, ADULT or OLD (echat 1.6)."""


class Wear(NamedTuple):
    """How often one code may come: this many times in a row, and of the last `window` codes."""

    in_row: int
    in_window: int
    window: int


CODE, SILENCE = Wear(5, 5, 8), Wear(10, 10, 13)
"""The release's numbers, for codes and for the one that sounds like silence (echat 1.6)."""


@dataclass(frozen=True)
class CodesRepeat:
    """Speech must not hang on one code; one that sounds like silence may repeat for longer (echat 1.6).

    The release lists this guard, but it never acts there: off in its plan, an option in ours.
    """

    speech: SpeechIds
    most: Wear = CODE
    silence: int = 1446
    most_silence: Wear = SILENCE

    def __call__(self, answer: Sequence[int]) -> Limits | None:
        codes = [token - self.speech.first for token in answer if self.speech.first <= token < self.speech.edge]
        recent = codes[-max(self.most.window, self.most_silence.window) :]
        worn = {code for code in set(recent) if self._is_worn(code, recent)}
        return Limits(never=frozenset(self.speech.first + code for code in worn)) if worn else None

    def _is_worn(self, code: int, codes: Sequence[int]) -> bool:
        """Whether one more of `code` would be one too many."""
        most = self.most_silence if code == self.silence else self.most
        in_a_row = len(codes) >= most.in_row and all(other == code for other in codes[-most.in_row :])
        return in_a_row or codes[1 - most.window :].count(code) >= most.in_window


@dataclass(frozen=True)
class ThoughtBudget:
    """A thought that has used up its ids is closed, and the answer follows. Only where the answer opened one."""

    opening: tuple[int, ...]
    closing: tuple[int, ...]
    text_end: int
    budget: int
    """Ids of the thought, its marks left out."""

    def __call__(self, answer: Sequence[int]) -> Limits | None:
        opened, used = tuple(answer[: len(self.opening)]) == self.opening, len(answer) - len(self.opening)
        if not opened or used < self.budget or self.text_end in answer:
            return None
        if any(tuple(answer[at : at + len(self.closing)]) == self.closing for at in range(len(answer))):
            return None
        sizes = range(len(self.closing))
        written = max(size for size in sizes if tuple(answer[len(answer) - size :]) == self.closing[:size])
        return Limits(only=frozenset((self.closing[written],)))
