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
            rows = self._pipeline(root, answers, [placed for placed, _ in segment], _items(segment, before))
            for item in rows.iter_rows():
                yield from _done(item, segment)
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
        models = sum(placed.step.asks for placed in steps)
        for at, placed in enumerate(steps):
            if placed.step.asks:
                given = (root, placed, answers, at)
                needs = self._needs(placed.step.run, models, resources)
                rows = rows.map(
                    _Actor, fn_constructor_args=given, concurrency=(1, _most(needs, models, resources)), **needs
                )
            else:
                rows = rows.map(partial(_task, root, placed, answers, at), num_cpus=_TASK_CPUS)
        return rows

    def _needs(self, step: type[ModelStep], models: int, resources: dict[str, float]) -> dict[str, float]:
        """Of one actor: the steps share the machines, since all must find room at once, or none would ever end."""
        gpus = resources.get("GPU", 0.0) if step.local else 0.0
        if gpus:
            return {"num_cpus": 0.25, "num_gpus": min(1.0, gpus / models)}
        return {"num_cpus": max(0.01, min(1.0, round(resources.get("CPU", 1.0) / (2 * models), 2) - 0.01))}


def _most(needs: dict[str, float], models: int, resources: dict[str, float]) -> int:
    """Actors of one step: its share of the accelerators, or of half of the processors."""
    kind, whole = ("GPU", 1.0) if "num_gpus" in needs else ("CPU", 0.5)
    return max(1, int(whole * resources[kind] / models / needs[f"num_{kind.lower()}s"]))


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
