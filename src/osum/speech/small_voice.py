"""SmallVoice: a causal flow and a small vocoder as one `Token2Wav`, whose sound in pieces is that of the whole.

1. A window of codes is as long as its frames look back; noise is that of its place in the stream.
2. Frames whose look-ahead has come are final: they go to the vocoder, which continues its source.
3. What is too long ago for any frame to come is forgotten.

Shapes: S samples, M mel bins, F mel frames, K harmonics with the fundamental.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from osum.speech.causal_flow import CausalFlow, CausalFlowConfig
from osum.speech.cosyvoice import FLOW_NOISE, SOURCE_NOISE, START_PHASES
from osum.speech.features import MelConfig
from osum.speech.noise import Noise, generator
from osum.speech.synthesizer import check_any, check_codes
from osum.speech.vocoder import Vocoder, VocoderConfig
from osum.speech.vocoder_stream import VocoderState, VocoderStream
from osum.speech.voice import Voice, check_voice

MEL = MelConfig(sampling_rate=16_000, fft_size=1024, window=640, hop_length=160)
VOCODER = VocoderConfig(
    channels=192,
    upsample_rates=(8, 5),
    upsample_kernels=(16, 11),
    kernels=(3, 7),
    dilations=(1, 3),
    source_kernels=(7, 7),
    f0_channels=128,
)


@dataclass(frozen=True)
class SmallVoiceConfig:
    """Sizes of all parts; about 5 million parameters by default."""

    name: str = "osum-small-voice"
    """What its voices are made for."""
    mel: MelConfig = field(default_factory=lambda: MEL)
    flow: CausalFlowConfig = field(default_factory=CausalFlowConfig)
    vocoder: VocoderConfig = field(default_factory=lambda: VOCODER)


@dataclass(frozen=True)
class SmallVoiceState:
    """Where a stream stands."""

    voice: Voice
    seed: int
    vocoder: VocoderState
    codes: tuple[int, ...] = ()
    """Spoken ones that are still looked back at, then those that wait."""
    num_history: int = 0
    num_gone: int = 0
    """Codes before `codes`."""


class SmallVoice(nn.Module):
    """Causal flow and vocoder."""

    def __init__(self, config: SmallVoiceConfig) -> None:
        super().__init__()
        self.config = config
        self.flow = CausalFlow(config.flow, config.mel)
        self.vocoder = Vocoder(config.vocoder, config.mel)

    @property
    def name(self) -> str:
        """What voices are made for."""
        return self.config.name

    @property
    def num_codes(self) -> int:
        """Codes are 0 to `num_codes - 1`."""
        return self.config.flow.num_codes

    @property
    def sampling_rate(self) -> int:
        """Hz of the waveform."""
        return self.config.mel.sampling_rate

    @torch.inference_mode()
    def synthesize(self, codes: Sequence[int], voice: Voice, seed: int = 0) -> Tensor:
        """The samples (S,) of all codes at once."""
        check_any(len(codes))
        _, mel = self.feed_mel(self.start(voice, seed), codes, last=True)
        beginning = torch.zeros(1, dtype=torch.float64, device=mel.device)
        noise = self._sample_noise(seed)(0, mel.shape[-1] * self.config.mel.hop_length).to(mel)
        source, _ = self.vocoder.m_source(self.vocoder.f0(mel), self._phases(seed).to(mel), noise, beginning)
        return self.vocoder.decode(mel, source)[0]

    def start(self, voice: Voice, seed: int = 0) -> SmallVoiceState:
        """A stream before its first code.

        Raises:
            CheckpointError: the voice is of another model.
        """
        check_voice(voice, self.name, self.num_codes, self.config.mel.num_bins, self.config.flow.speaker_size)
        voice = voice.to(self.flow.embedding.weight.device)
        state = VocoderStream(self.vocoder).start(self.config.mel.num_bins, voice.mel.device)
        return SmallVoiceState(voice, seed, state)

    @torch.inference_mode()
    def feed(self, state: SmallVoiceState, codes: Sequence[int], last: bool = False) -> tuple[SmallVoiceState, Tensor]:
        """More codes in, the samples (S,) that are certain by then out; with `last` all that are left.

        Raises:
            InputError: a code that the model does not have, or a stream that ends without any.
        """
        state, mel = self.feed_mel(state, codes, last)
        if not (mel.shape[-1] or last):
            return state, mel.new_zeros(0)
        phases, noise = self._phases(state.seed).to(mel), self._sample_noise(state.seed)
        vocoder, wave = VocoderStream(self.vocoder).feed(state.vocoder, mel, phases, noise, last)
        return replace(state, vocoder=vocoder), wave[0]

    @torch.inference_mode()
    def feed_mel(
        self, state: SmallVoiceState, codes: Sequence[int], last: bool = False
    ) -> tuple[SmallVoiceState, Tensor]:
        """More codes in, the mel frames (1, M, F) that are certain by then out: `feed` without its vocoder."""
        check_codes(codes, self.num_codes)
        held = (*state.codes, *codes)
        if last:
            check_any(state.num_gone + len(held))
        spoken = len(held) if last else max(len(held) - self.config.flow.look_ahead, state.num_history)
        rate = self.flow.frames_per_code
        mel = state.voice.mel.new_zeros(1, self.config.mel.num_bins, 0)
        if spoken > state.num_history:
            noise = Noise(state.seed, FLOW_NOISE, self.config.mel.num_bins)
            begin, stop = (rate * (state.num_gone + count) for count in (0, len(held)))
            given = torch.tensor([held], device=mel.device)
            whole = self.flow.mel_of(given, state.voice.embedding[None], noise(begin, stop).to(mel))
            mel = whole[..., rate * state.num_history : rate * spoken]
        gone = max(spoken - self.flow.history, 0)
        kept = replace(state, codes=held[gone:], num_history=spoken - gone, num_gone=state.num_gone + gone)
        return kept, mel

    def _sample_noise(self, seed: int) -> Noise:
        return Noise(seed, SOURCE_NOISE, self.config.vocoder.num_harmonics + 1)

    def _phases(self, seed: int) -> Tensor:
        """Where the harmonics start, (1, K) uniform in (-pi, pi); the fundamental at 0."""
        drawn = generator(seed, START_PHASES).uniform(-math.pi, math.pi, (1, self.config.vocoder.num_harmonics + 1))
        drawn[:, 0] = 0
        return torch.from_numpy(drawn).float()
