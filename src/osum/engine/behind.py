"""Behind: a question whose transcript is given. Its labels are scored behind that text, and only a reply is decoded.

1. All tags of the first label set are fed behind the text, in the pass that reads the prompt; their scores name the
   likeliest label.
2. Where the task has another label set, its tags are fed behind that label, in a further pass.
3. The answer is the text with its likeliest labels; a reply is decoded from there.

Example, `good morning` and the labels low and high: `good morning<low>` and `good morning<high>` are fed, and share
their first ids. What the tags add is each label's score, as it is where the model has decoded `good morning` itself.

Pure values, as in `branch`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from osum.engine.branch import Branch, Seen, shared
from osum.engine.tree import Tree, common
from osum.tasks import REPLY_SEPARATOR


class Behind(Branch):
    """A question that is answered behind `ask.given`. Beams are not searched."""

    def start(self) -> None:
        """Feed the prompt, the text and what may follow it."""
        task = self.ask.task
        assert task is not None
        self._sets = list(task.label_sets)
        self._separator = REPLY_SEPARATOR if task.reply and (self._sets or task.transcript != "none") else ""
        self._said = (self.ask.given or "") if task.transcript == "plain" else ""
        self._scores: dict[str, tuple[float, ...]] = {}
        self._decodes = False
        self._offer()

    def follow(self) -> None:
        """There is no draft."""

    def take(self, seen: Seen, slots: Sequence[int]) -> None:
        """Read the scores, and feed what is still to be scored."""
        if self._decodes:
            super().take(seen, slots)
            return
        tree = self.tree
        assert tree is not None
        if self._empty is None:
            self._empty = math.exp(seen.end)
        paths = [tree.path(ids[self._known :]) or [] for ids in self._offered_ids]
        likeliest = self._score(seen, tree, paths)
        path = [*range(tree.root + 1), *paths[likeliest]]
        self.cached += [tree.ids[node] for node in path]
        self.slots += [slots[node] for node in path]
        self.log_probs[self._known :] = [seen.given[node - tree.root - 1] for node in paths[likeliest]]
        self.ids = self._offered_ids[likeliest]
        self._next_set()

    def _score(self, seen: Seen, tree: Tree, paths: Sequence[Sequence[int]]) -> int:
        """Keep the scores of the label set that was offered; which of what was offered is the likeliest."""
        if not self._sets:
            return 0
        same = shared(self._offered_ids) - self._known
        values = tuple(sum(seen.given[node - tree.root - 1] for node in path[same:]) for path in paths)
        labels = self._sets.pop(0)
        self._scores[labels.name] = values
        likeliest = max(range(len(values)), key=values.__getitem__)
        assert self.ask.task is not None
        self._said += self.ask.task.label_texts(labels)[likeliest]
        return likeliest

    def _next_set(self) -> None:
        """Offer the next label set, or decode the reply, or answer."""
        task, self.tree = self.ask.task, None
        assert task is not None
        if self._sets:
            self._offer()
        elif self._separator and not self._said.endswith(self._separator):
            self._said += self._separator
            self._offer()
        elif task.reply:
            self._decode()
        else:
            self.complete = True
            self._answer(self._scores)

    def _offer(self) -> None:
        """Feed the tags of the next label set behind what is said, or that alone; what is known is not fed again."""
        task = self.ask.task
        tags = task.label_texts(self._sets[0]) if task is not None and self._sets else ("",)
        self._offered_ids = [self.text_ids(self._said + tag) for tag in tags]
        # Tags are tokenised with the text before them, because a tag's `<` may melt into the token before it.
        self._known = min(common([self.ids, *self._offered_ids]), max(0, min(map(len, self._offered_ids)) - 1))
        self._keep(self.prompt + self._offered_ids[0][: self._known])
        for ids in self._offered_ids:
            self.tree.add(ids[self._known :])  # type: ignore[union-attr]

    def _keep(self, whole: list[int]) -> None:
        """Feed `whole` but for what stands in the row; its last id is fed again, since what follows it is asked."""
        reused = min(common([self.cached, whole]), len(whole) - 1)
        self.cached, self.slots = self.cached[:reused], self.slots[:reused]
        self.tree = Tree(whole[reused:])

    def _decode(self) -> None:
        self._decodes = True
        self.limit = min(self.ask.max_new_tokens + len(self.ids), self.room)
        self._keep(self.prompt + self.ids)
