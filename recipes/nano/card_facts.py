"""Reads what the card of `nano` reports: of the checkpoint's folder, of the data's manifest, of a training run.

Knows nothing of how a card looks.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from osum.audio import SAMPLE_RATE
from osum.checkpoints.folder import PROGRESS, STATE
from osum.checkpoints.locate import read_tasks
from osum.corpus.manifest import read_manifest
from osum.model import OsumConfig, OsumForConditionalGeneration
from osum.tasks import TaskSet
from osum.training import checkpoint
from osum.training.report import logged
from osum.utterance import Utterance

PAUSE = 600  # seconds between two rows of a log from which on nothing was computed
NO_PART = ("README.md", STATE, PROGRESS)
"""Files of a checkpoint's folder that are not the model."""


# The checkpoint


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A checkpoint's sizes."""

    config: Mapping[str, Any]
    tasks: TaskSet
    parameters: Mapping[str, int]
    """Part of the model to its parameters."""
    dtype: str
    num_files: int
    weight_megabytes: float
    megabytes: float
    max_seconds: float


def read_model(folder: Path) -> ModelFacts:
    """Sizes of a checkpoint; the weights themselves are not read."""
    config = OsumConfig.from_pretrained(folder)
    weights = sorted(folder.glob("*.safetensors"))
    weights = [path for path in weights if path.name not in NO_PART]
    others = [path for path in folder.rglob("*") if path.is_file() and path.name not in NO_PART]
    return ModelFacts(
        config=config.to_dict(),
        tasks=read_tasks(folder),
        parameters=_parameters(config),
        dtype=_dtype(weights),
        num_files=len(weights),
        weight_megabytes=_megabytes(weights),
        megabytes=_megabytes(others),
        max_seconds=config.max_samples / SAMPLE_RATE,
    )


def _parameters(config: OsumConfig) -> dict[str, int]:
    with torch.device("meta"):
        model = OsumForConditionalGeneration(config)
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        counts[name.removeprefix("model.").split(".")[0]] += parameter.numel()
    return dict(counts)


def _dtype(weights: Iterable[Path]) -> str:
    kinds: set[str] = set()
    for path in weights:
        with safe_open(path, "pt") as file:
            kinds |= {str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118 - no mapping
    return ", ".join(sorted(kinds))


def _megabytes(paths: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / 1e6


# The data


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the rows of a source say together."""

    licence: str
    known: str
    """Names of the fields and label sets that its rows have, those that are always guessed in brackets."""
    kind: str
    """real, synthetic or both."""


def read_sources(manifest: Path) -> dict[str, SourceFacts]:
    """Sources of a manifest. Clips that were made of others count for their kind only: they borrow labels."""
    rows: dict[str, list[Utterance]] = defaultdict(list)
    for row in read_manifest(manifest):
        if "parts" not in row.extra:
            rows[row.source or ""].append(row)
    return {name: SourceFacts(_licence(part), _known(part), _kind(part)) for name, part in sorted(rows.items())}


def _licence(rows: Iterable[Utterance]) -> str:
    """The licence, or where clips have their own, the names of all."""
    found = {row.licence for row in rows if row.licence}
    if len(found) > 1:
        found = {licence.split(" (")[0] for licence in found}
    return ", ".join(sorted(found))


def _known(rows: Iterable[Utterance]) -> str:
    known: dict[str, bool] = {}
    for row in rows:
        for name, sure in _fields(row):
            known[name] = known.get(name, False) or sure
    return ", ".join(name if sure else f"({name})" for name, sure in known.items())


def _fields(row: Utterance) -> Iterator[tuple[str, bool]]:
    yield from ((name, True) for name in ("text", "words", "reply") if getattr(row, name))
    yield from ((name, name not in row.extra.get("weak", ())) for name in row.labels)


def _kind(rows: Iterable[Utterance]) -> str:
    return ", ".join(sorted({str(row.extra.get("evidence", "none")) for row in rows}))


# The run


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What one stage of the recipe took."""

    name: str
    step: int
    losses: str
    """Last one of training and of validation."""
    hours: float | None
    """Audio learned from, every passage counted; None where the log is too short to say."""
    wall_hours: float | None
    machine: str | None = None


def read_run(folder: Path, machine: str | None = None) -> RunFacts:
    """A run by its newest checkpoint and its log.jsonl.

    Raises:
        SystemExit: the folder holds no checkpoint.
    """
    found = checkpoint.steps(folder)
    if not found:
        raise SystemExit(f"{folder} holds no step-N: give the folder of a training run")
    step = json.loads((found[-1] / PROGRESS).read_text(encoding="utf-8"))["step"]
    rows = list(logged(folder))
    hours, wall = heard(rows, step)
    return RunFacts(folder.name, step, _losses(rows), hours, wall, machine)


def keep_runs(kept: Path, new: Sequence[RunFacts]) -> dict[str, RunFacts]:
    """Every stage that was ever made, by name: those kept in a file, and new ones in place of theirs or behind them.

    A stage is made on one machine and the next perhaps on another, much later; folders of runs are not kept.
    """
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else []
    runs = {run.name: run for run in (*(RunFacts(**row) for row in known), *new)}
    rows = ",\n ".join(json.dumps(asdict(run), ensure_ascii=False) for run in runs.values())
    kept.write_text(f"[{rows}]\n", encoding="utf-8")
    return runs


def _losses(rows: Sequence[Mapping[str, Any]]) -> str:
    train = [row["loss"] for row in rows if "loss" in row]
    valid = [row["valid"]["loss"] for row in rows if "valid" in row]
    return " / ".join(f"{values[-1]:.3f}" if values else "–" for values in (train, valid))


def heard(rows: Sequence[Mapping[str, Any]], step: int) -> tuple[float | None, float | None]:
    """Hours of audio learned from in `step` steps, and hours that the run took, its pauses taken off.

    A training row has its speed since the row before; what the steps without one took is taken as the mean.
    """
    steps, audio, seconds = 0, 0.0, 0.0
    for last, row in pairwise(rows):
        gap = (datetime.fromisoformat(row["time"]) - datetime.fromisoformat(last["time"])).total_seconds()
        if gap < PAUSE:
            seconds += gap
        if gap < PAUSE and "audio_seconds_per_second" in row and row["step"] > last["step"]:
            steps += row["step"] - last["step"]
            audio += row["audio_seconds_per_second"] * gap
    return (audio / steps * step / 3600, seconds / 3600) if steps else (None, None)
