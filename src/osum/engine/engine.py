"""Engine: the only caller of the model. Requests in, streams of ids and replies out, a pass at a time.

1. `submit` takes requests. A step encodes the clips of those that wait and gives each a row in the cache: one for all
   its questions where the clips stand before every question, else one for each.
2. The step then makes one pass of the language model over everything that is ready: prompts, next ids, drafts, labels.
3. The first question with a transcript leads. Its transcript is the draft of the others (see `branch`).

One thread steps at a time, whichever waits for a reply (see `StepTurn`). Where something fails for several requests at
once, it is tried for each half of them, so that only the requests that fail alone end with the fault.
Knows nothing of files or windows. Shapes: M mel bins, F frames, T audio tokens, D width.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice

import torch
from torch import Tensor

from osum.checkpoints.checkpoint import Checkpoint
from osum.engine.beams import search
from osum.engine.behind import Behind
from osum.engine.branch import Branch, tag_room
from osum.engine.cache import TokenCache
from osum.engine.handle import Handle, StepTurn
from osum.engine.options import GenerationOptions
from osum.engine.planned import Planned
from osum.engine.request import Ask, Event, Request, Result
from osum.engine.rows import CacheRow, look
from osum.engine.tree import common
from osum.errors import CancelledError, LayoutError, OsumError
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
    cache_bytes: int = 4 << 30
    """Keys and values of all requests in flight together; what does not fit waits, and is fed again."""

    @classmethod
    def of(cls, device: torch.device) -> Budget:
        """What suits a device: a processor encodes a fifth faster what stays in its caches."""
        return cls(frames=4_000) if device.type == "cpu" else cls()


@dataclass
class EngineCounts:
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
    memory_faults: int = 0
    """How often memory ended for several requests at once, which were then tried in halves."""


@dataclass(eq=False)
class Job:
    """A request in flight."""

    handle: Handle
    prompts: list[list[int]]
    """Joint ids of each question."""
    sound: tuple[Tensor, ...] = ()
    """What the encoder makes of its clips, (T_i, D) each."""
    begun: bool = False
    """Whether its clips are encoded, so that its questions can be read."""
    rows: list[CacheRow] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    """In the order of the request's questions."""
    reported: list[int] = field(default_factory=list)
    """How many ids of each question's answer were reported; -1 behind its reply."""


class Engine:
    """Runs one checkpoint on one device, for any number of threads. In float32 a reply is the same alone and in any
    company.

    Example:
        >>> request = Request("a", (processor.log_mel(samples),), (Ask(processor.request("what is said?"), 40),))
        >>> engine.submit(request).result().replies[0].text
        'hello'
    """

    def __init__(self, checkpoint: Checkpoint, budget: Budget | None = None) -> None:
        self.model = checkpoint.model
        self.processor = checkpoint.processor
        self.device = self.model.device
        self.budget = budget or Budget.of(self.device)
        self.counts = EngineCounts()
        text_config = self.model.config.text_config
        self._cache = TokenCache(text_config, self.device, self.model.dtype, self.budget.cache_bytes)
        self._max_positions: int = text_config.max_position_embeddings
        self._turn = StepTurn(self._step, self._tidy)
        self._jobs: list[Job] = []
        """In the order of arrival; changed under the lock of the turn."""

    @property
    def busy(self) -> bool:
        """Whether a request is in flight."""
        return bool(self._jobs)

    @staticmethod
    def token_limit(task: Task, seconds: float, options: GenerationOptions) -> int:
        """Longest answer of a task about a clip of `seconds`; depends on nothing else in the batch."""
        if options.max_new_tokens is not None:
            return options.max_new_tokens
        reply = REPLY_TOKENS if task.reply else 0
        return BASE_TOKENS + reply + int(TOKENS_PER_SECOND[task.transcript] * seconds)

    def submit(self, request: Request) -> Handle:
        """Take a request from any thread, without waiting. It is answered while a thread waits for any handle.

        Raises:
            LayoutError: no question, clips that are not in the text, or a clip or a text too long.
        """
        if not request.asks:
            raise LayoutError(f"request {request.id!r} asks nothing: give it at least one question")
        frames, most = max((clip.shape[-1] for clip in request.features), default=0), self.processor.max_frames
        if frames > most:
            raise LayoutError(f"a clip of {frames} frames: this model takes at most {most} at once; cut it")
        lengths = [self.processor.num_audio_tokens(clip.shape[-1]) for clip in request.features]
        ids = [self.processor.joint_ids(ask.text, lengths, ask.runs) for ask in request.asks]
        for ask, row in zip(request.asks, ids, strict=True):
            self._check_room(ask, len(row))
            if ask.plan is not None and ask.plan.speaks and not self.model.config.speech_output:
                raise LayoutError("this model has no speech head: ask for an answer in text, or open one that speaks")
        job = Job(Handle(request, self._turn), ids)
        with self._turn.lock:
            self._jobs.append(job)
        return job.handle

    def _check_room(self, ask: Ask, size: int) -> None:
        """Refuse a question of so many ids that leaves no room for an answer.

        Raises:
            LayoutError: it is too long for the model or for the cache.
        """
        text_ids = self.processor.text_ids
        size += len(text_ids(ask.given or ""))
        limit = self._max_positions - tag_room(ask.task, text_ids)
        if size >= limit:
            raise LayoutError(f"a conversation of {size} tokens: this model takes less than {limit}; shorten it")
        if size >= self._cache.limit:
            raise LayoutError(
                f"a conversation of {size} tokens: the cache has room for less than {self._cache.limit}; "
                "shorten it or raise Budget.cache_bytes"
            )

    def step(self) -> None:
        """Make one pass of the model, for a thread that waits for no handle; while another one steps, wait for it."""
        self._turn.once()

    def run(
        self,
        requests: Iterable[Request],
        ahead: int = 16,
        stopped: Callable[[], bool] = lambda: False,
        news: Callable[[Event], None] | None = None,
    ) -> Iterator[Result]:
        """Results in the order of the requests, each that cannot be answered with its error in its place.

        Args:
            requests: read as they are needed; their ids need not differ.
            ahead: how many are in flight at once; they are taken in halves, those of like length together.
            stopped: asked before each pass whether nobody wants the rest any more.
            news: given the events of what is in flight as they come.

        Raises:
            CancelledError: `stopped` said so.
        """
        source, order = enumerate(requests), deque[Handle | Result]()
        try:
            while True:
                while order and (isinstance(order[0], Result) or order[0].ended):
                    yield _outcome(order.popleft())
                flying = [one for one in order if isinstance(one, Handle) and not one.ended]
                room = 2 * len(flying) <= ahead and len(order) < WAITING * ahead
                pulled = list(islice(source, ahead - len(flying))) if room else []
                if not (pulled or order):
                    return
                taken = {number: self._taken(request) for number, request in sorted(pulled, key=_num_frames)}
                order.extend(taken[number] for number, _ in pulled)
                if flying := [one for one in order if isinstance(one, Handle) and not one.ended]:
                    self._turn.until(partial(_any_news, flying, stopped, news is not None))
                if news is not None:
                    for event in (event for one in flying for event in one.news()):
                        news(event)
                if stopped():
                    raise CancelledError("nobody waits for the rest of these requests any more: submit them again")
        finally:
            for one in order:
                if isinstance(one, Handle):
                    one.cancel()

    def _taken(self, request: Request) -> Handle | Result:
        try:
            return self.submit(request)
        except OsumError as fault:
            return Result(request.id, error=str(fault))

    @torch.inference_mode()
    def _step(self) -> None:
        """One pass over what is ready. Only the thread whose turn it is comes here."""
        with self._turn.lock:
            self._tidy()
            jobs = list(self._jobs)
        try:
            self._cache.trim()
            self._admit(jobs)
            chosen = self._choose([job for job in jobs if job.begun and not job.handle.ended])
            self._together(list(chosen), lambda some: self._look([row for job in some for row in chosen[job]]))
            for job in chosen:
                self._together([job], self._take)
        except Exception as fault:  # of no request in particular: what is in flight may be in any state
            for job in jobs:
                job.handle.end(fault)
        except BaseException:
            for job in jobs:
                job.handle.end(CancelledError(f"request {job.handle.id!r}: its step was interrupted; submit it again"))
            raise

    def _together(self, jobs: Sequence[Job], work: Callable[[Sequence[Job]], None]) -> None:
        """Do something for all these jobs at once; where that fails, for each half. Alone, a job ends with the fault.

        `work` changes nothing before it can fail no more, or is given one job alone.
        """
        jobs = [job for job in jobs if not job.handle.ended]
        if not jobs:
            return
        try:
            work(jobs)
            return
        except Exception as fault:
            caught = fault
        # Behind the handler, and with the frames of the traceback cleared: they hold what filled the memory.
        if is_out_of_memory(caught):
            traceback.clear_frames(caught.__traceback__)
            self._relieve(len(jobs))
        if len(jobs) == 1:
            jobs[0].handle.end(caught)
            return
        self._together(jobs[: len(jobs) // 2], work)
        self._together(jobs[len(jobs) // 2 :], work)

    def _relieve(self, number: int) -> None:
        """Memory ended for so many jobs."""
        self.counts.memory_faults += number > 1
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _admit(self, jobs: Sequence[Job]) -> None:
        """Encode the clips of those that wait, as many as fit, and begin their questions."""
        waiting = [job for job in jobs if not job.begun]
        if any(row.open and row.place is None for job in jobs for row in job.rows):
            return  # what was begun first has no room in the cache yet
        taken: list[Job] = []
        clips: list[Tensor] = []
        for job in waiting[: max(0, self.budget.clips - (len(jobs) - len(waiting)))]:
            more = [*clips, *job.handle.request.features]
            if taken and len(more) * max((clip.shape[-1] for clip in more), default=0) > self.budget.frames:
                break
            taken.append(job)
            clips = more
        self._together(taken, self._encode_all)
        for job in taken:
            self._together([job], self._begin)

    def _encode_all(self, jobs: Sequence[Job]) -> None:
        audio = iter(self._encode([clip for job in jobs for clip in job.handle.request.features]))
        for job in jobs:
            job.sound = tuple(islice(audio, len(job.handle.request.features)))
            job.begun = True

    def _encode(self, clips: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Log-mel (M, F_i) to audio embeddings (T_i, D)."""
        if not clips:
            return ()
        features, mask = pad_features(clips)
        found = self.model.get_audio_features(features.to(self.device), mask.to(self.device))
        self.counts.clips += len(clips)
        return found

    def _begin(self, jobs: Sequence[Job]) -> None:
        """Give a job its rows, and start what needs no draft."""
        (job,) = jobs
        asks, ids = job.handle.request.asks, job.prompts
        nothing = torch.empty(0, self.model.config.text_config.hidden_size, device=self.device, dtype=self.model.dtype)
        sound = torch.cat([*job.sound, nothing])  # (sum T_i, D)
        shared = min(common(ids), min(map(len, ids)) - 1)
        together = all(self.processor.audio_token_id not in row[shared:] for row in ids)
        for group in [list(range(len(ids)))] if together else [[number] for number in range(len(ids))]:
            cut = shared if together else len(ids[group[0]]) - 1
            branches = [self._branch(asks[number], ids[number], cut) for number in group]
            job.rows.append(CacheRow(ids[group[0]][:cut], sound, branches))
        job.branches = [branch for row in job.rows for branch in row.branches]
        job.reported = [0] * len(ids)
        plain = [branch for branch in job.branches if branch.ask.drafts]
        lead = min(plain, key=lambda branch: not branch.ask.bare, default=None)
        for branch in plain:
            branch.rivals = [other for other in plain if other is not branch]
            branch.lead = lead if branch is not lead else None
        searched = [(branch, row) for branch, row in zip(job.branches, ids, strict=True) if branch.ask.searched]
        self._search(searched, sound)
        for branch in job.branches:
            # In a row of its own a question waits for the whole draft; in the lead's row it is read with the clip.
            if not branch.ask.searched and (together or branch.lead is None):
                branch.start()
        self._settle(job)

    def _branch(self, ask: Ask, ids: list[int], cut: int) -> Branch:
        processor = self.processor
        kind = Planned if ask.plan is not None else Branch if ask.given is None else Behind
        room = self._max_positions - len(ids)
        return kind(ask, ids[cut:], room, processor.end_of(ask.text), processor.text_ids, processor.decode)

    def _search(self, asked: Sequence[tuple[Branch, list[int]]], sound: Tensor) -> None:
        """Answer by beam search; where it draws, each question alone, so that its seed alone decides."""

        def alike(pair: tuple[int, tuple[Branch, list[int]]]) -> tuple[int, str, int]:
            ask = pair[1][0].ask
            return pair[1][0].limit, repr(ask.options), pair[0] if ask.options.do_sample else 0

        for _, group in groupby(sorted(enumerate(asked), key=alike), key=alike):
            pairs = [pair for _, pair in group]
            first = pairs[0][0]
            rows = [(ids, sound) for _, ids in pairs]
            found = search(self.model, self.processor, rows, first.limit, first.ask.options)
            for (branch, _), answer in zip(pairs, found, strict=True):
                branch.settle(answer)

    def _choose(self, jobs: Sequence[Job]) -> dict[Job, list[CacheRow]]:
        """What the next pass feeds: every row that has something, as many as fit, the oldest first."""
        chosen: dict[Job, list[CacheRow]] = {}
        size = 0
        rows = [(job, row) for job in jobs for row in job.rows]
        for number, (job, row) in enumerate(rows):
            if not row.open or job.handle.ended:
                continue
            if chosen and size + row.num_tokens > self.budget.tokens:
                break
            younger = [other for _, other in rows[number + 1 :]]
            # What stands before the first row that can go is waiting for it; it comes last, and then the row itself.
            older = [] if chosen else [row, *(other for _, other in rows[:number])]
            self._together([job], partial(self._hold, row, [*older, *younger], not chosen))
            if not job.handle.ended and row.place is not None and row.place.width >= row.num_slots:
                chosen.setdefault(job, []).append(row)
                size += row.num_tokens
        if rows and not chosen and not any(job.handle.ended for job in jobs):
            raise RuntimeError("no question in flight has anything to feed: please report it")
        return chosen

    def _hold(self, row: CacheRow, others: Sequence[CacheRow], last_chance: bool, _: Sequence[Job]) -> None:
        """Find a row a place for what it feeds next; where there is no room, the last of the others give up theirs."""
        held = [other for other in others if other.place is not None]
        while (place := self._cache.hold(row.place, row.num_slots)) is None and held:
            held.pop().leave(self._cache)
        if place is not None:
            row.place = place
        elif last_chance:
            raise LayoutError(
                f"a request of {row.num_slots} tokens in flight: the cache has room for {self._cache.limit}; "
                "ask less at once or raise Budget.cache_bytes"
            )

    def _look(self, rows: Sequence[CacheRow]) -> None:
        """One pass over what these rows feed; each keeps what was found until `_take`."""
        look(self.model, self._cache, rows)
        self.counts.passes += 1
        self.counts.tokens += sum(row.num_tokens for row in rows)

    def _take(self, jobs: Sequence[Job]) -> None:
        """The questions of a job take what a pass has found."""
        for row in jobs[0].rows:
            row.take(self._cache)
        self._settle(jobs[0])

    def _settle(self, job: Job) -> None:
        """Start what waited for a draft, give up the rows that are done, and report the news."""
        for branch in job.branches:
            branch.follow()
        for row in job.rows:
            if row.done:
                row.leave(self._cache)
        for number, branch in enumerate(job.branches):
            before = job.reported[number]
            if before < 0 or (len(branch.ids) == before and branch.reply is None):
                continue
            job.reported[number] = len(branch.ids) if branch.reply is None else -1
            if branch.reply is not None:
                self.counts.drafted += branch.reply.drafted
                self.counts.accepted += branch.reply.accepted
            job.handle.put(Event(job.handle.id, number, tuple(branch.ids[before:]), branch.reply))

    def _tidy(self) -> None:
        """Forget the jobs that have ended, and free their rows. Called under the lock, while no pass is made."""
        for job in self._jobs:
            for row in job.rows if job.handle.ended else ():
                row.leave(self._cache)
        self._jobs = [job for job in self._jobs if not job.handle.ended]


def _outcome(taken: Handle | Result) -> Result:
    """How a request has ended."""
    if isinstance(taken, Result):
        return taken
    try:
        return taken.result()
    except OsumError as fault:
        return Result(taken.id, error=str(fault))
    except Exception as fault:
        return Result(taken.id, error=" ".join(f"{type(fault).__name__}: {fault}".split()), fault=fault)


def _any_news(handles: Iterable[Handle], stopped: Callable[[], bool], watched: bool) -> bool:
    return stopped() or any(handle.ended or (watched and handle.fresh) for handle in handles)


def _num_frames(pair: tuple[int, Request]) -> int:
    return sum(clip.shape[-1] for clip in pair[1].features)


def is_out_of_memory(fault: Exception) -> bool:
    """Devices have no common error for it."""
    text = str(fault).lower()
    return isinstance(fault, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(fault, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )
