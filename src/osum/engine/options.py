"""What one call may ask: how to generate, and what to label. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from osum.errors import InputError
from osum.records import check_fields, shown

Transcript = Literal["decoded", "given"]
VadName = Literal["auto", "silero", "energy"]


NumTokens = Annotated[int, Meta(ge=1, le=1_000_000)]
MAX_SEED = 2**32 - 1
MIN_TEMPERATURE = 0.01


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is decoded. The default is greedy, so equal input gives equal answers.

    Raises:
        InputError: a field outside its range.
    """

    max_new_tokens: NumTokens | None = None
    """Longest answer in tokens. None takes a limit that grows with the audio."""
    num_beams: Annotated[int, Meta(ge=1, le=64)] = 1
    """Beams of the search."""
    do_sample: bool = False
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] = 50
    """Ids that sampling draws from, the most probable; 0 keeps every id."""
    top_p: Annotated[float, Meta(ge=1e-6, le=1)] = 1.0
    temperature: Annotated[float, Meta(ge=MIN_TEMPERATURE, le=100)] = 1.0
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] = 1.0
    """Counts the answer alone, never the prompt."""
    seed: Annotated[int, Meta(ge=0, le=MAX_SEED)] | None = None
    """Seed of sampling. None draws a new one each time."""

    def __post_init__(self) -> None:
        check_fields(self)

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
    """Language of the prompts; by default the first that the checkpoint has. It does not change what language is
    recognised."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Name of a task to the words it is asked in, taken as they are; a task that is not named keeps its own."""
    withhold: bool = True
    """Give no label where no sound is detected that could have it. False answers every question about every clip, as a
    test set asks, and asks nothing else."""
    word_times: bool = False
    """Find when each word of the text is said, by aligning it. The task of word times does so as well, and answers."""
    transcript: Transcript = "decoded"
    """Where texts come from; given: labels are scored behind the text of each row, and nothing is decoded."""
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Labels less probable than this are reported as `unknown`; their distribution stays."""
    batch_size: Annotated[int, Meta(ge=1)] = 8
    """Clips answered together; any number gives the same answers in float32."""
    num_workers: Annotated[int, Meta(ge=0)] = 0
    """Processes that read files ahead of the model; 0 reads in this one, where a broken decoder ends all."""
    read_timeout: Annotated[float, Meta(gt=0)] = 60.0
    """Seconds until a worker that can read nothing of its file is stopped; the file is an error then."""
    vad: VadName = "auto"
    """What finds the pauses that long recordings are cut in; auto is silero where it is installed."""
    generation: GenerationOptions = field(default_factory=GenerationOptions)

    def __post_init__(self) -> None:
        check_fields(self)
        names = [self.tasks] if isinstance(self.tasks, str) else self.tasks
        if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
            raise InputError(f"tasks is {shown(self.tasks)}: a name, or a list of names, is needed")
        if not isinstance(self.prompts, Mapping):
            raise InputError(f"prompts is {shown(self.prompts)}: a mapping of task: prompt is needed")
