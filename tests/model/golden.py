"""The golden values of the originals and the tiny state dicts that made them (see fixtures/make_golden.py)."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from osum.checkpoints.convert.names import POSITION_TABLES, to_ours
from osum.model import OsumConfig, OsumForConditionalGeneration, OsumModel
from osum.model.encoder import interleaved_sinusoids, whisper_sinusoids

FIXTURES = Path(__file__).parents[1] / "fixtures"
ECHAT_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "tie_word_embeddings": True,
}


def arrays(release: str) -> dict[str, NDArray[np.generic]]:
    """The golden arrays by name."""
    with np.load(FIXTURES / f"{release}_golden.npz") as file:
        return dict(file)


def tensors(release: str) -> dict[str, Tensor]:
    """The golden arrays as tensors."""
    return {name: torch.from_numpy(array) for name, array in arrays(release).items() if array.dtype.kind in "fib"}


def osum_meta() -> dict[str, object]:
    """Sizes, prompts and labels of the tiny OSUM."""
    return json.loads((FIXTURES / "osum_tiny.json").read_text())


def osum_state() -> dict[str, Tensor]:
    """The tiny OSUM as the original saves it: position tables and second names of two tensors included."""
    state = load_file(FIXTURES / "osum_tiny.safetensors")
    state["encoder.embed.pos_enc.pe"] = whisper_sinusoids(1500, 32)[None]
    state["speech_transformer.embed.pos_enc.pe"] = interleaved_sinusoids(5000, 32)[None]
    state["embed_tokens.weight"] = state["llama_model.base_model.model.model.embed_tokens.weight"]
    state["lm_head.weight"] = state["llama_model.base_model.model.lm_head.weight"]
    return state


def write_osum(folder: Path) -> Path:
    """`tiny.pt` and the notes next to it, as the converter takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(osum_state(), folder / "tiny.pt")
    (folder / "tiny.json").write_text(json.dumps(osum_meta()))
    return folder / "tiny.pt"


def echat_config(adaptor_units: int, vocab_size: int) -> OsumConfig:
    """The tiny EChat's sizes."""
    return OsumConfig(
        audio_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_source_positions": 30_000,
        },
        adaptor_config={"intermediate_size": adaptor_units},
        text_config={**ECHAT_SIZES, "vocab_size": vocab_size},
        layout="chatml",
        speech_output=True,
        tie_word_embeddings=True,
    )


def echat_tower(state: dict[str, Tensor]) -> OsumModel:
    """Encoder and adaptor of the tiny EChat."""
    units = len(state["speech_transformer.encoders.0.feed_forward.w_1.bias"])
    model = OsumModel(echat_config(units, vocab_size=8)).eval()
    ours = {name.removeprefix("model."): value for key, value in state.items() if (name := to_ours(key))}
    held = {name: value for name, value in ours.items() if name.startswith(("audio_tower.", "adaptor."))}
    missing = {name for name in model.load_state_dict(held, strict=False).missing_keys if "language_model" not in name}
    assert missing == {"speech_embedding.weight", *(name.removeprefix("model.") for name in POSITION_TABLES)}
    return model


def echat_model() -> OsumForConditionalGeneration:
    """The tiny EChat; rows of its tables that no golden value needs are zero."""
    state = load_file(FIXTURES / "echat_tiny.safetensors")
    units = len(state["speech_transformer.encoders.0.feed_forward.w_1.bias"])
    model = OsumForConditionalGeneration(echat_config(units, vocab_size=151_936)).eval()
    rows, ids = state.pop("embed_rows"), state.pop("embed_row_ids")
    missing = model.load_state_dict({name: v for key, v in state.items() if (name := to_ours(key))}, strict=False)
    assert not missing.unexpected_keys
    with torch.no_grad():
        model.model.language_model.embed_tokens.weight.zero_()[ids] = rows
    return model
