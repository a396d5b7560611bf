"""Branch: one question on its way to its answer. Says what the next pass feeds, and takes what it found.

1. The question's own ids are fed, followed by guesses of the answer where there is a draft: the transcript of the
   question that leads, in pieces while it is still being decoded, with every tag after its end.
2. The guesses are accepted for as long as they are what this question alone would decode; from there on it is decoded
   id by id. A wrong guess costs time and never changes an answer.
3. The labels of a complete answer are scored, without a further pass where every tag was guessed.

Example, the lead's draft is `good morning all` and this question would answer `good morning you <low>`: `good` and
`morning` are accepted in one pass, which also scores the id after them, `you`. `all` is dropped, `you` is fed next,
and the rest is decoded id by id.

Knows nothing of the model: only lists of ids and what a pass says of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.generation import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from osum.engine.forced import Forced
from osum.engine.options import GenerationOptions
from osum.engine.request import Ask, EngineReply
from osum.engine.tree import Tree, common
from osum.tasks import REPLY_SEPARATOR, Task

LOOKAHEAD = 8
"""Ids guessed from what was said before, and ids of a draft that are read at once while it grows."""
OWN_GRAM, OTHER_GRAM = 3, 2
"""Ids that have to be the same, in one's own answer and in another's, before what follows is guessed."""
TextIds = Callable[[str], list[int]]
Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Seen:
    """What a pass says of a tree, for the root and every guess behind it, N nodes."""

    best: list[int]
    """The likeliest id behind each node."""
    best_log_probs: list[float]
    given: list[float]
    """Log-probability of each guess behind its parent, N - 1."""
    end: float
    """Log-probability that nothing follows the root."""
    logits: Tensor | None = None
    """(N, V) float32, where they were asked for."""


class Sampler:
    """Draws ids from a branch's own stream of random numbers, so that a seed decides whatever the batch."""

    def __init__(self, options: GenerationOptions) -> None:
        self.draws = options.do_sample
        self._generator = torch.Generator()
        if options.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(options.seed)
        self._processors = LogitsProcessorList()
        if options.repetition_penalty != 1.0:
            self._processors.append(RepetitionPenaltyLogitsProcessor(options.repetition_penalty))
        if options.do_sample:
            if options.temperature != 1.0:
                self._processors.append(TemperatureLogitsWarper(options.temperature))
            if options.top_k:
                self._processors.append(TopKLogitsWarper(options.top_k))
            if options.top_p < 1.0:
                self._processors.append(TopPLogitsWarper(options.top_p))

    def __call__(self, ids: Sequence[int], logits: Tensor) -> int:
        """The next id behind `ids`, from logits (V,)."""
        scores = self._processors(torch.tensor([ids], dtype=torch.long), logits[None].clone())  # (1, V)
        if not self.draws:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(-1), 1, generator=self._generator))


def sampler(options: GenerationOptions) -> Sampler | None:
    """How ids are picked; None takes the likeliest."""
    return Sampler(options) if options.do_sample or options.repetition_penalty != 1.0 else None


@dataclass(eq=False)
class Branch:
    """One question behind what its row shares. `tree` is what the next pass feeds; None while there is nothing."""

    ask: Ask
    prompt: list[int]
    """The question's ids behind the row's prefix, at least one."""
    room: int
    """Positions of the model behind the question."""
    end: int
    text_ids: TextIds
    decode: Decode
    rivals: Sequence[Branch] = ()
    """Questions about the same clips, whose answers are worth a look."""
    lead: Branch | None = None
    """Whose transcript is this one's draft; None where there is none, or it was offered whole or left."""
    tree: Tree | None = None
    cached: list[int] = field(default_factory=list)
    """Ids that later ones see: prompt and answer so far."""
    slots: list[int] = field(default_factory=list)
    """Where in the row they stand; none where the row has lost its place in the cache."""
    ids: list[int] = field(default_factory=list)
    """The answer so far; the end is left out."""
    log_probs: list[float] = field(default_factory=list)
    complete: bool = False
    reply: EngineReply | None = None

    def __post_init__(self) -> None:
        self._forced = Forced(self.ask.words, self.text_ids, self.end) if self.ask.words else None
        self.pick = self._forced or sampler(self.ask.options)
        self.limit = min(self.ask.max_new_tokens, self.room - tag_room(self.ask.task, self.text_ids))
        """Ids that the answer may have: behind it there is room for its tags, which are scored there."""
        self._guessed: tuple[Tree, Seen, int] | None = None  # a tree with tags, and the ids of the answer before it
        self._wanted: list[list[list[int]]] = []  # label set, tag, ids
        self._ended = True
        self._empty: float | None = None
        self._offered = False  # whether `tree` holds whole answers
        self._drafted = self._accepted = 0

    @property
    def aloud(self) -> bool:
        """Whether the speech head says the next id."""
        return False

    @property
    def lost(self) -> list[int]:
        """Ids that were in the cache and have to be fed again."""
        return self.cached[len(self.slots) :]

    def start(self) -> None:
        """Begin, with every tag as a guess where the answer is nothing else."""
        self.tree = Tree(self.prompt)
        if self._forced is not None:
            self._add(self._forced.guess())
            return
        self._offered = self._guess(map(self.text_ids, guesses(self.ask.task, None)))

    def follow(self) -> None:
        """Read on along the transcript of the lead, if there is another piece of it, or its end."""
        lead = self.lead
        if lead is None or self.tree is not None or self.complete:
            return
        if not lead.complete:
            # The last id may yet melt into a tag, so it is not offered before it is known to be the last.
            piece = lead.ids[len(self.ids) : -1][:LOOKAHEAD]
            if self.ids and lead.ask.bare and len(piece) == LOOKAHEAD:
                self.tree = Tree(self.ids[-1:])
                self._add(piece)
                self._drafted += len(piece)
            return
        self.lead = None
        task = lead.ask.task
        assert task is not None
        transcript = task.transcript_of(self.decode(lead.ids))
        spoken = lead.ids if lead.ask.bare else self.text_ids(transcript)
        self.tree = Tree(self.ids[-1:] or self.prompt)
        if self._guess([spoken]):
            self._drafted += len(spoken) - len(self.ids)
        else:
            self._add(self._continuation())
        self._offered = self._guess(map(self.text_ids, guesses(self.ask.task, transcript)))

    def _guess(self, answers: Iterable[list[int]]) -> bool:
        """Offer beginnings of answers, those that begin as this one did; whether there were any."""
        assert self.tree is not None
        written = len(self.ids)
        fitting = [ids[written:] for ids in answers if ids[:written] == self.ids]
        for ids in fitting:
            self._add(ids)
        return bool(fitting)

    def _add(self, ids: Sequence[int]) -> None:
        """Guess that these ids continue the answer, as far as there are positions for them."""
        assert self.tree is not None
        self.tree.add(ids[: self.room - len(self.ids)])

    def _continuation(self) -> list[int]:
        if self._forced is not None:
            return self._forced.guess()
        return continuation(self.ids, [other.ids for other in self.rivals])

    def settle(self, ids: Sequence[int]) -> None:
        """Take an answer that was decoded elsewhere, whatever stands behind its end."""
        self._ended = self.end in ids
        self.ids = list(ids[: ids.index(self.end)] if self._ended else ids)
        self._finish()

    def take(self, seen: Seen, slots: Sequence[int]) -> None:
        """Read what a pass says of `tree`, which stands in `slots`."""
        tree = self.tree
        assert tree is not None
        self.tree = None
        if self.complete:
            self._read(tree, seen, len(self.cached) + len(tree.ids[: tree.root + 1]) - len(self.prompt))
            return
        if not self.ids:
            self._empty = torch.tensor(seen.end).exp().item()
        if self._offered:
            self._offered, self._guessed = False, (tree, seen, len(self.ids))
        path, node = list(range(tree.root + 1)), tree.root
        while not self.complete:
            token, log_prob = self._next(seen, node - tree.root)
            self.complete = token == self.end or len(self.ids) + 1 == self.limit
            self._ended = token == self.end
            if not self._ended:
                self.ids.append(token)
                self.log_probs.append(log_prob)
            child = tree.child(node, token)
            if child is None or self._ended:
                break
            self._accepted += 1
            path.append(node := child)
        self.cached += [tree.ids[node] for node in path]
        self.slots += [slots[node] for node in path]
        if self.complete:
            self._finish()
        elif self.lead is None or not self._keeps_to(self.lead):
            self.lead, self.tree = None, Tree(self.ids[-1:])
            self._add(self._continuation())

    def _keeps_to(self, lead: Branch) -> bool:
        """Whether both have said the same so far; a lead that ends in tags is compared once it is complete."""
        size = min(len(self.ids), len(lead.ids))
        return not lead.ask.bare or self.ids[:size] == lead.ids[:size]

    def _next(self, seen: Seen, place: int) -> tuple[int, float]:
        if self.pick is None:
            return seen.best[place], seen.best_log_probs[place]
        assert seen.logits is not None
        token = self.pick(self.ids, seen.logits[place])
        return token, seen.logits[place].log_softmax(-1)[token].item()

    def _finish(self) -> None:
        """The answer is complete: score its labels, or ask for the pass that does."""
        self.complete = True
        task = self.ask.task
        text = self.decode(self.ids)
        self._wanted = [] if task is None else [self._tags(task, text, place) for place in range(len(task.label_sets))]
        if not self._wanted:
            self._answer({})
            return
        rows = [row for rows in self._wanted for row in rows]
        if self._guessed is not None:
            written = self._guessed[-1]
            if all(row[:written] == self.ids[:written] for row in rows) and self._read(*self._guessed):
                return
        same = shared(rows)
        whole = self.prompt + rows[0][:same]
        # The last id is fed again even where it is cached: what follows it was not kept.
        reused = min(common([self.cached, whole]), len(whole) - 1)
        self.cached, self.slots = self.cached[:reused], self.slots[:reused]
        self.tree = Tree(whole[reused:])
        for row in rows:
            self.tree.add(row[same:])

    def _tags(self, task: Task, text: str, place: int) -> list[list[int]]:
        """The ids of each tag of a label set behind the answer's transcript."""
        labels, before = task.label_sets[place], before_label(task, text, place)
        tags = task.label_texts(labels)
        rows = [self.text_ids(before + tag) for tag in tags]
        if max(map(len, rows)) <= self.room:
            return rows
        # Ids that a model says need not be those that a tokenizer makes of the same text, which may be more.
        earlier = before.removeprefix(task.transcript_of(text))
        return [self.ids + self.text_ids(earlier + tag) for tag in tags]

    def _read(self, tree: Tree, seen: Seen, offset: int) -> bool:
        """Score every tag from a tree whose root stands behind `offset` ids of the answer; False if one is missing."""
        scores: dict[str, tuple[float, ...]] = {}
        for labels, rows in zip(self.ask.task.label_sets if self.ask.task else (), self._wanted, strict=True):
            same = shared(rows)
            paths = [tree.path(row[offset:]) for row in rows]
            values = tuple(
                sum(seen.given[node - tree.root - 1] for node in path[same - offset :])
                for path in paths
                if path is not None
            )
            if len(values) < len(rows):
                return False
            scores[labels.name] = values
        self._answer(scores)
        return True

    def _answer(self, scores: Mapping[str, tuple[float, ...]]) -> None:
        self.reply = EngineReply(
            text=self.decode(self.ids),
            ids=tuple(self.ids),
            log_probs=tuple(self.log_probs),
            ended=self._ended,
            empty=self._empty,
            scores=scores,
            drafted=self._drafted,
            accepted=self._accepted,
        )
        self._guessed = None


def continuation(ids: Sequence[int], others: Sequence[Sequence[int]]) -> list[int]:
    """What may follow `ids`: what followed its last few ids before, here or in another answer (prompt lookup).

    It needs no model. It finds the way back to a draft after a word that differs, and the next round of a loop.

    Example, own ids `1 2 3 4 1 2 3`, own grams of 3: `1 2 3` was followed by `4 1 2 3`, so these are guessed, again and
    again up to the limit.
    """
    for source, size in ((ids, OWN_GRAM), *((other, OTHER_GRAM) for other in others)):
        gram = list(ids[-size:])
        for at in range(len(source) - size - 1, -1, -1):
            if len(gram) == size and list(source[at : at + size]) == gram:
                found = list(source[at + size : at + size + LOOKAHEAD])
                # After the end of the own answer comes what came before: the loop continues.
                return (found * LOOKAHEAD)[:LOOKAHEAD] if source is ids else found
    return []


def tag_room(task: Task | None, text_ids: TextIds) -> int:
    """The most ids that the tags of an answer take."""
    if task is None:
        return 0
    separator = len(text_ids(REPLY_SEPARATOR)) if task.reply else 0
    return separator + sum(max(map(len, map(text_ids, task.label_texts(labels)))) for labels in task.label_sets)


def shared(rows: Sequence[Sequence[int]]) -> int:
    """How many leading ids all rows share; at least one id of each row is left over."""
    return min(common(rows), min(map(len, rows)) - 1)


def guesses(task: Task | None, transcript: str | None) -> list[str]:
    """What a task's answer may begin with, when its transcript is known or when it has none.

    Tags are guessed with the transcript before them, because a tag's `<` may melt into the token before it.
    """
    if task is None or (task.transcript != "none" and transcript is None) or task.transcript == "timed":
        return []
    text = transcript or "" if task.transcript == "plain" else ""
    if task.label_sets:
        return [text + tag for tag in task.label_texts(task.label_sets[0])]
    if task.reply:
        return [text + REPLY_SEPARATOR] if task.transcript == "plain" else []
    return [text]


def before_label(task: Task, raw: str, place: int) -> str:
    """The text that the tag of a task's label set stands behind: the answer's own transcript and earlier tags."""
    found = task.parse(raw).labels if place else {}
    earlier = [f"<{found[labels.name] or labels.labels[0]}>" for labels in task.label_sets[:place]]
    return task.transcript_of(raw) + "".join(earlier)
