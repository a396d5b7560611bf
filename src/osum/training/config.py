"""TrainConfig: everything about one training run. A recipe (YAML) gives it, `key=value` overrides it.

Command line wins over file, file wins over default. Unknown keys are errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from osum.errors import InputError
from osum.text import closest

STAGES = "stages"
"""The key of a recipe that is several runs."""


@dataclass(frozen=True)
class TrainConfig:
    """One run of the loop."""

    kind: str = "osum"
    """`osum`; or `whisper`, which learns the tasks by tags of their own and whose encoder can start an OSUM."""
    data: str = ""
    """Folder with train.jsonl, valid.jsonl (optional) and, for a new model, tokenizer/."""
    mixture: Mapping[str, Any] = field(default_factory=dict)
    """Name to `{manifest: FILE, weight: 1, tasks: [ASR]}`, in place of data's train.jsonl."""
    valid: str = ""
    """Manifest to validate on, in place of data's valid.jsonl."""
    out: str = "runs/train"
    """Folder for checkpoints and the log."""
    model: str = "nano"
    """What to go on from: a checkpoint folder, a packaged or a hub name; `preset:nano` is a new model of that size."""
    seed: int = 1
    steps: int = 4000
    """Optimiser steps of the whole run."""
    device: str = "auto"
    """`cpu`, or `auto`: an accelerator (CUDA, NPU, MPS) where there is one."""
    learn: str = "full"
    """What learns: `adaptor`, `adaptor+encoder`, `adaptor+encoder+lora`, any of `encoder`, `adaptor`, `llm`, `lora`
    joined by +, or `full`."""
    freeze: Sequence[str] = ()
    """Prefixes of parameter names that do not learn all the same, such as model.audio_tower.layers.0."""
    lora_rank: int = 8
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    quantize: str = ""
    """`nf4` holds the frozen language model in 4 bit while its LoRA learns (QLoRA), a fourth of its memory."""
    shard: bool = False
    """Cut weights, gradients and optimiser over the processes (FSDP2): for models that do not fit into one card."""
    activation_checkpointing: bool = False
    """Compute activations twice instead of keeping them: a third slower, a fraction of the memory."""
    batch_seconds: float = 60.0
    """Padded audio of one batch, in seconds."""
    batch_tokens: int = 0
    """Padded tokens of one batch that the language model reads: requests, audio and answers; 0 is no limit."""
    batches_per_step: int = 1
    """Batches whose gradients make one optimiser step, over all processes; their lengths and sources differ."""
    questions_per_clip: int = 3
    """Tasks asked about each clip of a batch; the encoder runs once for all. With 0 encoder and adaptor learn alone,
    from the auxiliary losses."""
    timed_share: float = 0.15
    """Share of batches that ask for word times, and for nothing else: long answers would pad the short ones."""
    tasks_file: str = ""
    """Task set with labels of one's own, as `TaskSet.to_dict` writes it; without it the model's own."""
    prompt_set: str = ""
    """Packaged prompts that come before the usual ones for a new model; `brief` suits very small ones."""
    tasks: Mapping[str, float] = field(default_factory=dict)
    """Task name to how often it is asked, relative to the others; without it all of them, alike."""
    sources: Mapping[str, float] = field(default_factory=dict)
    """Source of rows (the name in the mixture where they tell none) to passes per epoch; 1 where not named."""
    optimizer: str = "adamw"
    """`adamw`, or `muon`: the matrices of layers by Muon, the rest by AdamW. A small model learns sooner by it."""
    learning_rate: float = 1e-3
    """The highest; reached after the warm-up."""
    schedule: str = "linear"
    """After the warm-up: `linear`, flat and then down to nothing; `noam`, with the inverse root of the step."""
    warmup_steps: int = 300
    decay_fraction: float = 0.2
    """Share of the steps over which the learning rate falls to nothing, linearly."""
    weight_decay: float = 0.05
    beta2: float = 0.98
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    ctc_weight: float = 0.5
    """Weight of the auxiliary CTC loss on encoder frames; it makes a small encoder align."""
    label_weight: float = 0.0
    """Weight of the auxiliary loss that names a clip's labels from what the language model hears; encoder and adaptor
    keep them by it."""
    token_weight: float = 0.0
    """Weight of the auxiliary CTC loss that reads text tokens off the adaptor's output; by it sound comes to a new
    language model in the terms of its own table."""
    augment: float = 1.0
    """Share of training clips that are changed: speed, silence, echo, noise, band, masks."""
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    """How they are changed, where the defaults of `osum.data.augment.Augmentation` do not suit."""
    encoder_copies: int = 0
    """Copies of each clip, one as it is and the rest augmented, whose encoder output is computed once and kept in
    out/encoder: a frozen encoder then costs nothing in later epochs. With 0 it runs for every batch."""
    dtype: str = "bfloat16"
    """Arithmetic of matrix products; weights and optimiser stay in float32."""
    attention: str = "eager"
    """`sdpa` on a GPU; on a CPU the backward pass of torch's fused attention is slower than the plain one."""
    workers: int = 1
    """Processes that prepare batches; any number gives the same batches."""
    log_every: int = 20
    save_every: int = 250
    """Steps between checkpoints; each is also validated."""
    keep: int = 2
    """Checkpoints that stay, beside the best."""
    best: str = "loss"
    """Validation figure whose best checkpoint stays as `best`: loss, ctc, wer, cer, or a label task such as SGC."""
    answered_clips: int = 0
    """Validation clips that are answered and scored at each checkpoint, as a user would ask."""
    track: Sequence[str] = ()
    """`tensorboard`, `trackio`."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Task name to real, synthetic or none: what the checkpoint says it learned the task from."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as saved with every checkpoint."""
        return asdict(self)


def read_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> tuple[TrainConfig, ...]:
    """The runs of a recipe: one, or one after another where it has `stages`, name to what differs from the rest of it.

    Each stage has the folder `out/NAME`; `train` has it go on from the last checkpoint of the stage before. An override
    `tasks.ASR=2` reaches into a mapping, `stages.NAME.steps=10` into a stage; any other holds for every stage.

    Raises:
        InputError: the file cannot be read, or a key is unknown.
    """
    try:
        values = yaml.safe_load(Path(recipe).read_text("utf8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        reason = " ".join(str(fault).split())
        raise InputError(f"recipe {str(recipe)!r} cannot be read ({reason}): give a YAML file") from fault
    if not isinstance(values, dict):
        raise InputError(f"recipe {str(recipe)!r} holds a {type(values).__name__}: write lines of key: value")
    of_one = [override for override in overrides if override.startswith(f"{STAGES}.")]
    for override in of_one:
        _check_stage(override, values.get(STAGES))
        _override(values, override)
    stages = values.pop(STAGES, {"": {}})
    if not stages or not isinstance(stages, dict) or not all(isinstance(changes, dict) for changes in stages.values()):
        raise InputError(f"stages is {stages!r}: a mapping of name: {{key: value}} is needed")
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
        near = closest(name, known)
        hint = f"did you mean {near!r}?" if near else f"its stages are {', '.join(map(str, known)) or 'none'}"
        raise InputError(f"{override!r}: the recipe has no stage {name!r}: {hint}")


def _merged(whole: Any, changes: Any) -> Any:
    both = isinstance(whole, dict) and isinstance(changes, dict)
    return {**whole, **changes} if both else changes


def _config(values: Mapping[str, Any]) -> TrainConfig:
    known = {item.name for item in fields(TrainConfig)}
    for key in values:
        if key not in known:
            near = closest(str(key), known)
            hint = f"did you mean {near!r}?" if near else f"the keys are {', '.join(sorted(known))}"
            raise InputError(f"{key!r} is no training option: {hint}")
    chosen = {item.name: _checked(item, values[item.name]) for item in fields(TrainConfig) if item.name in values}
    return TrainConfig(**chosen)


def _override(values: dict[str, Any], override: str) -> None:
    """Write `key=value` into the recipe's values; dots in the key reach into mappings."""
    key, found, text = override.partition("=")
    *path, last = key.split(".")
    try:
        value = yaml.safe_load(text)
        for name in path:
            values = values.setdefault(name, {})
    except (yaml.YAMLError, AttributeError) as fault:
        raise InputError(f"{override!r} is no override: write key=value, such as steps=100") from fault
    if not found or not last or not isinstance(values, dict):
        raise InputError(f"{override!r} is no override: write key=value, such as steps=100 or tasks.ASR=2")
    values[last] = value


_KINDS: dict[type, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    str: (str, "a text"),
    tuple: (list, "a list"),
    dict: (dict, "a mapping of name: value"),
}
"""Type of a field's default to what a recipe may give for it."""


def _checked(item: Field[Any], value: Any) -> Any:
    """The value, which must be of the field's kind."""
    default = type({} if item.default is MISSING else item.default)
    kind, name = _KINDS[default]
    if default is float and isinstance(value, str):
        with suppress(ValueError):  # YAML takes 1e-3 for a text
            value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and default is not bool):
        raise InputError(f"{item.name} is {value!r}: {name} is needed")
    return value
