"""Which parameters learn: parts of the model, LoRA on the language model, frozen prefixes; and what 4 bits hold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from transformers import BitsAndBytesConfig

from osum.checkpoints.folder import ADAPTER_FOLDER
from osum.errors import InputError, MissingExtraError
from osum.model import OsumForConditionalGeneration
from osum.training.config import TrainConfig

PARTS: Mapping[str, tuple[str, ...]] = {
    "encoder": ("model.audio_tower.", "model.encoder."),
    "adaptor": ("model.adaptor.", "model.speech_embedding."),
    "llm": ("model.language_model.", "lm_head.", "speech_head."),
    "decoder": ("model.decoder.", "proj_out."),
}
"""Part to the prefixes of its parameters; the rows around the audio belong to the adaptor, as in the release.

An OSUM has no `decoder`; a Whisper has that and the encoder.
"""
FULL = "full"
LORA = "lora"
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj")
"""What the release adapts; `up_proj` is not among it (specification 1.4)."""
NF4 = "nf4"
NOT_QUANTIZED = ("model.audio_tower", "model.adaptor", "lm_head", "speech_head")
"""All linear layers outside the layers of the language model."""


def parts_of(learn: str) -> set[str]:
    """The parts named by `adaptor+encoder+lora` and the like; `full` is all that there are.

    Raises:
        InputError: an unknown part, or the language model both whole and by LoRA.
    """
    parts = set(PARTS) if learn == FULL else set(learn.split("+"))
    if unknown := parts - {*PARTS, LORA}:
        raise InputError(f"learn is {learn!r}: {sorted(unknown)[0]!r} is none of {', '.join(PARTS)}, {LORA}, {FULL}")
    if {"llm", LORA} <= parts:
        raise InputError(f"learn is {learn!r}: the language model learns whole (llm) or by LoRA, not both; leave one")
    return parts


def quantization(config: TrainConfig, source: Path | None) -> dict[str, Any]:
    """What `from_pretrained` is told so that the language model is held in 4 bit (QLoRA); nothing without `quantize`.

    The factors of the blocks are not quantised once more: they would not survive that a checkpoint holds plain weights.

    Raises:
        InputError: a recipe or a device that has no use for it.
        MissingExtraError: without bitsandbytes.
    """
    if not config.quantize:
        return {}
    told = f"quantize is {config.quantize!r}"
    if config.quantize != NF4:
        raise InputError(f"{told}: give {NF4}, or leave it out")
    if LORA not in parts_of(config.learn) or source is None or config.shard:
        raise InputError(
            f"{told} with learn={config.learn} model={config.model} shard={str(config.shard).lower()}: 4 bits hold a "
            "trained language model that learns by LoRA and is whole in each process; leave it out"
        )
    try:
        import bitsandbytes
    except ImportError as fault:
        raise MissingExtraError("bitsandbytes", "qlora") from fault
    device = PartialState().device
    if device.type not in bitsandbytes.supported_torch_devices:
        raise InputError(f"{told}: bitsandbytes {bitsandbytes.__version__} does not run on {device.type}; leave it out")
    options = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=NF4,
        bnb_4bit_compute_dtype=getattr(torch, config.dtype),
        llm_int8_skip_modules=list(NOT_QUANTIZED),
    )
    return {"quantization_config": options, "device_map": {"": device}}


def with_lora(model: OsumForConditionalGeneration, config: TrainConfig, source: Path | None) -> Any:
    """Put LoRA into the language model, in place; returns the `PeftModel` around it.

    An adapter that lies beside the weights in `source` is gone on from.
    """
    try:
        from peft import LoraConfig, PeftModel, get_peft_model
    except ImportError as fault:
        raise MissingExtraError("peft", "train") from fault
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft's, about a name it looks up
        if source is not None and (source / ADAPTER_FOLDER).is_dir():
            return PeftModel.from_pretrained(model, source / ADAPTER_FOLDER, is_trainable=True)
        options = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=rf"model\.language_model\.layers\.\d+\.\w+\.({'|'.join(LORA_TARGETS)})",
        )
        return get_peft_model(model, options)


def choose(model: nn.Module, config: TrainConfig) -> None:
    """Mark what learns; the rest is frozen, its matrices held in the run's arithmetic to save memory.

    Raises:
        InputError: a prefix of `freeze` that no parameter has, or nothing is left to learn.
    """
    parts = parts_of(config.learn)
    prefixes = tuple(prefix for part in parts - {LORA} for prefix in PARTS[part])
    named = dict(model.named_parameters())
    for prefix in config.freeze:
        if not any(name.startswith(prefix) for name in named):
            raise InputError(f"freeze: no parameter begins with {prefix!r}; one that does is {next(iter(named))}")
    for name, parameter in named.items():
        adapted = LORA in parts and ".lora_" in name
        learns = (name.startswith(prefixes) or adapted) and not name.startswith(tuple(config.freeze))
        parameter.requires_grad_(learns)
        if hasattr(parameter, "quant_state"):
            parameter.quant_state.dtype = getattr(torch, config.dtype)  # what it is unpacked to
        elif not learns and parameter.dim() > 1:
            parameter.data = parameter.data.to(getattr(torch, config.dtype))
    if not any(parameter.requires_grad for parameter in named.values()):
        raise InputError(f"learn {config.learn!r} with freeze {list(config.freeze)}: nothing is left to learn")


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
