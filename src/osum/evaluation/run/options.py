"""RunOptions: how a model is asked about a test set. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from osum.records import check_fields


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes about it."""

    resume: bool = False
    """Continue with what is there."""
    overwrite: bool = False
    """Drop what is there for these models and benchmarks."""
    retry_failed: bool = False
    """With --resume: ask again what failed."""
    limit: Annotated[int, Meta(ge=1)] | None = None
    """The first N clips of each list alone."""
    all_prompts: bool = False
    """Ask under every published prompt, not in the fixed one alone; a model that takes none is asked once."""
    batch_size: Annotated[int, Meta(ge=1)] = 8
    """Clips answered together; they are what a kill loses."""
    seed: int = 0
    """Of the intervals."""

    def __post_init__(self) -> None:
        check_fields(self)
