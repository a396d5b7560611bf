"""Temperatures under which the probabilities of a checkpoint's labels mean something (Guo et al. 2017, 1706.04599).

1. Every clip is asked each task whose label it is known to have; scores are taken at temperature 1.
2. One temperature is fitted for each label set of each task. It changes no label, only how sure the model says to be.
3. What that gives is measured on speakers it was not fitted on: those of another list, or, in folds, of the same.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np

from osum.audio import SAMPLE_RATE
from osum.checkpoints.folder import check_free, new_folder
from osum.checkpoints.locate import TASKS_FILE
from osum.corpus.manifest import unit_hash
from osum.engine.options import LabelOptions
from osum.errors import InputError, TaskError
from osum.files import atomic_file
from osum.listening.answers import answer_key
from osum.listening.recognizer import Recognizer
from osum.listening.sources import Audio
from osum.peers.clips import load_clips
from osum.scoring import (
    MIN_SPEAKERS,
    Calibration,
    Resampling,
    calibration,
    fit_temperature,
    log_scores_of,
    negative_log_likelihood,
    probabilities_at,
)
from osum.scoring.resampling import Floats
from osum.tasks import Task, TaskSet
from osum.utterance import Utterance

MIN_CLIPS = 50
"""Labelled clips below which a label set is left alone."""
FOLDS = 5


class TemperaturePlace(NamedTuple):
    """What one temperature is for."""

    task: str
    label_set: str


@dataclass(frozen=True, slots=True)
class ScoredClip:
    """What a model makes of one clip whose label is known."""

    speaker: str
    """The clip's id where nobody knows who speaks."""
    truth: int
    """Place of the true label in its set."""
    log_scores: tuple[float, ...]
    """(L,) of every label, at temperature 1."""


Scores = Mapping[TemperaturePlace, Sequence[ScoredClip]]


@dataclass(frozen=True, slots=True)
class AskedClip:
    """One clip, with its scores or with why it has none."""

    clip: Utterance
    scores: Mapping[TemperaturePlace, ScoredClip] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FittedTemperature:
    """A temperature, and what it gives on speakers it was not fitted on."""

    task: str
    label_set: str
    temperature: float
    clips: int
    """It was fitted on."""
    speakers: int
    before: Calibration
    """With the temperature that the checkpoint had."""
    after: Calibration
    loss_before: float
    """Mean of -log P(true label), in nats."""
    loss_after: float


@dataclass(frozen=True, slots=True)
class Left:
    """A label set whose temperature stays as it was."""

    task: str
    label_set: str
    clips: int
    why: str


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The tasks with their new temperatures, and where those come from."""

    tasks: TaskSet
    fitted: tuple[FittedTemperature, ...]
    left: tuple[Left, ...]


# Asking


def ask(
    recognizer: Recognizer, clips: Iterable[Utterance], names: Sequence[str], batch_size: int = 8
) -> Iterator[AskedClip]:
    """Score every label of every clip whose true one is known; clips without a known label are passed over.

    Args:
        recognizer: the model; temperatures that it has already count as 1.
        clips: with labels in `labels`, and `language`; files, or rows of shards and of packed files.
        names: tasks to ask.
        batch_size: clips answered together.
    """
    plain = copy(recognizer)  # the same engine under other tasks
    plain.tasks = with_temperatures(recognizer.tasks, dict.fromkeys(places_of(recognizer.tasks.select(names)), 1.0))
    tasks = [task for task in plain.tasks.select(names) if task.label_sets]
    groups: dict[tuple[str, ...], list[tuple[Utterance, Mapping[TemperaturePlace, int]]]] = defaultdict(list)
    for clip in clips:
        try:
            truths = _truths(clip, tasks)
        except TaskError as fault:
            yield AskedClip(clip, problem=str(fault))
            continue
        if truths:
            groups[tuple(dict.fromkeys(place.task for place in truths))].append((clip, truths))
    for asked, members in groups.items():
        yield from _ask(plain, members, LabelOptions(asked, withhold=False, batch_size=batch_size))


def _truths(clip: Utterance, tasks: Sequence[Task]) -> dict[TemperaturePlace, int]:
    """The place of the true label in each set where it is known."""
    known = ((task, labels, task.true_label(clip, labels)) for task in tasks for labels in task.label_sets)
    return {
        TemperaturePlace(task.name, labels.name): labels.labels.index(label)
        for task, labels, label in known
        if label is not None
    }


def _ask(
    recognizer: Recognizer, members: Sequence[tuple[Utterance, Mapping[TemperaturePlace, int]]], options: LabelOptions
) -> Iterator[AskedClip]:
    """Clips that are asked the same; what cannot be read comes last."""
    sent: deque[tuple[Utterance, Mapping[TemperaturePlace, int]]] = deque()
    unread: list[AskedClip] = []

    def readable() -> Iterator[tuple[Utterance, Audio]]:
        for loaded, member in zip(load_clips(clip for clip, _ in members), members, strict=True):
            if loaded.error is not None:
                unread.append(AskedClip(loaded.clip, problem=loaded.error))
            else:
                sent.append(member)
                yield Utterance(loaded.clip.id, loaded.clip.path), (loaded.samples, SAMPLE_RATE)

    for result in recognizer.label_clips(readable(), options):
        clip, truths = sent.popleft()
        yield _scored(recognizer, clip, truths, result)
    yield from unread


def _scored(
    recognizer: Recognizer, clip: Utterance, truths: Mapping[TemperaturePlace, int], result: Utterance
) -> AskedClip:
    if result.error is not None:
        return AskedClip(clip, problem=result.error)
    if len(result.segments) != 1:
        limit = recognizer.max_seconds
        return AskedClip(clip, problem=f"longer than the {limit:g} s that this model takes at once: cut it into pieces")
    answers, scores = result.segments[0].labels, {}
    for place, truth in truths.items():
        answer = answers.get(answer_key(recognizer.tasks[place.task], place.label_set))
        if answer is None or answer.distribution is None:
            return AskedClip(clip, problem="the clip is silent: leave it out")
        row = tuple(log_scores_of([list(answer.distribution.values())])[0].tolist())
        scores[place] = ScoredClip(clip.speaker or clip.id, truth, row)
    return AskedClip(clip, scores)


def gathered(asked: Iterable[AskedClip]) -> dict[TemperaturePlace, list[ScoredClip]]:
    """The scores of many clips, each label set's together."""
    scores: dict[TemperaturePlace, list[ScoredClip]] = defaultdict(list)
    for one in asked:
        for place, scored in one.scores.items():
            scores[place].append(scored)
    return dict(scores)


# Fitting


def calibrate(
    tasks: TaskSet, names: Sequence[str], scores: Scores, valid: Scores | None = None, min_clips: int = MIN_CLIPS
) -> Calibrated:
    """Fit temperatures, and measure them on unseen speakers.

    Args:
        tasks: of the checkpoint.
        names: those that are calibrated.
        scores: what is fitted on.
        valid: what is measured on; without it, `scores` in folds of speakers, each with what the others give.
        min_clips: labelled clips that a label set needs.

    Raises:
        InputError: `valid` holds speakers of `scores`.
    """
    if valid is not None:
        _check_unseen(scores, valid)
    fitted, left = [], []
    for place in places_of(tasks.select(names)):
        known = scores.get(place, ())
        held_out = known if valid is None else valid.get(place, ())
        if why := _too_little(known, held_out, valid is None, min_clips):
            left.append(Left(*place, len(known), why))
            continue
        before = tasks[place.task].temperature_of(tasks.label_sets[place.label_set])
        fitted.append(_fitted(place, known, None if valid is None else held_out, before))
    found = {TemperaturePlace(one.task, one.label_set): one.temperature for one in fitted}
    return Calibrated(with_temperatures(tasks, found), tuple(fitted), tuple(left))


def places_of(tasks: Iterable[Task]) -> list[TemperaturePlace]:
    """Every label set of some tasks."""
    return [TemperaturePlace(task.name, labels.name) for task in tasks for labels in task.label_sets]


def with_temperatures(tasks: TaskSet, temperatures: Mapping[TemperaturePlace, float]) -> TaskSet:
    """The tasks with some temperatures; the others stay."""

    def changed(tasks: TaskSet, name: str) -> TaskSet:
        task = tasks[name]
        values = tuple(
            temperatures.get(TemperaturePlace(name, labels.name), task.temperature_of(labels))
            for labels in task.label_sets
        )
        return tasks.with_task(replace(task, temperature=values[0] if len(values) == 1 else values))

    return reduce(changed, dict.fromkeys(place.task for place in temperatures), tasks)


def _too_little(known: Sequence[ScoredClip], held_out: Sequence[ScoredClip], in_folds: bool, least: int) -> str | None:
    """Why a temperature cannot be fitted and measured; None where it can."""
    if len(known) < least:
        return f"{len(known)} labelled clips, {least} are needed"
    if len(held_out) < least:
        return f"{len(held_out)} labelled clips to measure on, {least} are needed"
    if in_folds and len({one.speaker for one in known}) < 2:
        return "one speaker alone, so nobody to measure on"
    return None


def _check_unseen(scores: Scores, valid: Scores) -> None:
    fitted, measured = ({one.speaker for some in side.values() for one in some} for side in (scores, valid))
    if shared := fitted & measured:
        raise InputError(
            f"{len(shared)} speakers are in both manifests, such as {min(shared)!r}: measure on others, or without "
            "--valid, in folds"
        )


def _fitted(
    place: TemperaturePlace, known: Sequence[ScoredClip], valid: Sequence[ScoredClip] | None, before: float
) -> FittedTemperature:
    temperature = _fit(known)
    measured, warmth = (known, _cross_fitted(known)) if valid is None else (valid, np.full(len(valid), temperature))
    scores, truth = _columns(measured)
    after = scores / warmth[:, None]
    return FittedTemperature(
        *place,
        temperature=temperature,
        clips=len(known),
        speakers=len({one.speaker for one in known}),
        before=_calibration(measured, scores / before),
        after=_calibration(measured, after),
        loss_before=negative_log_likelihood(scores, truth, before),
        loss_after=negative_log_likelihood(after, truth),
    )


def _columns(scored: Sequence[ScoredClip]) -> tuple[Floats, list[int]]:
    return np.array([one.log_scores for one in scored]), [one.truth for one in scored]


def _fit(scored: Sequence[ScoredClip]) -> float:
    # More digits than these are noise, and a file is to be read.
    return round(fit_temperature(*_columns(scored)), 4)


def _cross_fitted(scored: Sequence[ScoredClip]) -> Floats:
    """(N,) the temperature of each clip, fitted on the folds that its speaker is not in."""
    speakers = sorted({one.speaker for one in scored}, key=unit_hash)
    fold_of = {speaker: number % FOLDS for number, speaker in enumerate(speakers)}
    folds = [fold_of[one.speaker] for one in scored]
    fits = {
        fold: _fit([one for one, own in zip(scored, folds, strict=True) if own != fold]) for fold in sorted(set(folds))
    }
    return np.array([fits[fold] for fold in folds])


def _calibration(scored: Sequence[ScoredClip], log_scores: Floats) -> Calibration:
    probabilities = probabilities_at(log_scores, 1.0)
    speakers = [one.speaker for one in scored]
    right = probabilities.argmax(axis=1) == np.array([one.truth for one in scored])
    groups = speakers if len(set(speakers)) >= MIN_SPEAKERS else None
    return calibration(probabilities.max(axis=1), right, Resampling(groups))


# Keeping


def check_place(checkpoint: Path, out: Path, overwrite: bool = False) -> None:
    """Refuse a place that `save` refuses.

    Raises:
        ConversionError: `out` holds something else than the checkpoint.
    """
    if not _is_same(checkpoint, out):
        check_free(out, overwrite)


def save(checkpoint: Path, out: Path, tasks: TaskSet, files: Mapping[str, bytes], overwrite: bool = False) -> None:
    """Write a calibrated copy of a checkpoint; where `out` is the checkpoint itself, only what is new is written.

    Args:
        checkpoint: the folder of the model.
        out: a new folder, or the same.
        tasks: with temperatures.
        files: what else is kept next to them, by name.
        overwrite: replace another checkpoint in `out`.

    Raises:
        ConversionError: `out` holds something else, or cannot be written.
        OSError: the disk is full.
    """
    text = json.dumps(tasks.to_dict(), ensure_ascii=False, indent=1) + "\n"
    new = {TASKS_FILE: text.encode(), **files}
    if _is_same(checkpoint, out):
        for name, content in new.items():
            with atomic_file(out / name) as file:
                file.write(content)
        return
    with new_folder(out, overwrite) as folder:
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
        for name, content in new.items():
            (folder / name).write_bytes(content)


def _is_same(checkpoint: Path, out: Path) -> bool:
    return out.exists() and out.samefile(checkpoint)
