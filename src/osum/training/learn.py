"""Which parameters learn: parts of the model, LoRA on the language model, frozen prefixes; and what 4 bits hold."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from transformers import BitsAndBytesConfig

from osum.checkpoints.folder import ADAPTER_FOLDER, BASE_FILE
from osum.errors import MissingExtraError, RecipeError
from osum.model import OsumForConditionalGeneration
from osum.text import did_you_mean
from osum.training.config import TrainConfig

log = logging.getLogger(__name__)
PARTS: Mapping[str, tuple[str, ...]] = {
    "encoder": ("model.audio_tower.", "model.encoder."),
    "adaptor": ("model.adaptor.", "model.speech_embedding."),
    "llm": ("model.language_model.", "lm_head.", "speech_head."),
    "decoder": ("model.decoder.", "proj_out."),
}
"""Part to the prefixes of its parameters; the rows around the audio belong to the adaptor, as in the release.

An OSUM has no `decoder`; a Whisper has that and the encoder.
"""
PIECES: Mapping[str, tuple[str, ...]] = {
    "speech": ("speech_head.", "model.speech_embedding."),
    "flow": ("flow.",),
    "vocoder": ("vocoder.",),
}
"""What may learn without the rest of its part: `speech`, the head and the table of speech codes; and the two parts of
what speaks codes, which are no parts of an OSUM."""
FULL = "full"
LORA = "lora"
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj")
"""What the release adapts; `up_proj` is not among it (specification 1.4)."""
ADAPTED = rf"model\.language_model\.layers\.\d+\.\w+\.({'|'.join(LORA_TARGETS)})"
NF4 = "nf4"
NOT_QUANTIZED = ("model.audio_tower", "model.adaptor", "lm_head", "speech_head")
"""All linear layers outside the layers of the language model."""


def parts_of(learn: str) -> set[str]:
    """The parts named by `adaptor+encoder+lora` and the like; `full` is all that there are.

    Raises:
        RecipeError: an unknown part, or the language model both whole and by LoRA.
    """
    if learn == FULL:
        return set(PARTS)
    names, parts = learn.split("+"), {*learn.split("+")}
    for name in names:
        if name == FULL or names.count(name) > 1:
            why = "is all there is" if name == FULL else "stands twice"
            raise RecipeError(f"learn is {learn!r}: {name!r} {why}; give it once, and full alone")
        if name not in (*PARTS, *PIECES, LORA):
            known = (*PARTS, *PIECES, LORA, FULL)
            near = did_you_mean(name, known).rstrip()
            raise RecipeError(f"learn is {learn!r}: {name!r} is none of {', '.join(known)}{near and f'; {near}'}")
    if {"llm", LORA} <= parts:
        raise RecipeError(f"learn is {learn!r}: the language model learns whole (llm) or by LoRA, not both; leave one")
    return parts


def quantization(config: TrainConfig, source: Path | None) -> dict[str, Any]:
    """What `from_pretrained` is given so that the language model is held in 4 bit (QLoRA); nothing without `quantize`.

    The factors of the blocks are not quantised once more: they would not survive that a checkpoint holds plain weights.

    Raises:
        RecipeError: a recipe or a device that has no use for it.
        MissingExtraError: without bitsandbytes.
    """
    if not config.quantize:
        return {}
    setting = f"quantize is {config.quantize!r}"
    if source is not None and (source / BASE_FILE).is_file():
        raise RecipeError(f"{setting}, and {source} leaves out its language model, which is held whole: drop quantize")
    if LORA not in parts_of(config.learn) or source is None or config.shard:
        raise RecipeError(
            f"{setting} with learn={config.learn} model={config.model} shard={str(config.shard).lower()}: 4 bits hold "
            "a trained language model that learns by LoRA and is whole in each process; leave it out"
        )
    try:
        import bitsandbytes
    except ImportError as fault:
        raise MissingExtraError("bitsandbytes", "qlora") from fault
    device = PartialState().device
    if device.type not in bitsandbytes.supported_torch_devices:
        raise RecipeError(
            f"{setting}: bitsandbytes {bitsandbytes.__version__} does not run on {device.type}; leave it out"
        )
    options = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=NF4,
        bnb_4bit_compute_dtype=getattr(torch, config.dtype),
        llm_int8_skip_modules=list(NOT_QUANTIZED),
    )
    return {"quantization_config": options, "device_map": {"": device}}


def with_lora(model: OsumForConditionalGeneration, config: TrainConfig, source: Path | None) -> Any:
    """Put LoRA into the language model, in place; returns the `PeftModel` around it, or None where none learns.

    An adapter next to the weights in `source` continues where its rank and alpha are the recipe's; the dropout is
    always the recipe's. Else it is merged into the weights, so that nothing learned is lost, and a new one begins.

    Raises:
        RecipeError: it would have to be merged into weights that 4 bits hold.
        MissingExtraError: without peft.
    """
    wanted = LORA in parts_of(config.learn)
    held = None if source is None or not (source / ADAPTER_FOLDER).is_dir() else source / ADAPTER_FOLDER
    if not wanted and held is None:
        return None
    try:
        from peft import LoraConfig, PeftModel, get_peft_model
    except ImportError as fault:
        raise MissingExtraError("peft", "train") from fault
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft's, about a name it looks up
        if held is not None:
            options = LoraConfig.from_pretrained(held)
            then, now = (options.r, options.lora_alpha), (config.lora_rank, config.lora_alpha)
            if wanted and then == now:
                options.lora_dropout = config.lora_dropout
                return PeftModel.from_pretrained(model, held, is_trainable=True, config=options)
            _check_merge(config, held, then)
            PeftModel.from_pretrained(model, held).merge_and_unload()
            log.info("the LoRA of %s (rank %d, alpha %d) is merged into the weights", held, *then)
        if not wanted:
            return None
        _check_rank(model, config)
        options = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=ADAPTED,
        )
        return get_peft_model(model, options)


def changes_language_model(config: TrainConfig, source: Path) -> bool:
    """Whether a run that begins with `source` ends with another language model: one that learned, or took a LoRA in."""
    if "llm" in parts_of(config.learn):
        return True
    held = source / ADAPTER_FOLDER / "adapter_config.json"
    if not held.is_file():
        return False
    then = json.loads(held.read_text("utf8"))
    same = (then["r"], then["lora_alpha"]) == (config.lora_rank, config.lora_alpha)
    return not (same and LORA in parts_of(config.learn))


def _check_merge(config: TrainConfig, held: Path, then: tuple[int, int]) -> None:
    if config.quantize:
        raise RecipeError(
            f"quantize is {config.quantize!r}, and {held} has lora_rank={then[0]} lora_alpha={then[1]}: nothing is "
            "merged into 4 bits; give the same two and learn=...+lora, or leave quantize out"
        )


def _check_rank(model: nn.Module, config: TrainConfig) -> None:
    """No matrix has a rank above its shorter side."""
    adapted = [layer for name, layer in model.named_modules() if re.fullmatch(ADAPTED, name)]
    most = min(min(layer.in_features, layer.out_features) for layer in adapted)
    if config.lora_rank > most:
        raise RecipeError(
            f"lora_rank is {config.lora_rank}: this model's matrices allow a whole number from 1 to {most}"
        )


def choose(model: nn.Module, config: TrainConfig) -> None:
    """Mark what learns; the rest is frozen, its matrices held in the run's arithmetic to save memory.

    Raises:
        RecipeError: a prefix of `freeze` that no parameter has, or nothing is left to learn.
    """
    parts = parts_of(config.learn)
    prefixes = tuple(prefix for part in parts - {LORA} for prefix in {**PARTS, **PIECES}[part])
    named = dict(model.named_parameters())
    for prefix in config.freeze:
        if not any(name.startswith(prefix) for name in named):
            raise RecipeError(f"freeze: no parameter begins with {prefix!r}; one that does is {next(iter(named))}")
    for name, parameter in named.items():
        adapted = LORA in parts and ".lora_" in name
        learns = (name.startswith(prefixes) or adapted) and not name.startswith(tuple(config.freeze))
        parameter.requires_grad_(learns)
        if hasattr(parameter, "quant_state"):
            parameter.quant_state.dtype = getattr(torch, config.dtype)  # what it is unpacked to
        elif not learns and parameter.dim() > 1:
            parameter.data = parameter.data.to(getattr(torch, config.dtype))
    if not any(parameter.requires_grad for parameter in named.values()):
        raise RecipeError(f"learn {config.learn!r} with freeze {list(config.freeze)}: nothing is left to learn")


def count_learned(learned: Mapping[str, nn.Parameter], learn: str = FULL) -> dict[str, int]:
    """Parameters that learn, by part of the model, `lora`, and `heads`, which no checkpoint's model has."""
    counts: dict[str, int] = {}
    known = {name: prefixes for name, prefixes in PIECES.items() if name in parts_of(learn)} | {**PARTS}
    for name, parameter in learned.items():
        part = next((part for part, prefixes in known.items() if name.startswith(prefixes)), "heads")
        part = LORA if ".lora_" in name else part
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def plain_state(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's tensors under the names they have without LoRA, LoRA left out; those held in 4 bit are unpacked."""
    state = {name.replace(".base_layer.", "."): value for name, value in tensors.items() if ".lora_" not in name}
    for name, parameter in model.named_parameters():
        if hasattr(parameter, "quant_state"):
            from peft.utils.integrations import dequantize_bnb_weight

            plain = name.replace(".base_layer.", ".")
            state = {key: value for key, value in state.items() if not key.startswith(f"{plain}.")}
            state[plain] = dequantize_bnb_weight(parameter)
    return state
