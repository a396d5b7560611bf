"""What one call may ask: how to generate, and what to label. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osum.errors import InputError


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is decoded. The default is greedy, so equal input gives equal answers."""

    max_new_tokens: int | None = None
    """Longest answer in tokens; None takes a limit that grows with the audio."""
    num_beams: int = 1
    do_sample: bool = False
    top_k: int = 50
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.0
    """Counts the answer alone, never the prompt."""
    seed: int | None = None
    """Seed of sampling; None draws a new one each time."""

    @classmethod
    def release(cls, seed: int = 777) -> GenerationOptions:
        """The original's settings: beam sampling, the same for every task (specification 1.7), seeded."""
        return cls(
            max_new_tokens=400, num_beams=4, do_sample=True, top_k=5, top_p=0.9, repetition_penalty=1.05, seed=seed
        )

    @property
    def searches(self) -> bool:
        """Whether several beams are followed."""
        return self.num_beams > 1

    def to_generate(self) -> dict[str, Any]:
        """Keyword arguments of `generate`, the length aside."""
        sampling = {"top_k": self.top_k, "top_p": self.top_p, "temperature": self.temperature}
        return {
            "num_beams": self.num_beams,
            "do_sample": self.do_sample,
            "repetition_penalty": self.repetition_penalty,
            **(sampling if self.do_sample else {}),
        }


@dataclass(frozen=True)
class LabelOptions:
    """What is asked about every clip."""

    tasks: str | Sequence[str] = "all"
    """`all`, or names of tasks, tags or label sets, as a list or with commas."""
    prompt_language: str | None = None
    """Of the prompts; None takes the first the checkpoint has. It does not change what language is recognised."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Name of a task to the words it is asked in, taken as they are; a task that is not named keeps its own."""
    withhold: bool = True
    """Give no label where nothing is heard that could carry it. False answers every question about every clip, as a
    test set asks, and asks nothing beside it."""
    min_confidence: float = 0.0
    """A label that is less probable is told as `unknown`; its distribution stays."""
    batch_size: int = 8
    """Clips answered together; any number gives the same answers in float32."""
    num_workers: int = 0
    """Processes that read files ahead of the model; 0 reads in this one."""
    read_timeout: float = 60.0
    """Seconds until a worker that can read nothing of its file is stopped; the file is an error then."""
    vad: str = "auto"
    """What finds the pauses of a long recording: `silero`, `energy`, or `auto` for the best that is installed."""
    generation: GenerationOptions = field(default_factory=GenerationOptions)

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise InputError(f"least confidence {self.min_confidence}: it must be a probability, from 0 to 1")
        if self.batch_size < 1:
            raise InputError(f"batch size {self.batch_size}: it must be 1 or more")
        if self.num_workers < 0:
            raise InputError(f"{self.num_workers} workers: it must be 0 or more")
        if not self.read_timeout > 0:
            raise InputError(f"read timeout {self.read_timeout}: it must be more than 0 seconds")
