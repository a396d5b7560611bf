"""The release's LoRA: folded into the weights, or kept as a stock PEFT adapter (specification 1.4)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from osum.checkpoints.convert.names import KeyPlan, shorten
from osum.errors import ConversionError

DEFAULT_ALPHA = 32.0
DEFAULT_DROPOUT = 0.1
_MODULE = re.compile(r"(model\.language_model\.layers)\.(\d+)\.(\w+)\.(\w+)\.weight")


def merge(base: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """W + scale * B @ A in float32, in W's dtype; (out, in), (r, in), (out, r) to (out, in)."""
    return base.float().addmm_(up.float(), down.float(), alpha=scale).to(base.dtype)


def rank_of(plan: KeyPlan, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The one rank of all adapters.

    Raises:
        ConversionError: ranks differ, an adapter does not fit its weight, or layers are not adapted alike.
    """
    wrong = []
    for name, pair in plan.lora.items():
        down, up = shapes[pair["A"]], shapes[pair["B"]]
        base = shapes.get(plan.weights.get(name, ""))
        if base != (up[0], down[-1]) or down[0] != up[-1]:
            wrong.append(f"{pair['A']} {down} with {pair['B']} {up} on {base}")
    ranks = {shapes[pair["A"]][0] for pair in plan.lora.values()}
    if wrong or len(ranks) > 1:
        raise ConversionError(f"LoRA of ranks {sorted(ranks)} does not fit: {shorten(wrong) or 'one rank is needed'}")
    return ranks.pop()


def target_modules(plan: KeyPlan) -> str:
    """A regular expression that hits the adapted projections of the language model and nothing of the encoder.

    Raises:
        ConversionError: an adapter outside the language model's layers, or layers adapted differently.
    """
    found = {name: _MODULE.fullmatch(name) for name in plan.lora}
    layers = {match.group(2) for name in plan.weights if (match := _MODULE.fullmatch(name))}
    blocks = sorted({match.group(3) for match in found.values() if match})
    modules = sorted({match.group(4) for match in found.values() if match})
    odd = [name for name, match in found.items() if not match]
    if odd or len(plan.lora) != len(layers) * len(modules):
        raise ConversionError(
            f"LoRA on {shorten(odd) or 'some layers alone'}: a release adapts the same projections of every layer of "
            "the language model; convert with --merge-lora"
        )
    return rf"model\.language_model\.layers\.\d+\.({'|'.join(blocks)})\.({'|'.join(modules)})"


def adapter_name(name: str, side: str) -> str:
    """PEFT's name of one side (`A`, `B`) of the adapter on our weight `name`."""
    return f"base_model.model.{name.removesuffix('.weight')}.lora_{side}.weight"


def write_adapter(folder: Path, tensors: Mapping[str, Tensor], fields: Mapping[str, object]) -> None:
    """`adapter_model.safetensors` and `adapter_config.json` as `PeftModel.from_pretrained` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none", "inference_mode": True, **fields}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
