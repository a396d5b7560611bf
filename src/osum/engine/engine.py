"""Engine: the only caller of the model. Requests in, streams of ids and replies out, a pass at a time.

1. `add` takes requests. A step encodes the clips of those that wait and gives each a row in the cache: one for all
   its questions where the clips stand before every question, else one for each.
2. The step then makes one pass of the language model over everything that is ready: prompts, next ids, drafts, labels.
3. The first question with a transcript leads. Its transcript is the draft of the others (see `branch`).

Knows nothing of files or windows. Shapes: M mel bins, F frames, T audio tokens, D width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby, islice
from typing import NamedTuple

import torch
from torch import Tensor

from osum.checkpoints.checkpoint import Checkpoint
from osum.engine.beams import search
from osum.engine.branch import Branch
from osum.engine.cache import TokenCache
from osum.engine.options import GenerationOptions
from osum.engine.request import Ask, Event, Reply, Request, Result
from osum.engine.rows import Row, forward
from osum.engine.tree import common
from osum.errors import LayoutError, OsumError
from osum.model.configuration_osum import audio_token_length
from osum.model.processing_osum import pad_features
from osum.tasks import Task

BASE_TOKENS = 40
"""Longest answer for no audio at all."""
TOKENS_PER_SECOND = {"plain": 12, "timed": 90, "none": 0}
"""Added to it per second of audio: fast speech, and with times before and after each word."""
REPLY_TOKENS = 120
"""Added for a reply, whose length does not depend on the audio."""
WAITING = 8
"""Results kept behind an unfinished one before a run takes no more, in numbers of what is on its way."""


@dataclass(frozen=True)
class Budget:
    """What bounds memory and never changes an answer."""

    clips: int = 64
    """Requests on their way at once."""
    frames: int = 16_000
    """Mel frames, padding included, of one pass of the encoder; a single request may need more."""
    tokens: int = 8_192
    """Tokens of one pass of the language model; a single row may need more."""

    @classmethod
    def of(cls, device: torch.device) -> Budget:
        """What suits a device: a processor encodes a fifth faster what stays in its caches."""
        return cls(frames=4_000) if device.type == "cpu" else cls()


@dataclass
class Counts:
    """What was done since the engine was made."""

    clips: int = 0
    """Clips encoded."""
    passes: int = 0
    """Passes of the language model."""
    tokens: int = 0
    """Tokens fed to it."""
    drafted: int = 0
    """Tokens of drafts, of questions that are answered."""
    accepted: int = 0
    """Tokens that were guessed right."""


@dataclass(eq=False)
class Job:
    """A request on its way."""

    rows: list[Row]
    branches: list[Branch]
    """In the order of the request's questions."""
    untold: set[int]
    """Numbers of the questions whose reply was not told yet."""
    told: list[int]
    """How many ids of each question's answer were told."""


class _Place(NamedTuple):
    """Id of a request of `run`."""

    run: int
    number: int


class Engine:
    """Runs one checkpoint on one device. In float32 a reply is the same alone and in any company.

    Example:
        >>> engine.add(Request("a", (processor.log_mel(samples),), (Ask(processor.request("what is said?"), 40),)))
        >>> while engine.busy:
        ...     for event in engine.step():
        ...         print(event.ids, event.reply)
    """

    def __init__(self, checkpoint: Checkpoint, budget: Budget | None = None) -> None:
        self.model = checkpoint.model
        self.processor = checkpoint.processor
        self.device = self.model.device
        self.budget = budget or Budget.of(self.device)
        self.counts = Counts()
        self._cache = TokenCache(self.model.config.text_config, self.device, self.model.dtype)
        self._waiting: deque[tuple[Request, list[list[int]]]] = deque()
        self._jobs: dict[Hashable, Job] = {}
        self._rows: list[Row | None] = []
        self._runs: dict[int, dict[int, dict[int, Reply]]] = {}
        self._run_numbers = count()

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._waiting or self._jobs)

    @staticmethod
    def token_limit(task: Task, seconds: float, options: GenerationOptions) -> int:
        """Longest answer of a task about a clip of `seconds`; depends on nothing else in the batch."""
        if options.max_new_tokens is not None:
            return options.max_new_tokens
        reply = REPLY_TOKENS if task.reply else 0
        return BASE_TOKENS + reply + int(TOKENS_PER_SECOND[task.transcript] * seconds)

    def add(self, request: Request) -> None:
        """Take a request; steps answer it.

        Raises:
            LayoutError: an id that is on its way, no question, clips that are not in the text, or a text too long.
        """
        if request.id in self._jobs or any(request.id == waiting.id for waiting, _ in self._waiting):
            raise LayoutError(f"request {request.id!r} is on its way already: give each its own id")
        if not request.asks:
            raise LayoutError(f"request {request.id!r} asks nothing: give it at least one question")
        lengths = [audio_token_length(clip.shape[-1]) for clip in request.features]
        ids = [self.processor.joint_ids(ask.text, lengths) for ask in request.asks]
        limit = self.model.config.text_config.max_position_embeddings
        if (longest := max(map(len, ids))) >= limit:
            raise LayoutError(f"a conversation of {longest} tokens: this model takes less than {limit}; shorten it")
        self._waiting.append((request, ids))

    def cancel(self, request_id: Hashable) -> bool:
        """Forget a request, whatever it was at; False where it is not on its way."""
        job = self._jobs.pop(request_id, None)
        for row in job.rows if job else ():
            self._leave(row)
        kept = deque(pair for pair in self._waiting if pair[0].id != request_id)
        found = job is not None or len(kept) < len(self._waiting)
        self._waiting = kept
        return found

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """One pass of the model; what it brought for each question it went over."""
        events = self._admit()
        if rows := self._next_rows():
            self._cache.reserve(len(self._rows), max(row.length + row.num_tokens for row in rows))
            self.counts.passes += 1
            self.counts.tokens += sum(row.num_tokens for row in rows)
            forward(self.model, self._cache, rows, self.processor.answer_end_token_id)
            for request_id, job in list(self._jobs.items()):
                events += self._settle(request_id, job)
        return events

    def run(self, requests: Iterable[Request], ahead: int = 16) -> Iterator[Result]:
        """Results in the order of the requests, each that cannot be answered with its error in its place.

        Args:
            requests: read as they are needed; their ids need not differ.
            ahead: how many are on their way at once; they are taken in halves, those of like length together.
        """
        run = next(self._run_numbers)
        replies = self._runs[run] = {}  # of what is on its way
        names: dict[int, tuple[Hashable, int]] = {}
        results: dict[int, Result] = {}
        source, order = enumerate(requests), deque[int]()
        try:
            while True:
                while order and order[0] in results:
                    yield results.pop(order.popleft())
                room = 2 * len(replies) <= ahead and len(order) < WAITING * ahead
                pulled = list(islice(source, ahead - len(replies))) if room else []
                if not (pulled or order):
                    return
                order.extend(number for number, _ in pulled)
                for number, request in sorted(pulled, key=_num_frames):
                    names[number] = request.id, len(request.asks)
                    try:
                        self.add(replace(request, id=_Place(run, number)))
                        replies[number] = {}
                    except OsumError as fault:
                        results[number] = Result(request.id, error=str(fault))
                self._deliver(self.step())
                for number in [number for number, found in replies.items() if len(found) == names[number][1]]:
                    found = replies.pop(number)
                    results[number] = Result(names.pop(number)[0], tuple(found[ask] for ask in range(len(found))))
        finally:
            del self._runs[run]
            for number in replies:
                self.cancel(_Place(run, number))

    def _deliver(self, events: Iterable[Event]) -> None:
        """Hand replies to the run that waits for them: two may be open at once, and each steps for both."""
        for event in events:
            if event.reply is not None and isinstance(event.id, _Place) and event.id.run in self._runs:
                self._runs[event.id.run][event.id.number][event.ask] = event.reply

    def _admit(self) -> list[Event]:
        """Encode the clips of those that wait, as many as fit, and begin their questions."""
        taken: list[tuple[Request, list[list[int]]]] = []
        clips: list[Tensor] = []
        for request, ids in islice(self._waiting, max(0, self.budget.clips - len(self._jobs))):
            more = [*clips, *request.features]
            if taken and len(more) * max((clip.shape[-1] for clip in more), default=0) > self.budget.frames:
                break
            taken.append((request, ids))
            clips = more
        audio = iter(self._encode(clips))
        events = []
        for request, ids in taken:  # they wait until here, so that a step that fails loses none
            self._waiting.popleft()
            events += self._begin(request, ids, list(islice(audio, len(request.features))))
        return events

    def _encode(self, clips: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Log-mel (M, F_i) to audio embeddings (T_i, D)."""
        if not clips:
            return ()
        self.counts.clips += len(clips)
        features, mask = pad_features(clips)
        return self.model.get_audio_features(features.to(self.device), mask.to(self.device))

    def _begin(self, request: Request, ids: list[list[int]], audio: Sequence[Tensor]) -> list[Event]:
        """Give a request its rows, and start what needs no draft."""
        nothing = torch.empty(0, self.model.config.text_config.hidden_size, device=self.device, dtype=self.model.dtype)
        sound = torch.cat([*audio, nothing])  # (sum T_i, D)
        shared = min(common(ids), min(map(len, ids)) - 1)
        together = all(self.processor.audio_token_id not in row[shared:] for row in ids)
        rows = []
        for group in [list(range(len(ids)))] if together else [[number] for number in range(len(ids))]:
            cut = shared if together else len(ids[group[0]]) - 1
            branches = [self._branch(request.asks[number], ids[number][cut:]) for number in group]
            rows.append(Row(ids[group[0]][:cut], sound, branches))
        branches = [branch for row in rows for branch in row.branches]
        plain = [branch for branch in branches if branch.ask.transcribes and not branch.ask.options.searches]
        lead = min(plain, key=lambda branch: not branch.ask.bare, default=None)
        job = self._jobs[request.id] = Job(rows, branches, set(range(len(ids))), [0] * len(ids))
        for branch in plain:
            branch.beside = [other for other in plain if other is not branch]
            branch.lead = lead if branch is not lead else None
        searched = [(branch, row) for branch, row in zip(branches, ids, strict=True) if branch.ask.options.searches]
        self._search(searched, sound)
        for branch in branches:
            # In a row of its own a question waits for the whole draft; beside the lead it is read with the clip.
            if not branch.ask.options.searches and (together or branch.lead is None):
                branch.start()
        return self._settle(request.id, job)

    def _branch(self, ask: Ask, ids: list[int]) -> Branch:
        processor = self.processor
        return Branch(ask, ids, processor.answer_end_token_id, processor.text_ids, processor.decode)

    def _search(self, asked: Sequence[tuple[Branch, list[int]]], sound: Tensor) -> None:
        """Answer by beam search; where it draws, each question alone, so that its seed alone decides."""

        def alike(pair: tuple[int, tuple[Branch, list[int]]]) -> tuple[int, str, int]:
            ask = pair[1][0].ask
            return ask.max_new_tokens, repr(ask.options), pair[0] if ask.options.do_sample else 0

        for _, group in groupby(sorted(enumerate(asked), key=alike), key=alike):
            pairs = [pair for _, pair in group]
            ask = pairs[0][0].ask
            rows = [(ids, sound) for _, ids in pairs]
            found = search(self.model, self.processor, rows, ask.max_new_tokens, ask.options)
            for (branch, _), answer in zip(pairs, found, strict=True):
                branch.settle(answer)

    def _next_rows(self) -> list[Row]:
        """What the next pass feeds: every row that has something, as many as fit, the oldest first."""
        rows: list[Row] = []
        size = 0
        for row in (row for job in self._jobs.values() for row in job.rows if row.open):
            size += row.num_tokens
            if rows and size > self.budget.tokens:
                break
            rows.append(row)
        return rows

    def _settle(self, request_id: Hashable, job: Job) -> list[Event]:
        """After a pass: start what waited for a draft, give rows up or places in the cache, and tell the news."""
        for branch in job.branches:
            branch.follow()
        for row in job.rows:
            if row.done:
                self._leave(row)
            elif row.index is None and row.open:
                self._enter(row)
        events = []
        for number, branch in enumerate(job.branches):
            news, answered = tuple(branch.ids[job.told[number] :]), number in job.untold and branch.reply is not None
            if news or answered:
                events.append(Event(request_id, number, news, branch.reply if answered else None))
                job.told[number] = len(branch.ids)
            if answered and branch.reply is not None:
                job.untold.remove(number)
                self.counts.drafted += branch.reply.drafted
                self.counts.accepted += branch.reply.accepted
        if not job.untold:
            del self._jobs[request_id]
        return events

    def _enter(self, row: Row) -> None:
        row.index = next((place for place, other in enumerate(self._rows) if other is None), len(self._rows))
        self._rows[row.index : row.index + 1] = [row]

    def _leave(self, row: Row) -> None:
        if row.index is not None:
            self._rows[row.index], row.index = None, None


def _num_frames(pair: tuple[int, Request]) -> int:
    return sum(clip.shape[-1] for clip in pair[1].features)
