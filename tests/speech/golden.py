"""The golden values of token2wav and the tiny models that made them (see fixtures/make_token2wav.py)."""

from __future__ import annotations

import gzip
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from osum.speech.campplus import SpeakerConfig, SpeakerEncoder
from osum.speech.conformer import EncoderConfig
from osum.speech.convert import today
from osum.speech.cosyvoice import CosyVoice, CosyVoiceConfig, StreamConfig
from osum.speech.dit import Dit, DitConfig
from osum.speech.ecapa import EcapaConfig
from osum.speech.estimator import EstimatorConfig
from osum.speech.features import MelConfig
from osum.speech.flow import Flow, FlowConfig
from osum.speech.hifigan import HifiGan, HifiGanConfig
from osum.speech.streamfm import StreamFm, StreamFmConfig
from osum.speech.tokens import SpeechTokenizer, TokenizerConfig
from osum.speech.vocoder import Vocoder, VocoderConfig
from osum.speech.voice import Voice

FIXTURES = Path(__file__).parents[1] / "fixtures" / "token2wav"
TOKENIZER = TokenizerConfig(width=32, num_heads=2, num_layers=2, max_positions=64, num_codes=96)
SPEAKER = SpeakerConfig(growth=3, bottleneck=2, channels=8)
FLOW = FlowConfig(
    num_codes=257,
    code_width=32,
    encoder=EncoderConfig(width=48, num_heads=4, feed_forward=64, num_layers=2),
    estimator=EstimatorConfig(channels=(16, 16), num_heads=3, head_size=8, num_blocks=2, num_mid_blocks=2),
)
VOCODER = VocoderConfig(channels=32, f0_channels=24)
DIT = DitConfig(32, 7, 2, 16, 64, 24, 321, ecapa=EcapaConfig(channels=16, squeeze_channels=10, attention_channels=12))
HIFIGAN = HifiGanConfig(channels=16)
STREAMFM = StreamFmConfig("tiny", num_codes=320, dit=DIT, vocoder=HIFIGAN, speaker=SPEAKER)
COSYVOICE = CosyVoiceConfig("tiny", flow=FLOW, vocoder=VOCODER, speaker=SPEAKER, tokenizer=TOKENIZER)


@cache
def arrays(name: str) -> dict[str, Tensor]:
    """The golden arrays of one file, floats in float32."""
    with np.load(FIXTURES / f"{name}.npz") as file:
        tensors = {key: torch.from_numpy(value) for key, value in file.items()}
    return {key: value.float() if value.dtype == torch.float16 else value for key, value in tensors.items()}


def weights(name: str) -> dict[str, Tensor]:
    """A tiny state dict under the released names."""
    return load_file(FIXTURES / f"{name}_tiny.safetensors")


def loaded(model: nn.Module, name: str) -> nn.Module:
    """The model with the tiny weights, every one of them used."""
    model.load_state_dict(weights(name))
    return model.eval().requires_grad_(False)


@cache
def tokenizer() -> SpeechTokenizer:
    return loaded(SpeechTokenizer(TOKENIZER), "s3tok")


@cache
def speaker() -> SpeakerEncoder:
    return loaded(SpeakerEncoder(SPEAKER), "campplus")


@cache
def flow() -> Flow:
    return loaded(Flow(FLOW, MelConfig()), "flow")


@cache
def vocoder() -> Vocoder:
    return loaded(Vocoder(VOCODER, MelConfig()), "hift")


@cache
def dit() -> Dit:
    model = Dit(DIT)
    model.load_state_dict({name.removeprefix("transformer."): value for name, value in weights("streamfm").items()})
    return model.eval().requires_grad_(False)


@cache
def hifigan() -> HifiGan:
    model = HifiGan(80, HIFIGAN)
    model.load_state_dict({today(name): value for name, value in weights("hifigan").items()})
    return model.eval().requires_grad_(False)


def streamfm(padded_end_quirk: bool = False) -> StreamFm:
    """The tiny DiT and HiFi-GAN as one model."""
    model = StreamFm(STREAMFM, padded_end_quirk)
    model.transformer, model.vocoder = dit(), hifigan()
    return model.eval().requires_grad_(False)


def cosyvoice(streaming: StreamConfig | None = None) -> CosyVoice:
    """The tiny flow and vocoder as one model."""
    model = CosyVoice(replace(COSYVOICE, streaming=streaming or StreamConfig()))
    model.flow, model.vocoder = flow(), vocoder()
    return model.eval().requires_grad_(False)


def voice() -> Voice:
    """The prompt of the streaming values."""
    golden = arrays("stream")
    return Voice("tiny", golden["prompt_token"][0], golden["prompt_feat"][0].T, golden["embedding"][0])


def codes() -> list[int]:
    """The 135 codes of the streaming values."""
    return arrays("stream")["token"][0].tolist()


def full_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Every key and shape of a released file."""
    rows = [
        line.split("\t") for line in gzip.decompress((FIXTURES / "full_keys.tsv.gz").read_bytes()).decode().split("\n")
    ]
    return {
        key: tuple(int(size) for size in shape.strip("()").split(",") if size)
        for file, key, shape in rows
        if file == name
    }


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Every key and shape of a model; the counters of BatchNorm are not released."""
    return {key: tuple(value.shape) for key, value in model.state_dict().items() if "num_batches" not in key}


def far(found: Tensor, wanted: Tensor) -> float:
    """The largest absolute difference of two tensors of one shape."""
    assert found.shape == wanted.shape
    return (found.detach().double() - wanted.double()).abs().max().item()


def start_phases(drawn: Tensor) -> Tensor:
    """Stored phases (1, K, 1) as the source takes them, (1, K): the fundamental starts at 0."""
    phases = drawn[..., 0].clone()
    phases[:, 0] = 0
    return phases


def sine_noise(num_samples: int) -> Tensor:
    """The stored noise of the source, (1, 9, S)."""
    return torch.from_numpy(np.resize(arrays("hift")["noise_table"].numpy(), (1, 9, num_samples)))
