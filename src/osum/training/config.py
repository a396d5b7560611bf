"""TrainConfig: everything about one training run. A recipe (YAML) gives it, `key=value` overrides it.

Command line wins over file, file wins over default. Unknown keys, keys that stand twice and values out of their range
are errors, so that no TrainConfig holds what no run can follow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import yaml
from msgspec import Meta

from osum.errors import RecipeError
from osum.records import LARGE, LARGEST, RecordError, from_row, read, shown, unknown
from osum.text import did_you_mean

STAGES = "stages"
"""The key of a recipe that is several runs."""

Number = Annotated[int, Meta(ge=1, le=LARGE)]
NumberOrNone = Annotated[int, Meta(ge=0, le=LARGE)]
Positive = Annotated[float, Meta(gt=0, le=LARGEST)]
NotNegative = Annotated[float, Meta(ge=0, le=LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]
BelowOne = Annotated[float, Meta(ge=0, lt=1)]
Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]*$")]
"""Without control characters, so that it may be a path."""
Place = Annotated[str, Meta(min_length=1, pattern=r"^[^\x00-\x1f]*$")]


@dataclass(frozen=True)
class MixturePart:
    """One manifest of a mixture; a recipe may give the manifest alone."""

    manifest: Place
    """JSON lines, a tar, or a folder of shards: whatever `osum data` reads."""
    weight: NotNegative = 1.0
    """Passes over its clips per epoch: 1.5 is once, and twice in every other epoch."""
    tasks: tuple[str, ...] = ()
    """Asks these tasks only; without it all that a row can answer."""

    @classmethod
    def from_mapping(cls, name: str, values: Any) -> MixturePart:
        """From a recipe: `{manifest, weight, tasks}`, or the manifest alone.

        Raises:
            RecipeError: an unknown key, no manifest, or a weight below 0.
        """
        if isinstance(values, cls):
            return values
        try:
            return from_row(cls, {"manifest": values} if isinstance(values, str) else values)
        except RecordError as fault:
            example = "write {manifest: FILE, weight: 1, tasks: [ASR]}"
            raise RecipeError(f"mixture {name!r}: {fault}; {example}") from fault


@dataclass(frozen=True)
class DialogueOptions:
    """How dialogues are laid out for training."""

    thinking: Mapping[Literal["off", "tag", "language"], NotNegative] = field(default_factory=lambda: {"off": 1.0})
    """How often a reply thinks first: `tag` names what was recognised, `language` thinks in the row's own sentences,
    `off` replies at once. A row that lacks what one needs takes another; without any it replies at once."""
    masked: Share = 0.85
    """Share of the labels that a thought in fields does not know which are neither read nor learned; the others are
    learned as adult, male, neutral and other (echat 2.5)."""
    in_turns: Share = 0.0
    """Share of spoken replies laid out in turns of 6 text ids and 18 codes, where there is enough speech for it."""
    every_reply: bool = False
    """Learn each reply of a dialogue, not the last alone."""
    streams: Mapping[Literal["s2t", "s2s", "t2s", "t2t"], NotNegative] = field(default_factory=dict)
    """Stream to passes per epoch, multiplied with the weight of its manifest; 1 where not named."""
    num_codes: NumberOrNone = 0
    """Gives a model that does not speak yet a head and a table for so many speech codes."""
    released: bool = False
    """Lay out history and padding as the released OSUM-EChat was trained (echat 1.5, 2.4)."""

    def __post_init__(self) -> None:
        if not any(self.thinking.values()):
            raise RecipeError(f"dialogue.thinking is {shown(dict(self.thinking))}: a weight above 0 is needed")


@dataclass(frozen=True)
class VoiceOptions:
    """How the vocoder of a speech model learns."""

    adversarial: NotNegative = 1.0
    """Weight of what judges of its waveforms teach it; 0 leaves its mel alone, which soon sounds dull."""
    judge_channels: Number = 32
    """Width of the judges."""


@dataclass(frozen=True)
class TrainConfig:
    """One run of the loop."""

    kind: Literal["osum", "dialogue", "voice", "whisper"] = "osum"
    """`osum`; `dialogue`, an OSUM that learns to talk; `voice`, what speaks its codes; or `whisper`, which learns the
    tasks by tags of their own and whose encoder can start an OSUM."""
    data: Text = ""
    """Folder with train.jsonl, valid.jsonl (optional) and, for a new model, tokenizer/."""
    mixture: Mapping[str, MixturePart] = field(default_factory=dict)
    """Name to `{manifest: FILE, weight: 1, tasks: [ASR]}`, in place of data's train.jsonl."""
    valid: Text = ""
    """Manifest to validate on, in place of data's valid.jsonl."""
    dialogue: DialogueOptions = field(default_factory=DialogueOptions)
    """How dialogues are laid out, with `kind: dialogue`."""
    voice: VoiceOptions = field(default_factory=VoiceOptions)
    """How a vocoder learns, with `kind: voice`."""
    out: Place = "runs/train"
    """Folder for checkpoints and the log."""
    model: Place = "nano"
    """What to start from: a checkpoint folder, a packaged or a hub name; `preset:nano` is a new model of that size."""
    base: Text = ""
    """Folder of the language model that `model` leaves out, such as recipes/mini; without it the hub's."""
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 1
    steps: Number = 4000
    """Optimiser steps of the whole run."""
    device: Literal["auto", "cpu"] = "auto"
    """`cpu`, or `auto`: an accelerator (CUDA, NPU, MPS) where there is one."""
    learn: str = "full"
    """What learns: `adaptor`, `adaptor+encoder`, `adaptor+encoder+lora`, any of `encoder`, `adaptor`, `llm`, `lora`
    joined by +, or `full`; `speech` is the head and the table of speech codes alone,
    and `flow` and `vocoder` are the parts of a `voice`."""
    freeze: tuple[str, ...] = ()
    """Prefixes of parameter names that do not learn all the same, such as model.audio_tower.layers.0."""
    lora_rank: Number = 8
    lora_alpha: Number = 32
    lora_dropout: BelowOne = 0.1
    quantize: Literal["nf4", ""] = ""
    """`nf4` holds the frozen language model in 4 bit while its LoRA learns (QLoRA), a fourth of its memory."""
    shard: bool = False
    """Cut weights, gradients and optimiser over the processes (FSDP2): for models that do not fit into one card."""
    activation_checkpointing: bool = False
    """Compute activations twice instead of keeping them: a third slower, a fraction of the memory."""
    batch_seconds: Positive = 60.0
    """Padded audio of one batch, in seconds."""
    batch_tokens: NumberOrNone = 0
    """Padded tokens of one batch that the language model reads: requests, audio and answers; 0 is no limit."""
    batches_per_step: Number = 1
    """Batches whose gradients make one optimiser step, over all processes; their lengths and sources differ."""
    questions_per_clip: NumberOrNone = 3
    """Tasks asked about each clip of a batch; the encoder runs once for all. With 0 encoder and adaptor learn alone,
    from the auxiliary losses."""
    timed_share: Share = 0.15
    """Share of batches that ask for word times, and for nothing else: long answers would pad the short ones."""
    tasks_file: Text = ""
    """Task set with labels of one's own, as `TaskSet.to_dict` writes it; without it the model's own."""
    prompt_set: Text = ""
    """Packaged prompts that come before the usual ones for a new model; `brief` suits very small ones."""
    tasks: Mapping[str, NotNegative] = field(default_factory=dict)
    """Task name to how often it is asked, relative to the others; without it all of them, alike."""
    sources: Mapping[str, NotNegative] = field(default_factory=dict)
    """Source of rows (the name in the mixture where they have none) to passes per epoch; 1 where not named."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`adamw`, or `muon`: the matrices of layers by Muon, the rest by AdamW. A small model learns sooner by it."""
    learning_rate: Positive = 1e-3
    """The highest; reached after the warm-up."""
    encoder_rate: Positive = 1.0
    """Share of the learning rate that the encoder gets: a trained one that learns fast forgets what it knows."""
    schedule: Literal["linear", "noam"] = "linear"
    """After the warm-up: `linear`, flat and then down to nothing; `noam`, with the inverse root of the step."""
    warmup_steps: NumberOrNone = 300
    decay_fraction: Share = 0.2
    """Share of the steps over which the learning rate falls to nothing, linearly."""
    weight_decay: NotNegative = 0.05
    beta2: BelowOne = 0.98
    epsilon: Positive = 1e-8
    max_grad_norm: Positive = 1.0
    ctc_weight: NotNegative = 0.5
    """Weight of the auxiliary CTC loss on encoder frames; it makes a small encoder align."""
    label_weight: NotNegative = 0.0
    """Weight of the auxiliary loss that names a clip's labels from the input of the language model; encoder and adaptor
    keep them by it."""
    token_weight: NotNegative = 0.0
    """Weight of the auxiliary CTC loss that reads text tokens off the adaptor's output; by it sound comes to a new
    language model in the terms of its own table."""
    spelling_weight: NotNegative = 0.0
    """Weight of a second CTC loss of letters, on the adaptor's frames of 25 Hz, where the encoder is frozen or slow."""
    augment: Share = 1.0
    """Share of training clips that are changed: speed, silence, echo, noise, band, masks."""
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    """How they are changed, where the defaults of `osum.training.augment.Augmentation` do not suit."""
    encoder_copies: NumberOrNone = 0
    """Copies of each clip, one as it is and the rest augmented, whose encoder output is computed once and kept in
    out/encoder: a frozen encoder then costs nothing in later epochs. With 0 it runs for every batch."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Arithmetic of matrix products; weights and optimiser stay in float32."""
    attention: str = "eager"
    """`sdpa` on a GPU; on a CPU the backward pass of torch's fused attention is slower than the plain one."""
    workers: Annotated[int, Meta(ge=0, le=1024)] = 1
    """Processes that prepare batches; any number gives the same batches."""
    log_every: Number = 20
    save_every: Number = 250
    """Steps between checkpoints; each is also validated."""
    keep: Number = 2
    """Checkpoints that are kept, in addition to the best."""
    best: str = "loss"
    """Validation figure whose best checkpoint stays as `best`: loss, ctc, wer, cer, or a label task such as SGC."""
    answered_clips: NumberOrNone = 0
    """Validation clips that are answered and scored at each checkpoint, as a user would ask."""
    track: tuple[str, ...] = ()
    """`tensorboard`, `trackio`."""
    evidence: Mapping[str, Literal["real", "synthetic", "none"]] = field(default_factory=dict)
    """Task name to real, synthetic or none: what the checkpoint says it learned the task from."""

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            object.__setattr__(self, name, _field(name, kind, getattr(self, name)))
        if self.tasks and not any(self.tasks.values()):
            raise RecipeError(f"tasks is {shown(dict(self.tasks))}: a weight above 0 is needed, or no tasks at all")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as saved with every checkpoint."""
        return asdict(self)


@cache
def _kinds() -> dict[str, Any]:
    return get_type_hints(TrainConfig, include_extras=True)


def _field(name: str, kind: Any, value: Any) -> Any:
    """The value of one field, checked.

    Raises:
        RecipeError: it is of another kind, or out of its range.
    """
    try:
        if name == "mixture" and isinstance(value, Mapping):
            value = {key: MixturePart.from_mapping(str(key), part) for key, part in value.items()}
        if name in ("dialogue", "voice"):
            return value if isinstance(value, kind) else from_row(kind, value)
        return read(kind, value, name)
    except RecordError as fault:
        raise RecipeError(str(fault)) from fault


def read_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> tuple[TrainConfig, ...]:
    """The runs of a recipe: one, or one after another where it has `stages`, name to what differs from the rest of it.

    Each stage has the folder `out/NAME`; `train` starts it from the last checkpoint of the stage before. An override
    `tasks.ASR=2` reaches into a mapping, `stages.NAME.steps=10` into a stage; any other holds for every stage.

    Raises:
        RecipeError: the file cannot be read, a key is unknown or stands twice, or a value is none for its key.
    """
    values = _values(str(recipe))
    of_one = [override for override in overrides if override.startswith(f"{STAGES}.")]
    for override in of_one:
        _check_stage(override, values.get(STAGES))
        _override(values, override)
    stages = values.pop(STAGES, {"": {}})
    if not stages or not isinstance(stages, dict) or not all(isinstance(changes, dict) for changes in stages.values()):
        raise RecipeError(f"stages is {stages!r}: a mapping of name: {{key: value}} is needed")
    runs: list[TrainConfig] = []
    for name, changes in stages.items():
        stage = {**values, **{key: _merged(values.get(key), value) for key, value in changes.items()}}
        for override in overrides:
            if override not in of_one:
                _override(stage, override)
        run = _config(stage)
        runs.append(replace(run, out=str(Path(run.out) / str(name))) if name else run)
    return tuple(runs)


def _check_stage(override: str, stages: Any) -> None:
    """A misspelt name would be another stage."""
    _, name, *_ = override.partition("=")[0].split(".")
    known = list(stages) if isinstance(stages, dict) else []
    if name not in known:
        hint = did_you_mean(name, known).rstrip() or f"its stages are {', '.join(map(str, known)) or 'none'}"
        raise RecipeError(f"{override!r}: the recipe has no stage {name!r}: {hint}")


def _merged(whole: Any, changes: Any) -> Any:
    both = isinstance(whole, dict) and isinstance(changes, dict)
    return {**whole, **changes} if both else changes


def _config(values: Mapping[str, Any]) -> TrainConfig:
    known = sorted(item.name for item in fields(TrainConfig))
    for key in values:
        if key not in known:
            raise RecipeError(f"{key!r} is no training option: {unknown(str(key), known, 'keys')}")
    return TrainConfig(**values)


def _override(values: dict[str, Any], override: str) -> None:
    """Write `key=value` into the recipe's values; dots in the key reach into mappings."""
    key, found, text = override.partition("=")
    *path, last = key.split(".")
    try:
        value = _yaml(text)
        for name in path:
            values = values.setdefault(name, {})
    except (*_UNREADABLE, AttributeError) as fault:
        raise RecipeError(f"{override!r} is no override: write key=value, such as steps=100") from fault
    if not found or not last or not isinstance(values, dict):
        raise RecipeError(f"{override!r} is no override: write key=value, such as steps=100 or tasks.ASR=2")
    values[last] = value


# YAML


class _Loader(yaml.SafeLoader):
    """YAML whose keys stand once, and which takes 1e-3 for the number that it is (YAML 1.2; PyYAML reads 1.1)."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping.

        Raises:
            ValueError: a key stands in it twice.
        """
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and name in lines:
                raise ValueError(f"{name!r} stands twice, in lines {lines[name]} and {line}: leave one out")
            lines[name] = line
            if key.tag == "tag:yaml.org,2002:bool":  # a key is a name: `off` is no false
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
_UNREADABLE = (yaml.YAMLError, ValueError, RecursionError, OverflowError)
"""What PyYAML raises of a text: ValueError for a 13th month."""


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)


def _values(recipe: str) -> dict[str, Any]:
    try:
        values = _yaml(Path(recipe).read_text("utf8"))
    except (OSError, *_UNREADABLE) as fault:
        reason = " ".join(str(fault).split())
        raise RecipeError(f"recipe {recipe!r} cannot be read ({reason}): give a YAML file") from fault
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {recipe!r} holds a {type(values).__name__}: write lines of key: value")
    return values
