"""The folder of a speech model: its sizes in `config.json`, one safetensors file for each part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from osum.errors import CheckpointError
from osum.records import RecordError, from_row, to_row
from osum.speech.cosyvoice import CosyVoice, CosyVoiceConfig
from osum.speech.reader import Reader
from osum.speech.small_voice import SmallVoice, SmallVoiceConfig
from osum.speech.streamfm import StreamFm, StreamFmConfig
from osum.speech.vocoder import fold_weight_norms
from osum.speech.voice_encoder import PromptEncoder, VoiceEncoder

CONFIG_FILE = "config.json"
Config: TypeAlias = CosyVoiceConfig | StreamFmConfig | SmallVoiceConfig
CONFIGS: dict[str, type[CosyVoiceConfig] | type[StreamFmConfig] | type[SmallVoiceConfig]] = {
    "osum_cosyvoice": CosyVoiceConfig,
    "osum_streamfm": StreamFmConfig,
    "osum_small_voice": SmallVoiceConfig,
}
"""By `model_type` of `config.json`."""
Part = TypeVar("Part", bound=nn.Module)


def weights_file(part: str) -> str:
    """The file of one part: flow, decoder, vocoder, reader, tokenizer, speaker."""
    return f"{part}.safetensors"


def load_synthesizer(folder: str | Path, device: str = "cpu") -> CosyVoice | StreamFm | SmallVoice:
    """The speaking half of a speech model's folder, ready for use.

    Raises:
        CheckpointError: not the folder of a speech model, or weights that do not fit.
    """
    config = read_config(folder)
    if isinstance(config, StreamFmConfig):
        baseline = StreamFm(config)
        load_part(baseline.transformer, folder, "flow")
        load_part(baseline.vocoder, folder, "vocoder")
        fold_weight_norms(baseline.vocoder)
        return _ready(baseline, device)
    if isinstance(config, SmallVoiceConfig):
        small = SmallVoice(config)
        load_part(small.decoder, folder, "decoder")
        load_part(small.vocoder, folder, "vocoder")
        return _ready(small, device)
    model = CosyVoice(config)
    load_part(model.flow, folder, "flow")
    load_part(model.vocoder, folder, "vocoder")
    fold_weight_norms(model.vocoder)
    return _ready(model, device)


def load_reader(folder: str | Path, device: str = "cpu") -> Reader:
    """The speech head of a small voice's folder, which reads texts.

    Raises:
        CheckpointError: another model's folder, or one without a speech head.
    """
    config = read_config(folder)
    if not isinstance(config, SmallVoiceConfig) or not (Path(folder) / weights_file("reader")).is_file():
        raise CheckpointError(
            f"{folder} holds no speech head that reads texts ({weights_file('reader')}): train one with recipes/voice, "
            "or take a model that says its replies in speech codes"
        )
    reader = Reader(config.reader)
    load_part(reader, folder, "reader")
    return _ready(reader, device)


def load_voice_encoder(folder: str | Path, device: str = "cpu") -> VoiceEncoder | PromptEncoder:
    """The listening half of a speech model's folder, ready for use.

    Raises:
        CheckpointError: not the folder of a speech model, or weights that do not fit.
    """
    config = read_config(folder)
    if isinstance(config, StreamFmConfig):
        prompts = PromptEncoder(config)
        load_part(prompts.speaker, folder, "speaker")
        return _ready(prompts, device)
    if isinstance(config, SmallVoiceConfig):
        raise CheckpointError(
            f"{folder}: {config.name} speaks and does not listen; take its codes from what it learned"
        )
    encoder = VoiceEncoder(config)
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


def write_config(config: Config, folder: Path) -> None:
    """Write `config.json`."""
    kind = next(name for name, made in CONFIGS.items() if isinstance(config, made))
    text = json.dumps({"model_type": kind, **to_row(config)}, ensure_ascii=False, indent=1)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def read_config(folder: str | Path) -> Config:
    """Read `config.json`; a size that it leaves out is the release's.

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
    kind = CONFIGS.get(row.pop("model_type", "")) if isinstance(row, dict) else None
    if kind is None:
        raise CheckpointError(f"{path}: is not of a speech model; give the folder that osum convert made of CosyVoice")
    try:
        return from_row(kind, row)
    except RecordError as fault:
        raise CheckpointError(f"{path}: {fault}; convert the release again") from fault
