"""A plan: the YAML that names the steps of a corpus in their order. Knows nothing of rows or folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from osum.errors import RecipeError
from osum.pipeline import steps  # noqa: F401  (registers them)
from osum.pipeline.step import STEPS, Placed, place
from osum.records import RecordError, from_row

__all__ = ["STEPS", "Plan", "plan_of", "read_plan"]


@dataclass(frozen=True)
class PlanFile:
    """What a plan's YAML holds."""

    name: str
    """Of the corpus."""
    steps: list[Any]
    """`NAME`, or `NAME: {option: value}`, in their order."""
    about: str = ""
    """One sentence for the card."""
    rows_per_shard: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 200
    """Rows of the manifest that are one unit of work: what a kill can cost."""
    max_faults: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    """Share of a step's rows that may fail with an error before the run counts as failed."""


@dataclass(frozen=True)
class Plan:
    """A plan that was read and checked."""

    name: str
    steps: tuple[Placed, ...]
    about: str = ""
    rows_per_shard: int = 200
    max_faults: float = 0.1
    source: Mapping[str, Any] = field(default_factory=dict)
    """The YAML as it was read, with the options that the command line changed."""


def read_plan(path: Path, changes: Iterable[str] = ()) -> Plan:
    """Read a plan.

    Args:
        path: the YAML.
        changes: `STEP.OPTION=VALUE` of the command line, for every step of that name; they win over the file.

    Raises:
        RecipeError: it cannot be read, or names a step or an option that does not exist.
    """
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise RecipeError(
            f"plan {path} cannot be read ({' '.join(str(fault).split())}): give a YAML of steps"
        ) from fault
    return plan_of(found, str(path), changes)


def plan_of(found: Any, where: str = "plan", changes: Iterable[str] = ()) -> Plan:
    """The plan that a mapping holds; raises as `read_plan`."""
    try:
        file = from_row(PlanFile, found)
    except RecordError as fault:
        raise RecipeError(f"{where}: {fault.place or 'the plan'} {fault.why}") from fault
    if not file.steps:
        raise RecipeError(f"{where}: steps is empty: name at least one, such as decode")
    for named in file.steps:
        if not isinstance(named, (str, dict)):
            raise RecipeError(f"{where}: {named!r} is no step: write NAME or NAME: {{option: value}}")
    for change in changes:
        file = replace(file, steps=_changed(file.steps, change))
    placed = tuple(place(named, at, f"{where}: steps[{at - 1}]") for at, named in enumerate(file.steps, 1))
    return Plan(file.name, placed, file.about, file.rows_per_shard, file.max_faults, {**found, "steps": file.steps})


def _changed(named: list[Any], change: str) -> list[Any]:
    target, equals, value = change.partition("=")
    name, dot, option = target.partition(".")
    pairs = [(item, {}) if isinstance(item, str) else next(iter(item.items())) for item in named]
    if not (equals and dot) or name not in [own for own, _ in pairs]:
        known = ", ".join(dict.fromkeys(own for own, _ in pairs))
        raise RecipeError(f"--set {change}: give STEP.OPTION=VALUE with a step of the plan: {known}")
    read = yaml.safe_load(value)
    return [
        {own: {**(options or {}), option: read}} if own == name else item
        for (own, options), item in zip(pairs, named, strict=True)
    ]
