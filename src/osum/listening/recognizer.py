"""Recognizer: what `osum.load` returns. Files and arrays in, `Utterance`s with every label out.

Reads audio, cuts long clips, asks the engine, and puts answers together. Bad audio gives a result with
`error` set and costs the others nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from threading import Lock
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osum.audio import SAMPLE_RATE
from osum.checkpoints.checkpoint import Checkpoint, open_checkpoint
from osum.corpus.clips import address
from osum.engine.confidence import confidences
from osum.engine.engine import Engine, is_out_of_memory
from osum.engine.options import GenerationOptions, LabelOptions
from osum.engine.request import Ask, EngineReply, Request, Result
from osum.errors import InputError, OsumError, TaskError
from osum.listening.align import Aligner, timed_task
from osum.listening.answers import (
    AnsweredWindow,
    disagreements,
    is_silent,
    join_text,
    segment_of,
    silence_of,
)
from osum.listening.asked import TRANSCRIBE, Asked, Questions
from osum.listening.asked import prompts as prompts_of
from osum.listening.cutting import Failure, SoundSource
from osum.listening.decisions import DecisionPlan, Inquiry, inquiries_of
from osum.listening.feeding import Piece, read
from osum.listening.given import GivenText
from osum.listening.loops import marked, unlooped
from osum.listening.placement import DTYPES, placement
from osum.listening.recording import Recording
from osum.listening.sources import Audio, is_stream, item_of, sound_or_fault
from osum.listening.sources import load as load_sound
from osum.listening.timing import Answered, timed
from osum.listening.transcripts import Transcriber, TranscriptWindow, in_batches
from osum.listening.watch import UNWATCHED, Watch
from osum.tasks import LabelSet, Task, TaskSet
from osum.utterance import Segment, Utterance, Word

Samples = NDArray[np.float32]
Failed = Callable[[Exception], None]
CHAT = "STTC"
ASK_TOKENS = 400
"""Longest answer to a free question, which need not grow with the audio; the release's limit."""


def load(
    name: str | PathLike[str] = "nano",
    *,
    device: str | None = None,
    dtype: str | None = None,
    offline: bool = False,
    notice: Callable[[str], None] | None = None,
    base: str | PathLike[str] | None = None,
) -> Recognizer:
    """Open a checkpoint.

    Args:
        name: `nano` (inside the package), a folder, or a hub name.
        device: `cpu`, `cuda`, `mps` ...; None takes an accelerator when there is one.
        dtype: `float32`, `bfloat16` or `float16`; None is float32 on a CPU, where equal answers are
            promised whatever the batch, and bfloat16 elsewhere.
        offline: never ask a hub.
        notice: called with one line (size, licence) before any download.
        base: folder of the language model, where the checkpoint leaves it out; without it the hub's.

    Raises:
        CheckpointError: nothing usable under that name.
        UsageError: an unknown dtype or device.
    """
    place, kind = placement(device, dtype)
    return Recognizer(
        open_checkpoint(str(name), place, DTYPES[kind], offline, notice, None if base is None else str(base)), kind
    )


class Recognizer:
    """One opened checkpoint. Answers do not depend on what else is asked in the same call (float32).

    Example:
        >>> osum.load().label("laugh.flac").summary["VED"].label
        'laugh'
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str = "float32") -> None:
        self.name = checkpoint.name
        self.revision = checkpoint.revision
        self.dtype = dtype
        self.tasks: TaskSet = checkpoint.tasks
        self.engine = Engine(checkpoint)
        self.device = str(self.engine.device)
        self.disagreements: Counter[str] = Counter()
        """Task to the number of segments, so far, whose decoded tag was not the likeliest label."""
        self._lock = Lock()
        self._letters = checkpoint.letters
        self._max_samples = checkpoint.model.config.max_samples

    @property
    def max_seconds(self) -> float:
        """Longest window the model takes at once."""
        return self._max_samples / SAMPLE_RATE

    def prompts(self, task: str) -> tuple[str, ...]:
        """Every prompt of a task in the language it is asked in, the fixed one first.

        Raises:
            TaskError: an unknown task.
        """
        return prompts_of(self.tasks, self.tasks.find(task), None)

    def label(
        self, audio: Audio | Sequence[Audio] | Iterator[Audio], tasks: str | Sequence[str] = "all", **options: Any
    ) -> Any:
        """Every label of one clip, or of each of many.

        Args:
            audio: a clip as `osum.listening.sources.Audio` says, or a list or a generator of clips.
            tasks: see `LabelOptions.tasks`; further keywords are the other fields of `LabelOptions`.

        Returns:
            An `Utterance`; of a list, a list of them in order; of a generator, an iterator that reads it as results
            are taken.

        Raises:
            OsumError: the one clip that was given cannot be answered; among many, `error` says so instead.
        """
        asked = Asked.of(self.tasks, LabelOptions(tasks=tasks, **options))
        if is_stream(audio) or isinstance(audio, list):
            results = self._run(((item_of(clip, index), clip) for index, clip in enumerate(audio)), asked)
            return list(results) if isinstance(audio, list) else results
        clip = cast(Audio, audio)
        (result,) = self._run([(item_of(clip, 0), clip)], asked, _raise)
        if result.error is not None:
            raise InputError(result.error)
        return result

    def transcribe(self, audio: Audio | Sequence[Audio] | Iterator[Audio], **options: Any) -> Any:
        """As `label`, the transcript alone."""
        return self.label(audio, tasks=TRANSCRIBE, **options)

    def chat(self, audio: Audio, **options: Any) -> str:
        """A reply to what is said in a clip."""
        result = self.label(audio, tasks=CHAT, **options)
        return join_text([segment.reply or "" for segment in result.segments])

    def align(self, audio: Audio, text: str, **options: Any) -> tuple[Word, ...]:
        """When each word of a known text is said in a clip, as it is written there: in order, apart, of some length.

        A word of which no time can be measured is `estimated`. Further keywords are those of `label`.

        Raises:
            OsumError: the clip cannot be read, or this model has neither a letters head nor a task of word times.
        """
        item = replace(item_of(audio, 0), text=text, segments=())
        (result,) = self.align_clips([(item, audio)], LabelOptions(**options))
        if result.error is not None:
            raise InputError(result.error)
        return result.words

    def align_files(self, items: Iterable[Utterance], options: LabelOptions | None = None) -> Iterator[Utterance]:
        """As `label_files`: each item's own `text`, or that of its segments, with the times of its words."""
        yield from self.align_clips(((item, item) for item in items), options or LabelOptions())

    def align_clips(self, clips: Iterable[tuple[Utterance, Audio]], options: LabelOptions) -> Iterator[Utterance]:
        """As `align_files`, for clips whose audio is at hand.

        Raises:
            TaskError: this model can measure no time.
        """
        aligner = self._aligner(options.prompt_language, needed=True)
        transcript = self.tasks.get(TRANSCRIBE)
        prompt = prompts_of(self.tasks, transcript, options.prompt_language)[0] if transcript else ""
        given = GivenText(self.engine, aligner, transcript, prompt, self._max_samples)
        stamp: Mapping[str, Any] = {"model": self.name, "revision": self.revision, "dtype": self.dtype}
        sources = ((item, sound_or_fault(audio)) for item, audio in clips)
        yield from (replace(row, **stamp) for row in given.rows(sources, options))

    def _aligner(
        self, prompt_language: str | None, prompts: Mapping[str, str] = MappingProxyType({}), needed: bool = False
    ) -> Aligner:
        """What finds word times; in the words of `prompts`, where they name its task.

        Raises:
            TaskError: it is needed, and this model can measure no time.
        """
        task = timed_task(self.tasks)
        prompt = (prompts.get(task.name) or self._prompt(task, prompt_language)) if task else ""
        found = Aligner(self.engine, self._letters, task, prompt)
        if needed and not found.able:
            raise TaskError(f"{self.name} has neither a letters head nor a task of word times: use another --model")
        return found

    def _prompt(self, task: Task, language: str | None) -> str:
        """The fixed prompt of a task, in a language that it has."""
        with suppress(TaskError):
            return prompts_of(self.tasks, task, language)[0]
        return prompts_of(self.tasks, task, None)[0]

    def ask(self, audio: Audio, question: str, options: GenerationOptions | None = None) -> str:
        """The raw answer to a free prompt about one clip, which must fit one window.

        Raises:
            AudioError: the clip cannot be read or is longer than the model takes at once.
        """
        samples = load_sound(audio)
        generation = options or GenerationOptions()
        ask = Ask(self.engine.processor.request(question), generation.max_new_tokens or ASK_TOKENS, options=generation)
        request = Request(0, (self.engine.processor.log_mel(samples),), (ask,))
        return self.engine.submit(request).result().replies[0].text

    def label_files(
        self,
        items: Iterable[Utterance],
        options: LabelOptions | None = None,
        failed: Failed | None = None,
        transcriber: Transcriber | None = None,
    ) -> Iterator[Utterance]:
        """Answer files one after the other; results come in order, with `error` set where one is bad.

        `path`, `channel`, `start` and `end` of an item say what to read; its other fields are kept. `failed` is given
        each fault of the model; what it raises ends the run. Labels are scored behind the text of `transcriber`, where
        there is one, or behind the item's own where the options say `given`.
        """
        asked = Asked.of(self.tasks, options or LabelOptions(), transcriber)
        yield from self._run(((item, address(item)) for item in items), asked, failed)

    def label_clips(
        self, clips: Iterable[tuple[Utterance, Audio]], options: LabelOptions, watch: Watch = UNWATCHED
    ) -> Iterator[Utterance]:
        """As `label_files`, for clips whose audio is at hand.

        Raises:
            CancelledError: `watch` has stopped it.
        """
        yield from self.answer(clips, Asked.of(self.tasks, options), watch)

    def answer(
        self, clips: Iterable[tuple[Utterance, Audio]], asked: Asked, watch: Watch = UNWATCHED
    ) -> Iterator[Utterance]:
        """As `label_clips`, for what was resolved before."""
        yield from self._run(clips, asked, watch.failed, watch)

    def decide(
        self, audio: Audio, questions: Mapping[str, Mapping[str, Any]], state: str = "", refuse: Iterable[str] = ()
    ) -> dict[str, dict[str, Any]]:
        """Answer typed questions about one clip in one pass; see `osum.listening.decisions`.

        Args:
            audio: the clip.
            questions: name to `{"type": "noul" | "choice" | "score", "instructions": ..., "criteria": ...}`.
            state: what is known of the clip, as a text.
            refuse: names of label sets about which nothing is answered, such as `gender`.

        Returns:
            Name to answer, in the form of System One.

        Raises:
            OsumError: a question that cannot be asked (`QuestionError`), or a clip that cannot be read.

        Example:
            >>> model.decide("laugh.flac", {"laugh": {"type": "noul", "instructions": "laugh"}})["laugh"]["noul"]
            0.97
        """
        plan = self.plan(inquiries_of(questions), state, frozenset(refuse))
        row = None if plan.asked is None else next(self.answer([(item_of(audio, 0), audio)], plan.asked))
        if row is not None and row.error is not None:
            raise InputError(row.error)
        return {name: one.answer() for name, one in zip(questions, plan.decisions(row), strict=True)}

    def plan(
        self, inquiries: Sequence[Inquiry], context: str = "", refuse: frozenset[str] = frozenset()
    ) -> DecisionPlan:
        """What typed questions ask this model; raises `QuestionError` for one that cannot be asked."""
        return DecisionPlan.of(inquiries, self.tasks, context, self.engine.processor.marks, refuse)

    def _run(
        self,
        sources: Iterable[tuple[Utterance, Audio]],
        asked: Asked,
        failed: Failed | None = None,
        watch: Watch = UNWATCHED,
    ) -> Iterator[Utterance]:
        options = asked.options
        files: deque[Recording] = deque()
        places: deque[tuple[Recording, Piece]] = deque()
        requests = self._requests(sources, asked, files, places)
        news = None if watch is UNWATCHED else watch.news
        results = self.engine.run(requests, ahead=options.batch_size, stopped=watch.stopped, news=news)
        answered = self._answered(results, places, asked, failed, watch)
        aligner = self._aligner(options.prompt_language, asked.prompts, options.word_times)
        for file, segment in timed(answered, aligner, asked):
            file.waiting -= 1
            if segment is not None:
                file.segments.append(segment)
            while files and files[0].read and not files[0].waiting:
                yield self._result(files.popleft(), asked)
        for file in files:
            yield self._result(file, asked)

    def _result(self, file: Recording, asked: Asked) -> Utterance:
        stamp = {"model": self.name, "revision": self.revision, "dtype": self.dtype}
        return file.result(asked, self.name, stamp, self.max_seconds)

    def _answered(
        self,
        results: Iterable[Result],
        places: deque[tuple[Recording, Piece]],
        asked: Asked,
        failed: Failed | None,
        watch: Watch,
    ) -> Iterator[Answered]:
        """The segment of each window, None where there is no answer; `failed` is given what is no refusal of osum's."""
        for result in results:
            file, piece = places.popleft()
            segment, fault = None, result.fault
            if result.error is not None:
                file.error = result.error
            else:
                try:
                    segment = self._segment(result.replies, file, piece, asked, watch)
                except OsumError as refused:
                    file.error = str(refused)
                except Exception as broken:
                    fault = broken
            if fault is not None:
                file.error = f"{file.item.path}: {_reason(fault)}"
                if failed is not None:
                    failed(fault)
            if segment is not None:
                with self._lock:
                    self.disagreements.update(disagreements(segment))
            yield Answered(file, piece, segment)

    def _requests(
        self,
        sources: Iterable[tuple[Utterance, Audio]],
        asked: Asked,
        files: deque[Recording],
        places: deque[tuple[Recording, Piece]],
    ) -> Iterator[Request]:
        """A request for each window of each source; `files` and `places` get what the results belong to."""
        windows = self._windows(sources, asked, files)
        if asked.transcriber is not None:
            windows = self._transcribed(windows, asked.transcriber, asked.options.batch_size)
        for file, piece in windows:
            places.append((file, piece))
            yield Request(file.item.id, (cast(Tensor, piece.features),), self._questions(file, piece, asked).asks)

    def _transcribed(
        self, windows: Iterable[tuple[Recording, Piece]], transcriber: Transcriber, size: int
    ) -> Iterator[tuple[Recording, Piece]]:
        """The windows whose text is known, with that text in their file; the others end it with the reason."""
        for batch in in_batches(windows, size):
            asked = [
                TranscriptWindow(file.item, *file.times(piece), whole=piece.last and not piece.start)
                for file, piece in batch
            ]
            for (file, piece), found in zip(batch, transcriber(asked), strict=True):
                if found.error is None:
                    file.texts[piece.start] = found.text
                    yield file, piece
                else:
                    file.error, file.waiting = found.error, file.waiting - 1

    def _windows(
        self, sources: Iterable[tuple[Utterance, Audio]], asked: Asked, files: deque[Recording]
    ) -> Iterator[tuple[Recording, Piece]]:
        """The windows of each source that are not silent."""
        started: dict[int, Recording] = {}

        def opened() -> Iterator[SoundSource]:
            for number, (item, audio) in enumerate(sources):
                started[number] = Recording(item)
                files.append(started[number])
                yield SoundSource(sound_or_fault(audio), _channel(item.channel), item.start, item.end)

        options = asked.options
        processor, limit = self.engine.processor, self._max_samples
        news = read(opened(), processor, limit, options.num_workers, options.read_timeout, options.vad)
        for number, found in news:
            file = started[number]
            if isinstance(found, Failure):
                file.error = found.message
            else:
                file.length = max(file.length, found.start + found.num_samples)
                file.notes += found.notes
            file.read = isinstance(found, Failure) or found.last
            if file.read:
                del started[number]
            if isinstance(found, Failure):
                continue
            if found.features is None:
                file.segments.append(silence_of(*file.times(found)))
                continue
            file.waiting += 1
            yield file, found

    def _questions(self, file: Recording, piece: Piece, asked: Asked) -> Questions:
        seconds, given = piece.num_samples / SAMPLE_RATE, file.texts.get(piece.start)
        return asked.questions(seconds, self.engine.processor.request, self.engine.token_limit, given)

    def _segment(
        self, replies: Sequence[EngineReply], file: Recording, piece: Piece, asked: Asked, watch: Watch
    ) -> Segment:
        """One window's answers; what decides on silence and voice is taken before loops are decoded again."""
        questions, tasks = self._questions(file, piece, asked), asked.tasks
        silence, voice = questions.silence_of(replies), questions.voice_of(replies)
        said, again = self._unlooped(questions.asks[: len(tasks)], replies[: len(tasks)], piece)
        kept = {task.name: reply for task, reply in zip(tasks, said, strict=True)}
        decode = self.engine.processor.decode

        def sureness(task: str, units: Sequence[str]) -> list[float | None]:
            reply = kept[task]
            return confidences(reply.text, units, reply.ids, reply.log_probs, decode)

        window = AnsweredWindow(
            seconds=piece.num_samples / SAMPLE_RATE,
            raws={name: reply.text for name, reply in kept.items()},
            distributions={
                (task.name, labels.name): _distribution(task, labels, kept[task.name])
                for task in tasks
                for labels in task.label_sets
            },
            no_speech_probability=silence.empty if silence else None,
            silent=is_silent(silence.text, silence.empty) if silence else None,
            voice=voice,
            sureness=sureness,
            withhold=asked.options.withhold,
        )
        segment = marked(segment_of(window, tasks, file.times(piece)[0]), again)
        watch.answered(segment, kept)
        return segment

    def _unlooped(
        self, asks: Sequence[Ask], replies: Sequence[EngineReply], piece: Piece
    ) -> tuple[tuple[EngineReply, ...], tuple[Task, ...]]:
        """The replies with repetition loops decoded again, and the tasks of which that was done."""

        def ask_again(asks: Sequence[Ask]) -> tuple[EngineReply, ...]:
            return self.engine.submit(Request(0, (cast(Tensor, piece.features),), tuple(asks))).result().replies

        return unlooped(asks, replies, piece.num_samples / SAMPLE_RATE, ask_again)


def _raise(fault: Exception) -> None:
    raise fault


def _reason(fault: Exception) -> str:
    """Why the model gives no answer about a clip."""
    if is_out_of_memory(fault):
        return "needs more memory than the device has; cut it into shorter files, or use another --device"
    said = " ".join(f"{type(fault).__name__}: {fault}".split())
    return f"could not be answered ({said}); if the file is in order, please report it"


def _distribution(task: Task, labels: LabelSet, reply: EngineReply) -> dict[str, float]:
    """Label to probability: the scores of the whole tags, normalised over the set."""
    scaled = torch.tensor(reply.scores[labels.name], dtype=torch.float64) / task.temperature_of(labels)
    return dict(zip(labels.labels, scaled.softmax(0).tolist(), strict=True))


def _channel(channel: int | str | None) -> Any:
    return "mix" if channel is None else channel
