"""An answer plan inside the stock `generate`: scores outside of the plan are masked, complete rows stop.

Knows nothing of models. Shapes: B rows, L ids of prompt and answer, V text ids, S speech ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.generation import LogitsProcessor, StoppingCriteria

from osum.model.answer_plan import AnswerPlan, AnswerProgress


class Followed:
    """Where each row of a growing batch stands in its plan, in step with beams that are dropped and doubled."""

    def __init__(self, plan: AnswerPlan, prompt_length: int) -> None:
        self.plan, self.prompt_length = plan, prompt_length
        self._known: dict[tuple[int, ...], AnswerProgress] = {(): plan.begin()}

    def rows(self, input_ids: Tensor) -> list[tuple[tuple[int, ...], AnswerProgress]]:
        """Answer and progress of each row of ids (B, L)."""
        answers = [tuple(row) for row in input_ids[:, self.prompt_length :].tolist()]
        self._known = {answer: self._progress(answer) for answer in answers}
        return [(answer, self._known[answer]) for answer in answers]

    def _progress(self, answer: tuple[int, ...]) -> AnswerProgress:
        """From the progress one id ago, which is known from the last step, or from the beginning."""
        if answer in self._known:
            return self._known[answer]
        before = self._known.get(answer[:-1])
        if before is not None:
            return before if before.over else before.after(answer[-1])
        progress = self.plan.begin()
        for token in answer:
            progress = progress if progress.over else progress.after(token)
        return progress


class PlannedScores(LogitsProcessor):
    """Masks what the plan does not allow next."""

    def __init__(self, followed: Followed) -> None:
        self.followed = followed

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Ids (B, L) and joint scores (B, V + S) to scores with -inf where an id may not come next."""
        kept = torch.full_like(scores, -torch.inf)
        for row, (answer, progress) in enumerate(self.followed.rows(input_ids)):
            speech = progress.plan.speech
            head = slice(speech.first, speech.first + speech.count) if progress.aloud else slice(0, speech.first)
            kept[row, head] = limited(scores[row, head], progress, answer)
        return kept


class PlannedEnd(StoppingCriteria):
    """Stops each row when its answer is complete."""

    def __init__(self, followed: Followed) -> None:
        self.followed = followed

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """(B,): which rows are complete."""
        over = [progress.over for _, progress in self.followed.rows(input_ids)]
        return torch.tensor(over, device=input_ids.device)


def limited(scores: Tensor, progress: AnswerProgress, answer: Sequence[int]) -> Tensor:
    """Scores (V,) or (S,) of the head that says the next id, with -inf where it may not come behind `answer`."""
    for limit in progress.limits(answer):
        places = _places(limit.only, progress, scores)
        if len(places):  # a rule about the other head says nothing of this one
            scores = torch.full_like(scores, -torch.inf).index_copy(0, places, scores[places])
        if limit.never:
            scores = scores.index_fill(0, _places(limit.never, progress, scores), -torch.inf)
    return scores


def _places(ids: frozenset[int], progress: AnswerProgress, scores: Tensor) -> Tensor:
    """Columns of ids; an id of the other head has none."""
    places = (token - progress.first for token in ids)
    return torch.tensor([place for place in places if 0 <= place < len(scores)], dtype=torch.long, device=scores.device)
