"""The folder of a speech model: its sizes in `config.json`, one safetensors file for each part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from osum.errors import CheckpointError
from osum.speech.cosyvoice import CosyVoice, CosyVoiceConfig
from osum.speech.vocoder import fold_weight_norms
from osum.speech.voice_encoder import VoiceEncoder

CONFIG_FILE = "config.json"
MODEL_TYPE = "osum_speech"
Config = TypeVar("Config")
Part = TypeVar("Part", bound=nn.Module)


def weights_file(part: str) -> str:
    """The file of one part: flow, vocoder, tokenizer, speaker."""
    return f"{part}.safetensors"


def load_synthesizer(folder: str | Path, device: str = "cpu") -> CosyVoice:
    """The speaking half of a speech model's folder, ready for use.

    Raises:
        CheckpointError: not the folder of a speech model, or weights that do not fit.
    """
    model = CosyVoice(read_config(folder))
    load_part(model.flow, folder, "flow")
    load_part(model.vocoder, folder, "vocoder")
    fold_weight_norms(model.vocoder)
    return _ready(model, device)


def load_voice_encoder(folder: str | Path, device: str = "cpu") -> VoiceEncoder:
    """The listening half of a speech model's folder, ready for use.

    Raises:
        CheckpointError: not the folder of a speech model, or weights that do not fit.
    """
    encoder = VoiceEncoder(read_config(folder))
    load_part(encoder.tokenizer, folder, "tokenizer")
    load_part(encoder.speaker, folder, "speaker")
    return _ready(encoder, device)


def _ready(module: Part, device: str) -> Part:
    return module.to(device).eval().requires_grad_(False)


def load_part(module: nn.Module, folder: str | Path, part: str) -> None:
    """Fill one part from its file, every tensor used.

    Raises:
        CheckpointError: the file is missing, damaged, or of other keys or shapes.
    """
    path = Path(folder) / weights_file(part)
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as fault:
        raise CheckpointError(f"{path}: cannot be read ({fault}); convert the release again") from fault
    if complaint := misfit(state, module):
        raise CheckpointError(f"{path}: {complaint}; convert the release again")
    module.load_state_dict(state)


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a part's file holds; BatchNorm's counters are not among them."""
    state = module.state_dict()
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith("num_batches_tracked")}


def misfit(state: Mapping[str, Tensor], module: nn.Module) -> str:
    """What of a state dict does not fit to a module, in one line; empty where all fits."""
    wanted, held = shapes_of(module), {name: tuple(value.shape) for name, value in state.items()}
    missing, unexpected = sorted(wanted.keys() - held.keys()), sorted(held.keys() - wanted.keys())
    other = [
        f"{name} {held[name]} instead of {wanted[name]}"
        for name in wanted
        if held.get(name, wanted[name]) != wanted[name]
    ]
    complaints = {"missing": missing, "unexpected": unexpected, "of another shape": other}
    return "; ".join(f"{len(names)} tensors {what} ({names[0]})" for what, names in complaints.items() if names)


def write_config(config: CosyVoiceConfig, folder: Path) -> None:
    """Write `config.json`."""
    text = json.dumps({"model_type": MODEL_TYPE, **asdict(config)}, ensure_ascii=False, indent=1)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def read_config(folder: str | Path) -> CosyVoiceConfig:
    """Read `config.json`.

    Raises:
        CheckpointError: there is none, or it is another model's.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder}: no {CONFIG_FILE} in it, so it is no speech model; see osum convert --help")
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise CheckpointError(f"{path}: is no JSON ({fault}); convert the release again") from fault
    if not isinstance(row, dict) or row.pop("model_type", None) != MODEL_TYPE:
        raise CheckpointError(f"{path}: is not of a speech model; give the folder that osum convert made of CosyVoice")
    return _built(CosyVoiceConfig, row, str(path))


def _built(kind: type[Config], row: Any, place: str) -> Config:
    """A dataclass from its row: nested ones too, lists to tuples, fields that are left out at their defaults."""
    hints = get_type_hints(kind)
    if not isinstance(row, dict) or not row.keys() <= hints.keys():
        wrong = sorted(row.keys() - hints.keys())[:1] if isinstance(row, dict) else row
        raise CheckpointError(f"{place}: {wrong} is no field of {kind.__name__}; fields: {', '.join(hints)}")
    values = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in row:
            hint, value = hints[field.name], row[field.name]
            nested = isinstance(hint, type) and is_dataclass(hint)
            values[field.name] = _built(hint, value, place) if nested else _frozen(value)
    return kind(**values)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
