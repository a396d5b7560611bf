"""Runs the units of a plan on Ray Data: actors for steps that ask a model, tasks for the rest.

What travels is the number of a shard and its keys; rows and sound are written to the run's folder, which every machine
must see under the same path. A worker that dies takes its unit with it, and Ray does that one again; units appear whole
or not at all, so that nothing is left to clean up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from osum.errors import EndpointUnusableError, MissingExtraError, OsumError
from osum.pipeline.folder import Tally, Unit
from osum.pipeline.step import ModelStep, Placed
from osum.pipeline.work import Done, Worker

Item = dict[str, Any]
MOST_BLOCKS = 4096
"""Blocks of a data set; more shards share them."""
_TASK_CPUS = 0.5
"""Of a task; not that of an actor, else Ray runs the step before a model inside the model's actor."""


class OnRay:
    """A cluster.

    Args:
        address: `local` starts one on this machine, `auto` finds one that runs here, `ray://HOST:PORT` another.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, address: str) -> None:
        try:
            import ray.data
        except ImportError as fault:
            raise MissingExtraError("ray[data]", "ray") from fault
        self._ray, self._address = ray, address

    def run(
        self, root: Path, answers: Path, segment: Sequence[tuple[Placed, Sequence[Unit]]], before: Sequence[Unit]
    ) -> Iterator[Done]:
        """See `Runner`."""
        self._start()
        try:
            for part in _parts(segment):
                rows = self._pipeline(root, answers, [placed for placed, _ in part], _items(part, before))
                for item in rows.iter_rows():
                    yield from _done(item, part)
                before = part[-1][1]
        except self._ray.exceptions.RayError as fault:
            first = str(fault).strip().splitlines()[-1]
            raise OsumError(f"Ray stopped ({first}): start again; what is there is kept") from fault

    def _start(self) -> None:
        if not self._ray.is_initialized():
            address = None if self._address == "local" else self._address
            self._ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
        context = self._ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False

    def _pipeline(self, root: Path, answers: Path, steps: Sequence[Placed], items: list[Item]) -> Any:
        """The steps as stages over items."""
        rows = self._ray.data.from_items(items, override_num_blocks=min(len(items), MOST_BLOCKS))
        resources = self._ray.cluster_resources()
        for at, placed in enumerate(steps):
            if placed.step.asks:
                needs, most = _needs(placed.step.run(placed.options), resources)
                actors = self._ray.data.ActorPoolStrategy(min_size=1, max_size=most)
                rows = rows.map(_Actor, fn_constructor_args=(root, placed, answers, at), compute=actors, **needs)
            else:
                rows = rows.map(partial(_task, root, placed, answers, at), num_cpus=_TASK_CPUS)
        return rows


def _parts(segment: Sequence[tuple[Placed, Sequence[Unit]]]) -> Iterator[list[tuple[Placed, Sequence[Unit]]]]:
    """Steps that run at the same time: up to the next that asks a model, since two pools of actors that share a small
    machine can wait for each other for ever."""
    part: list[tuple[Placed, Sequence[Unit]]] = []
    for placed, units in segment:
        part.append((placed, units))
        if placed.step.asks:
            yield part
            part = []
    if part:
        yield part


def _needs(step: ModelStep, resources: dict[str, float]) -> tuple[dict[str, float], int]:
    """What an actor takes, and how many there may be: one on each accelerator, else on each processor but one."""
    gpus, cpus = resources.get("GPU", 0.0) if step.local else 0.0, resources.get("CPU", 1.0)
    if gpus:
        return {"num_cpus": 0.25, "num_gpus": 1.0}, max(1, int(gpus))
    return ({"num_cpus": 1.0}, max(1, int(cpus) - 1)) if cpus >= 2 else ({"num_cpus": 0.25}, 1)


def _items(segment: Sequence[tuple[Placed, Sequence[Unit]]], before: Sequence[Unit]) -> list[Item]:
    """For each shard its number, and the keys of the unit before and of every unit to do."""
    return [
        {
            "number": unit.number,
            "before": [unit.step, unit.key],
            "keys": [units[at].key for _, units in segment],
            "done": [],
            "fault": "",
        }
        for at, unit in enumerate(before)
    ]


def _task(root: Path, placed: Placed, answers: Path, at: int, item: Item) -> Item:
    """A unit of a step that needs nothing loaded."""
    return _work(Worker(root, placed, answers), placed, at, item)


class _Actor:
    """The units of a step that asks a model, which is loaded once."""

    def __init__(self, root: Path, placed: Placed, answers: Path, at: int) -> None:
        self._worker, self._placed, self._at = Worker(root, placed, answers), placed, at

    def __call__(self, item: Item) -> Item:
        return _work(self._worker, self._placed, self._at, item)


def _work(worker: Worker, placed: Placed, at: int, item: Item) -> Item:
    """Do a unit; a fault that ends the run travels as words, since not every error can be sent."""
    if item["fault"]:
        return item
    step, key = item["before"]
    unit = Unit(placed.name, int(item["number"]), str(item["keys"][at]))
    try:
        done = worker(Unit(str(step), unit.number, str(key)), unit)
    except (OsumError, OSError, MemoryError) as fault:
        return {**item, "fault": f"{type(fault).__name__}: {fault}"}
    told = json.dumps({"tally": asdict(done.tally), "seconds": done.seconds})
    return {**item, "before": [unit.step, unit.key], "done": [*item["done"], told]}


def _done(item: Item, segment: Sequence[tuple[Placed, Sequence[Unit]]]) -> Iterator[Done]:
    """The units of a shard.

    Raises:
        OsumError: one of them met a fault that ends the run.
    """
    for at, told in enumerate(item["done"]):
        placed, _ = segment[at]
        found = json.loads(told)
        unit = Unit(placed.name, int(item["number"]), str(item["keys"][at]))
        yield Done(unit, Tally(**found["tally"]), found["seconds"])
    if item["fault"]:
        kind, _, told = item["fault"].partition(": ")
        raise (EndpointUnusableError if kind == EndpointUnusableError.__name__ else OsumError)(told)
