"""What a run trains on: manifests by name, how often their clips are seen, and what was left out and why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from osum.corpus.clips import ClipAudio
from osum.corpus.readers import Manifest
from osum.errors import AudioError, RecipeError, TaskError
from osum.records import unknown
from osum.tasks import LabelSet, TaskSet
from osum.training.config import MixturePart, TrainConfig
from osum.utterance import Utterance

log = logging.getLogger(__name__)
R = TypeVar("R")


@dataclass(frozen=True)
class Mixture(Generic[R]):
    """The rows of all parts."""

    rows: tuple[R, ...]
    weights: tuple[float, ...]
    """Passes per epoch of each row."""
    seconds: tuple[float, ...]
    dropped: Mapping[str, int]
    """Reason to how many were left out."""
    lengths: tuple[float, ...] = ()
    """What rows are sorted by into batches; their seconds where it is empty."""
    groups: tuple[str, ...] = ()
    """Of each row; a batch has rows of one group. One where it is empty."""


def parts_to_train(config: TrainConfig) -> Mapping[str, MixturePart]:
    """The mixture of a recipe, or the one manifest of its data."""
    return config.mixture or {"train": MixturePart(str(Path(config.data) / "train.jsonl"))}


def check_tasks(parts: Mapping[str, MixturePart], tasks: TaskSet) -> None:
    """Look up the tasks that the parts name.

    Raises:
        RecipeError: the recipe has no such task.
    """
    for name, part in parts.items():
        for task in part.tasks:
            try:
                tasks.find(task)
            except TaskError as fault:
                raise RecipeError(f"mixture {name!r}: {fault}") from fault


def read_mixture(
    parts: Mapping[str, MixturePart],
    tasks: TaskSet,
    max_seconds: float,
    sources: Mapping[str, float] | None = None,
) -> Mixture[Utterance]:
    """Read all manifests; what cannot be trained on is counted by reason, and the first of each is logged.

    Args:
        parts: name to manifest. A row that names no `source` gets the name.
        tasks: what can be asked.
        max_seconds: longest clip that the model takes.
        sources: source name to further passes, multiplied with the part's weight; `name/language` goes before `name`.

    Raises:
        InputError: a manifest cannot be read, or names a task that the recipe has not.
        RecipeError: no row is from one of the sources.
    """
    clips = ClipAudio()
    seen: set[str] = set()
    rows: list[Utterance] = []
    weights: list[float] = []
    seconds: list[float] = []
    dropped: Counter[str] = Counter()
    mislabelled = 0
    too_long: Counter[str] = Counter()
    label_sets = tasks.label_sets

    def drop(reason: str, what: str) -> None:
        if not dropped[reason]:
            log.warning("left out, %s: %s", reason, what)
        dropped[reason] += 1

    check_tasks(parts, tasks)
    for name, part in parts.items():
        for line in Manifest(Path(part.manifest), tasks=tasks):
            if line.utterance is None:
                drop("broken line", f"{line.place}: {line.fault}")
                continue
            if wrong := _wrong_label(line.utterance, label_sets):
                if not mislabelled:
                    log.warning("label left out: %s: %s", line.place, wrong)
                mislabelled += 1
            row = restricted(line.utterance.with_(source=line.utterance.source or name), part, tasks)
            seen |= {line.utterance.source or name, f"{line.utterance.source or name}/{line.utterance.language}"}
            if row is None or not tasks.answerable(row):
                drop("no task of the recipe fits", line.place)
                continue
            try:
                length = clips.duration(row) if row.duration is None else row.duration
            except AudioError as fault:
                drop("audio that cannot be read", f"{line.place}: {fault}")
                continue
            too_long[part.manifest] += length > max_seconds
            if not 0 < length <= max_seconds:
                drop(f"not within 0 and {max_seconds:g} s", f"{line.place}: {length:g} s")
                continue
            rows.append(row)
            seconds.append(length)
            weights.append(part.weight * _passes(row, sources or {}))
    for source in sources or {}:
        if source not in seen:
            hint = unknown(source, sorted(seen), "sources")
            raise RecipeError(f"sources.{source}: no row is from this source: {hint}")
    _log_left_out(dropped, mislabelled, too_long, len(rows) + sum(dropped.values()), max_seconds)
    return Mixture(tuple(rows), tuple(weights), tuple(seconds), dict(dropped))


def _log_left_out(
    dropped: Counter[str], mislabelled: int, too_long: Counter[str], num_rows: int, max_seconds: float
) -> None:
    for reason, number in dropped.items():
        log.warning("left out, %s: %d of %d rows", reason, number, num_rows)
    if mislabelled:
        log.warning("label left out: of %d of %d rows", mislabelled, num_rows)
    for manifest, number in (+too_long).items():
        cut = f"osum data cut {manifest} OUTDIR --max-seconds {max_seconds:g}"
        log.warning(
            "%d rows are longer than the %g s that this model takes; cut them with: %s", number, max_seconds, cut
        )


def _passes(row: Utterance, sources: Mapping[str, float]) -> float:
    return sources.get(f"{row.source}/{row.language}", sources.get(row.source or "", 1.0))


def _wrong_label(row: Utterance, label_sets: Mapping[str, LabelSet]) -> str | None:
    """What is wrong with the first label that its set has not; no task asks for such a one."""
    for name, label in row.labels.items():
        labels = label_sets.get(name)
        if labels is not None and labels.canonical(label) is None:
            return f"{name} is {label!r}: use one of {', '.join(labels.labels)}"
    return None


def restricted(row: Utterance, part: MixturePart, tasks: TaskSet) -> Utterance | None:
    """The row with the tasks that it, its part and the recipe agree on; None where they agree on none."""
    wanted = part.tasks or row.tasks
    if part.tasks and row.tasks:
        wanted = tuple(task for task in row.tasks if task in part.tasks)
    known = tuple(task for task in wanted if task in tasks and tasks.find(task).can_render(row))
    if not known and (part.tasks or row.tasks):
        return None
    return row.with_(tasks=known)
