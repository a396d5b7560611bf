"""Planned: a question that is answered by a plan, in text, aloud, or both (echat 1.6).

1. The plan says which head gives the next id, and what may not come; the pass scores with that head alone.
2. One id is taken, by the options of the question, and the plan moves on. There are no drafts and no labels.
3. The plan ends the answer; the id that ends it is left out of the reply, as everywhere.

Pure values, as in `branch`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from osum.engine.branch import Branch, Sampler, Seen
from osum.engine.tree import Tree
from osum.model.answer_plan import AnswerPlan
from osum.model.planned_generation import limited


class Planned(Branch):
    """A question that is answered by `ask.plan`. Beams are not searched."""

    pick: Sampler

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.ask.plan, AnswerPlan)
        self.pick = Sampler(self.ask.options)
        self._progress = self.ask.plan.begin()

    @property
    def aloud(self) -> bool:
        """Whether the speech head says the next id."""
        return self._progress.aloud

    def start(self) -> None:
        """Feed the prompt."""
        self.tree = Tree(self.prompt)

    def follow(self) -> None:
        """There is no draft."""

    def take(self, seen: Seen, slots: Sequence[int]) -> None:
        """Take one id."""
        assert self.tree is not None and seen.logits is not None
        self.cached += self.tree.ids
        self.slots += slots
        token, log_prob = self._choose(seen.logits[0])
        self._progress = self._progress.after(token)
        self._ended = self._progress.over
        if not self._ended:
            self.ids.append(token)
            self.log_probs.append(log_prob)
        self.complete = self._ended or len(self.ids) == self.limit
        self.tree = None if self.complete else Tree([token])
        if self.complete:
            self._finish()

    def _choose(self, logits: Tensor) -> tuple[int, float]:
        """The next joint id and its log-probability, from the logits (V,) or (S,) of the head that says it."""
        first = self._progress.first
        said = [token - first for token in self.ids if 0 <= token - first < len(logits)]
        scores = limited(logits, self._progress, self.ids)
        place = self.pick(said, scores)
        return first + place, scores.log_softmax(-1)[place].item()
