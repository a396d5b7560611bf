"""The released CosyVoice-300M-25Hz, or the real-time baseline, to the folder of a speech model.

Keys and shapes are held to the sizes one by one; nothing is left out, added or guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from osum.checkpoints.convert.source import read_state_dict
from osum.checkpoints.folder import new_folder
from osum.errors import ConversionError
from osum.speech.campplus import SpeakerEncoder
from osum.speech.checkpoint import CONFIG_FILE, Config, misfit, read_config, weights_file, write_config
from osum.speech.cosyvoice import CosyVoiceConfig
from osum.speech.dit import Dit
from osum.speech.flow import Flow
from osum.speech.hifigan import HifiGan
from osum.speech.onnx_weights import speaker_state, tokenizer_state
from osum.speech.streamfm import StreamFmConfig
from osum.speech.tokens import SpeechTokenizer
from osum.speech.vocoder import Vocoder

WRAPPERS = ("module", "ema_model_state_dict", "generator")
"""Keys under which a training checkpoint keeps its state dict."""
_WRAPPED = re.compile(r"^(generator\.|ema_model\.|transformer\.)+")
_UNUSED = re.compile(r"num_batches_tracked$|^initted$|^step$|\.conv_pos_embed\.")
"""Counters, and a module of the DiT that the release never applies."""
RELEASE_CONFIG = "cosyvoice.yaml"
GET = "fetch it again, from FunAudioLLM/CosyVoice-300M-25Hz or where you had it from"
_OLD_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


@dataclass(frozen=True)
class NetworkPart:
    """One network of a release."""

    name: str
    files: tuple[str, ...]
    """Patterns of names under which it is found; the first that is there is taken."""
    build: Callable[[Any], nn.Module]
    """From the sizes of the whole."""


SPEAKER = NetworkPart(
    "speaker",
    ("campplus.onnx", "campplus.pt", "campplus.bin", "campplus.safetensors"),
    lambda config: SpeakerEncoder(config.speaker),
)
COSYVOICE = (
    NetworkPart("flow", ("flow.pt", "flow.safetensors"), lambda config: Flow(config.flow, config.mel)),
    NetworkPart("vocoder", ("hift.pt", "hift.safetensors"), lambda config: Vocoder(config.vocoder, config.mel)),
    NetworkPart(
        "tokenizer",
        ("speech_tokenizer_v1.onnx", "speech_tokenizer_v1.pt", "speech_tokenizer_v1.safetensors"),
        lambda config: SpeechTokenizer(config.tokenizer),
    ),
    SPEAKER,
)
STREAMFM = (
    NetworkPart("flow", ("fm_model_*.pt", "fm_model_*.safetensors"), lambda config: Dit(config.dit)),
    NetworkPart("vocoder", ("hifigan_g_*",), lambda config: HifiGan(config.dit.num_bins, config.vocoder)),
    SPEAKER,
)


@dataclass(frozen=True)
class SpeechConversionReport:
    """What a conversion made."""

    name: str
    folder: Path
    num_parameters: dict[str, int]
    """By part."""
    files: dict[str, str]
    """By part, the file it came from."""

    def __str__(self) -> str:
        """A few lines for a terminal."""
        lines = [f"{self.name}: {sum(self.num_parameters.values()) / 1e6:,.1f} M parameters, {self.folder}"]
        lines += [f"{part}: {self.files[part]}, {count / 1e6:,.1f} M" for part, count in self.num_parameters.items()]
        return "\n".join(lines)


def is_speech_release(source: Path) -> bool:
    """Whether a path is the folder of a CosyVoice or of the real-time baseline, whole or not."""
    return source.is_dir() and any(_first(source, part) for part in (*COSYVOICE, *STREAMFM))


def convert_speech(source: Path, out: Path, overwrite: bool = False) -> SpeechConversionReport:
    """Convert one released folder.

    Args:
        source: the folder with flow.pt, hift.pt, campplus and speech_tokenizer_v1, the last two as ONNX or in torch
            form; or with fm_model_*.pt, hifigan_g_* and campplus. Other sizes than the release's stand in a
            `config.json` there, as `osum convert` writes it.
        out: new folder.
        overwrite: replace `out`.

    Raises:
        ConversionError: a file is missing or does not fit, the release is of 50 codes a second, or `out` exists.
        MissingExtraError: an ONNX file is there, and onnx is not.
    """
    parts, config = _kind(source)
    found = {part.name: _find(source, part) for part in parts}
    if isinstance(config, CosyVoiceConfig):
        _check_rate(source, config, found["tokenizer"])
    counts = {}
    with new_folder(out, overwrite) as folder:
        for part in parts:
            module = part.build(config)
            state = _state(found[part.name], module)
            if complaint := misfit(state, module):
                raise ConversionError(f"{found[part.name]}: {complaint}; it is no {part.name} of {config.name}: {GET}")
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / weights_file(part.name))
            counts[part.name] = sum(tensor.numel() for tensor in state.values())
        write_config(config, folder)
    return SpeechConversionReport(config.name, out, counts, {name: path.name for name, path in found.items()})


def _kind(source: Path) -> tuple[tuple[NetworkPart, ...], Config]:
    """What a release consists of, and its sizes."""
    is_baseline = any(_first(source, part) for part in STREAMFM[:2])
    given = read_config(source) if (source / CONFIG_FILE).is_file() else None
    if is_baseline:
        return STREAMFM, given or StreamFmConfig()
    return COSYVOICE, given or CosyVoiceConfig()


def _first(source: Path, part: NetworkPart) -> Path | None:
    return next((path for pattern in part.files for path in sorted(source.glob(pattern)) if path.is_file()), None)


def _find(source: Path, part: NetworkPart) -> Path:
    path = _first(source, part)
    if path is None:
        raise ConversionError(f"{source} has no {' or '.join(part.files)}, the {part.name} of the release: {GET}")
    return path


def _check_rate(source: Path, config: CosyVoiceConfig, tokenizer: Path) -> None:
    """The two kinds of release have equal shapes: their tokenizers differ in stride, else in the notes."""
    rate = config.flow.code_rate
    if tokenizer.suffix == ".onnx":
        stride = tokenizer_state(tokenizer)[1]
        found = rate if stride == config.tokenizer.strides[0] else 2 * rate // stride
    else:
        notes = source / RELEASE_CONFIG
        said = re.search(r"input_frame_rate:\s*(\d+)", notes.read_text(encoding="utf-8")) if notes.is_file() else None
        found = int(said[1]) if said else rate
    if found != rate:
        raise ConversionError(
            f"{source} is of the kind with {found} codes a second, osum speaks {rate}: take CosyVoice-300M-25Hz"
        )


def _state(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """A part's tensors under our names, which are the release's of today."""
    if path.suffix == ".onnx":
        return speaker_state(path, module) if isinstance(module, SpeakerEncoder) else tokenizer_state(path)[0]
    state = {today(name): tensor for name, tensor in read_state_dict(path, WRAPPERS).items()}
    return {name: tensor for name, tensor in state.items() if not _UNUSED.search(name)}


def today(name: str) -> str:
    """Without the wrappers of a training checkpoint; weight norm as torch names it since 2.0."""
    stem, _, last = _WRAPPED.sub("", name).rpartition(".")
    return ".".join(filter(None, (stem, _OLD_NORM.get(last, last))))
