"""Tiny random state dicts under the originals' names, in every style that the originals were saved in."""

import json
from pathlib import Path

import torch
from model.tiny import tiny_config
from torch import Tensor

from osum.checkpoints.convert.convert import expected_shapes
from osum.checkpoints.convert.names import EMBEDDING, LM_HEAD, to_theirs

HEADS = {"encoder_heads": 2, "llm_heads": 4, "llm_kv_heads": 2, "answer_end_token_id": 258}
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj")
RANK = 2


def random_original(release: str, lora: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """A whole state dict: position tables, unused keys and second names included; bf16 LLM, float32 rest."""
    generator = torch.Generator().manual_seed(seed)
    config = tiny_config("prompt_first" if release == "osum" else "chatml")
    state: dict[str, Tensor] = {}
    for name, shape in expected_shapes(config).items():
        value = torch.randn(shape, generator=generator) * 0.1
        state[to_theirs(name)] = value.bfloat16() if name.startswith(("model.language", "lm_head")) else value
    state = {key: value[None] if key.endswith(".pe") else value for key, value in state.items()}
    state |= {"ln_speech.weight": torch.ones(16), "ln_speech.bias": torch.zeros(16)}
    if release == "osum":
        state |= {"speaker_head.weight": torch.randn(7, 32, generator=generator), "speaker_head.bias": torch.zeros(7)}
    state.setdefault(to_theirs(LM_HEAD), state[to_theirs(EMBEDDING)])
    state |= {"embed_tokens.weight": state[to_theirs(EMBEDDING)], "lm_head.weight": state[to_theirs(LM_HEAD)]}
    return with_lora(state, generator) if lora else state


def with_lora(state: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """The same under PEFT's names, with float32 adapters of rank 2."""
    wrapped: dict[str, Tensor] = {}
    for key, value in state.items():
        head, dot, last = key.rpartition(".")
        adapted = key.startswith("llama_model.model.layers.") and head.endswith(ADAPTED)
        head = head.replace("llama_model.", "llama_model.base_model.model.")
        wrapped[f"{head}.base_layer.{last}" if adapted else f"{head}{dot}{last}"] = value
        if adapted and last == "weight":
            out_features, in_features = value.shape
            wrapped[f"{head}.lora_A.default.weight"] = torch.randn(RANK, in_features, generator=generator)
            wrapped[f"{head}.lora_B.default.weight"] = torch.randn(out_features, RANK, generator=generator)
    return wrapped


def write_original(folder: Path, state: dict[str, object], notes: dict[str, object] | None = None) -> Path:
    """`infer.pt`, with `infer.json` next to it where there are notes."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "infer.pt")
    if notes is not None:
        (folder / "infer.json").write_text(json.dumps(notes))
    return folder / "infer.pt"


def full_size_keys(release: str) -> dict[str, tuple[int, ...]]:
    """Every key and shape of a release at full size."""
    file = Path(__file__).parents[1] / "fixtures" / f"{release}_full_keys.tsv"
    shapes: dict[str, tuple[int, ...]] = {}
    for line in file.read_text().splitlines():
        pattern, count, shape = line.split("\t")
        for layer in range(int(count)):
            shapes[pattern.replace("*", str(layer))] = tuple(map(int, shape.split()))
    return shapes
