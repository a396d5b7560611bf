"""The run: one model asked about every clip of one benchmark, whatever happens in between.

Knows nothing of scores: what it leaves is a file of predictions.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from osum.audio import probe
from osum.corpus.clips import PLACE_FIELDS
from osum.errors import InputError, OsumError, TaskError
from osum.evaluation.run.clips import Clips, check_list, read_clips
from osum.evaluation.run.options import RunOptions
from osum.evaluation.run.prediction import Prediction, Truth
from osum.evaluation.run.predictions import AskedBenchmark, Predictions, folder_name
from osum.evaluation.sets.benchmark import Benchmark
from osum.peers.recogniser import Question, Recogniser, Recognition
from osum.utterance import Utterance

PACKAGES = ("osum", "torch", "transformers", "jiwer", "rapidfuzz", "numpy")
SECONDS_DIGITS = 4
HOPELESS = 3
"""So many clips in a row that break the model: it is not the clips."""

WRITTEN = "question"
"""Field of a clip whose test set asks about each in words of its own, as the original reads it (specification 3.5)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run found."""

    path: Path
    """Of the predictions."""
    answers: int
    """That are there now."""
    faulty: Mapping[str, tuple[str, ...]]
    """What is wrong with clips that were not asked, and their ids."""
    failed: Mapping[str, str]
    """Ids of clips without an answer, and why."""


def check_answers(recogniser: Recogniser, benchmark: Benchmark) -> None:
    """Raises TaskError where a model does not answer what a benchmark asks: its task, its language, its words."""
    if benchmark.task not in recogniser.tasks:
        raise TaskError(f"{recogniser.name} does not answer {benchmark.task}")
    list(recogniser.recognise((), Question(benchmark.task, benchmark.prompt, benchmark.language)))


def _no_progress(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One clip under one prompt."""

    clip: Utterance
    truth: Truth
    prompt_index: int | None


class Run:
    """One benchmark for one model.

    Args:
        benchmark: what is asked.
        root: where archives are unpacked.
        recogniser: who is asked.
        out: folder of results, of several models and benchmarks.
        options: how.

    Raises:
        InputError: an archive is not whole, or its list has changed.
    """

    def __init__(
        self, benchmark: Benchmark, root: Path, recogniser: Recogniser, out: Path, options: RunOptions
    ) -> None:
        self._benchmark, self._recogniser, self._options = benchmark, recogniser, options
        clips = read_clips(benchmark, root)
        self._prompts = recogniser.prompts(benchmark.task) if options.all_prompts else ()
        check_list(out, benchmark.name, clips.list_hash)
        indices = range(len(self._prompts)) if self._prompts else (None,)
        self._jobs = [_Job(*pair, index) for index, pair in product(indices, clips.pairs[: options.limit])]
        self._store = Predictions(out / folder_name(recogniser.name), benchmark.name)
        self._faulty = clips.faulty
        self._broken = 0
        self._asked = self._ask_what(clips)
        self._done: list[Prediction] = []

    def go(self, progress: Callable[[int, int], None] = _no_progress) -> Ran:
        """Ask what is not answered yet. A killed run loses the batch in flight, and resumes as if nothing had been.

        Args:
            progress: called with how many of how many answers there are, at the start and after each batch.

        Raises:
            InputError: results are there and may not be touched, they are of something else, or another run is at it.
            TaskError: the model does not answer the benchmark's task.
        """
        size, total = self._options.batch_size, len(self._jobs)
        with self._store.held():
            self._done = self._begin()
            progress(len(self._done), total)
            for batch in _batches(self._jobs[len(self._done) :], size):
                answered = self._ask(batch)
                self._store.append(answered)
                self._done += answered
                progress(len(self._done), total)
            if self._options.retry_failed:
                self._retry()
        failed = {each.id: each.answer.error for each in self._done if each.answer.error is not None}
        return Ran(self._store.path, len(self._done), self._faulty, failed)

    def _ask_what(self, clips: Clips) -> AskedBenchmark:
        return AskedBenchmark(
            benchmark=self._benchmark.name,
            model=self._recogniser.name,
            task=self._benchmark.task,
            list_hash=clips.list_hash,
            clips=len(clips.pairs),
            limit=self._options.limit,
            prompts=self._prompts,
            seed=self._options.seed,
            description=dict(self._recogniser.describe()),
            versions=versions(),
            left_out=clips.left_out,
            faulty=clips.faulty,
            declared=self._benchmark.declared,
        )

    def _begin(self) -> list[Prediction]:
        """The predictions that are there already."""
        if not self._store.begun or self._options.overwrite:
            self._store.begin(self._asked)
            return []
        if not self._options.resume:
            raise InputError(
                f"{self._store.path} is there already: continue with --resume, start again with --overwrite, or give "
                "another -o"
            )
        kept = self._store.resume(self._asked, self._options.batch_size)
        for number, (found, job) in enumerate(zip(kept, self._jobs, strict=False), 1):
            if (found.id, found.prompt_index) != (job.clip.id, job.prompt_index):
                raise InputError(
                    f"{self._store.path}:{number}: this is {found.id!r}, and the list has {job.clip.id!r} there: put "
                    "the lines back in order, or start again with --overwrite"
                )
        return kept

    def _ask(self, jobs: Sequence[_Job]) -> list[Prediction]:
        """Answers to a batch, in order; those asked in the same words are asked together."""
        answered: dict[_Job, Prediction] = {}
        words = {job: self._words(job) for job in jobs}
        for prompt in dict.fromkeys(words.values()):
            answered |= self._ask_in(prompt, [job for job in jobs if words[job] == prompt])
        return [answered[job] for job in jobs]

    def _words(self, job: _Job) -> str | None:
        """What a clip is asked in: a prompt of all, or the question that its test set writes with it."""
        if job.prompt_index is not None:
            return self._prompts[job.prompt_index]
        own = job.clip.extra.get(WRITTEN) if self._benchmark.target == "reply" else None
        return own if isinstance(own, str) else self._benchmark.prompt

    def _ask_in(self, prompt: str | None, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, Prediction]]:
        question = Question(self._benchmark.task, prompt, self._benchmark.language)
        start = time.perf_counter()
        answers = self._answers([job.clip for job in jobs], question)
        seconds = round((time.perf_counter() - start) / len(jobs), SECONDS_DIGITS)
        return ((job, self._prediction(job, answer, seconds)) for job, answer in zip(jobs, answers, strict=True))

    def _answers(self, clips: Sequence[Utterance], question: Question) -> list[Recognition]:
        """Answers to clips; where the model breaks on them, such as out of memory, they are asked one by one.

        Raises:
            OsumError: nothing can be asked this way.
            Exception: several clips in a row break the model: it is not the clips.
        """
        try:
            answers = list(self._recogniser.recognise(clips, question))
        except OsumError:
            raise
        except Exception as fault:
            if len(clips) > 1:
                return [answer for clip in clips for answer in self._answers([clip], question)]
            self._broken += 1
            if self._broken == HOPELESS:
                raise
            said = " ".join(f"{type(fault).__name__}: {fault}".split())
            return [Recognition(error=f"{clips[0].path}: could not be answered ({said})")]
        self._broken = 0
        return answers

    def _prediction(self, job: _Job, answer: Recognition, seconds: float) -> Prediction:
        clip = job.clip
        return Prediction(
            id=clip.id,
            benchmark=self._benchmark.name,
            model=self._recogniser.name,
            truth=job.truth,
            answer=answer,
            path=str(Path(clip.path).absolute()),
            start=clip.start,
            end=clip.end,
            duration=_duration(clip) if answer.error is None else clip.duration,
            speaker=clip.speaker,
            seconds=seconds,
            prompt_index=job.prompt_index,
            extra={**_place(clip), **(_judged_with(clip) if self._benchmark.target == "reply" else {})},
        )

    def _retry(self) -> None:
        """Ask clips without an answer again; the file is replaced when all of them are."""
        places = [at for at, found in enumerate(self._done) if found.answer.error is not None]
        for some in _batches(places, self._options.batch_size):
            for at, found in zip(some, self._ask([self._jobs[at] for at in some]), strict=True):
                self._done[at] = found
        if places:
            self._store.replace(self._done)


def versions() -> dict[str, str]:
    """Of what answers and scores stand on; a package that is missing is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _place(clip: Utterance) -> dict[str, Any]:
    """Where the clip is in its file, so that a report can play it."""
    place = {name: clip.extra[name] for name in PLACE_FIELDS if name in clip.extra}
    return place if clip.channel is None else {**place, "channel": clip.channel}


def _judged_with(clip: Utterance) -> dict[str, Any]:
    """What a judge of replies is given with the transcript: a written question, a description, labels."""
    return {**clip.extra, "labels": dict(clip.labels)} if clip.labels else dict(clip.extra)


def _duration(clip: Utterance) -> float | None:
    """Seconds of audio, from the file's head where the list does not say."""
    if clip.duration is not None:
        return clip.duration
    try:
        end = probe(clip.path).duration if clip.end is None else clip.end
    except OsumError:
        return None  # such as a row of a tar file, which only its reader knows
    return end - (clip.start or 0.0)
