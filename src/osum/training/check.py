"""What a recipe names and no range can say, looked up before anything is loaded: so that usage errors come at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from osum.errors import OsumError, RecipeError
from osum.records import unknown
from osum.scoring import ERROR_RATES
from osum.training.augment import Augmentation
from osum.training.config import TrainConfig
from osum.training.learn import parts_of
from osum.training.mixture import check_tasks, parts_to_train
from osum.training.report import TITLES, TRACKERS
from osum.training.start import find, task_set


def check(stages: Sequence[TrainConfig]) -> None:
    """Look up all that the stages name.

    Raises:
        RecipeError: something is not there, or no run can have it; the message says what to give.
    """
    for place, config in enumerate(stages):
        with _as_usage():
            parts_of(config.learn)
            Augmentation.from_mapping(config.augmentation)
            _check_processes(config)
            _one_of("track", config.track, TRACKERS)
            if place == 0:  # a later stage has the model and the tasks of the one before
                tasks = task_set(config, find(config))
                check_tasks(parts_to_train(config), tasks)
                _one_of("best", [config.best], (*TITLES, *(rate.__name__ for rate in ERROR_RATES.values()), *tasks))
            _check_manifests(config)
            Path(config.out).mkdir(parents=True, exist_ok=True)


@contextmanager
def _as_usage() -> Iterator[None]:
    try:
        yield
    except (OsumError, OSError) as fault:
        raise RecipeError(str(fault)) from fault


def _check_processes(config: TrainConfig) -> None:
    number = int(os.environ.get("WORLD_SIZE", "1"))
    if config.shard and number == 1 and not torch.distributed.is_initialized():
        raise RecipeError(
            "shard is true, and there is one process: weights are cut over several, so start with "
            "torchrun --nproc-per-node N --no-python osum train ..., or leave shard out"
        )


def _check_manifests(config: TrainConfig) -> None:
    given = [part.manifest for part in parts_to_train(config).values()]
    for manifest in (*given, *([config.valid] if config.valid else [])):
        if not Path(manifest).exists():
            raise RecipeError(
                f"{manifest} cannot be read (No such file or directory): give a UTF-8 JSON-lines file, a tar or a "
                "folder of shards, or data=DIR with train.jsonl"
            )


def _one_of(field: str, given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise RecipeError(f"{field}: {name!r} is unknown: {unknown(name, known, 'choices')}")
