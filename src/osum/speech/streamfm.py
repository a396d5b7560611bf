"""The real-time baseline speaks: a DiT flow over windows of codes and a HiFi-GAN, as one `Token2Wav`.

1. A window holds codes that were spoken, a chunk to be spoken, and codes to come; the transformer sees no further.
2. Its mel becomes a waveform; of that the chunk's part is spoken, its beginning faded in over what the window before
   had made of it.
3. Noise is that of a frame's place, so that windows agree.

Example, the release's sizes: the first 0.48 s of sound after 18 codes (0.72 s), then 0.48 s after every 12 more.
Source: specification of token2wav 12.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from osum.audio import SAMPLE_RATE
from osum.speech.campplus import SpeakerConfig
from osum.speech.dit import Dit, DitConfig
from osum.speech.features import MelConfig
from osum.speech.hifigan import HifiGan, HifiGanConfig
from osum.speech.noise import Noise
from osum.speech.synthesizer import check_any, check_codes
from osum.speech.voice import Voice, check_voice

PAST_CODE = 0
"""What stands before the first code. It is a code like others; the release knows no better one."""
END_CODE = 288
"""What fills a last window."""
FrameNoise = Callable[[int, int], Tensor]
"""Columns [start, stop) of the flow's noise, (1, M, stop - start)."""


@dataclass(frozen=True)
class StreamFmConfig:
    """Sizes of the model, and its windows in codes."""

    name: str = "streamfm-24khz"
    """What its voices are made for."""
    num_codes: int = 4096
    past: int = 18
    chunk: int = 12
    future: int = 6
    fade: int = 1000
    """Samples over which chunks are joined."""
    peak: float = 0.98
    """Largest sample of the waveform."""
    mel: MelConfig = field(default_factory=lambda: MelConfig(SAMPLE_RATE, window=640, hop_length=160, power_floor=1e-6))
    """Of the prompt, at the rate of features; the vocoder writes another."""
    dit: DitConfig = field(default_factory=DitConfig)
    vocoder: HifiGanConfig = field(default_factory=HifiGanConfig)
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)
    prompt_frames: int = 300
    """Of the prompt's mel that the transformer reads (3 s)."""


@dataclass(frozen=True)
class StreamFmState:
    """Where a stream stands."""

    prompt_vector: Tensor
    """(1, E')"""
    speaker: Tensor
    """(1, E)"""
    noise: FrameNoise
    codes: tuple[int, ...]
    """Those of the next window's past, then those that wait."""
    hop: int = 0
    tail: Tensor | None = None
    """(S,) what the last window made of the next chunk's beginning."""


class StreamFm(nn.Module):
    """DiT and HiFi-GAN.

    The release speaks the codes that fill its last window too, and cuts an utterance of less than 18 codes off;
    with `padded_end_quirk` so does this one.
    """

    def __init__(self, config: StreamFmConfig, padded_end_quirk: bool = False) -> None:
        super().__init__()
        self.config = config
        self.padded_end_quirk = padded_end_quirk
        self.transformer = Dit(config.dit)
        self.vocoder = HifiGan(config.dit.num_bins, config.vocoder)

    @property
    def name(self) -> str:
        """What voices are made for."""
        return self.config.name

    @property
    def num_codes(self) -> int:
        """Codes are 0 to `num_codes - 1`."""
        return self.config.num_codes

    @property
    def sampling_rate(self) -> int:
        """Hz of the waveform."""
        return self.config.mel.sampling_rate // self.config.mel.hop_length * self.config.vocoder.hop_length

    @property
    def code_samples(self) -> int:
        """Samples of one code."""
        return self.config.dit.frames_per_code * self.config.vocoder.hop_length

    def start(self, voice: Voice, seed: int = 0) -> StreamFmState:
        """A stream before its first code."""
        return self.start_from(voice, Noise(seed, 0, self.config.dit.num_bins))

    @torch.inference_mode()
    def start_from(self, voice: Voice, noise: FrameNoise) -> StreamFmState:
        """As `start`, from noise that is given."""
        config = self.config.dit
        check_voice(voice, self.name, self.num_codes, config.num_bins, config.speaker_size)
        voice = voice.to(self.transformer.proj_out.weight.device)
        prompt_vector = self.transformer.prompt_vector(voice.mel.T[None])
        return StreamFmState(prompt_vector, voice.embedding[None], noise, (PAST_CODE,) * self.config.past)

    @torch.inference_mode()
    def feed(self, state: StreamFmState, codes: Sequence[int], last: bool = False) -> tuple[StreamFmState, Tensor]:
        """More codes in, the samples (S,) that are certain by then out; with `last` all that are left."""
        check_codes(codes, self.num_codes)
        config = self.config
        state = replace(state, codes=(*state.codes, *codes))
        waves = [state.speaker.new_zeros(0)]
        while len(state.codes) >= config.past + config.chunk + config.future:
            state, wave = self._hop(state)
            waves.append(wave[: config.chunk * self.code_samples])
        if last:
            waves.append(self._end(state))
        return state, torch.cat(waves)

    def synthesize(self, codes: Sequence[int], voice: Voice, seed: int = 0) -> Tensor:
        """The samples (S,) of all codes at once: the same as in pieces."""
        return self.feed(self.start(voice, seed), codes, last=True)[1]

    def _end(self, state: StreamFmState) -> Tensor:
        """The samples of the codes that are left, faded out."""
        config = self.config
        num_left = len(state.codes) - config.past
        check_any(num_left + state.hop)
        window = config.past + config.chunk + config.future
        padded = replace(state, codes=(*state.codes, *[END_CODE] * (window - len(state.codes))))
        _, wave = self._hop(padded)
        if self.padded_end_quirk and not state.hop:
            return wave[: config.chunk * self.code_samples]
        spoken = config.chunk + config.future if self.padded_end_quirk else num_left
        wave = wave[: spoken * self.code_samples]
        fade = torch.linspace(1, 0, min(config.fade, len(wave)), device=wave.device)
        return torch.cat([wave[: len(wave) - len(fade)], wave[len(wave) - len(fade) :] * fade])

    def _hop(self, state: StreamFmState) -> tuple[StreamFmState, Tensor]:
        """One window: the state behind its chunk, and the samples (S,) of chunk and future."""
        config = self.config
        mel = self.mel_of(state)
        wave = self.vocoder(mel)[0, config.past * self.code_samples :].clamp(-config.peak, config.peak)
        rising = torch.linspace(0, 1, config.fade, device=wave.device)
        beginning = wave[: config.fade] * rising
        if state.tail is not None:
            beginning = beginning + state.tail * (1 - rising)
        at = config.chunk * self.code_samples
        following = replace(
            state, codes=state.codes[config.chunk :], hop=state.hop + 1, tail=wave[at : at + config.fade]
        )
        return following, torch.cat([beginning, wave[config.fade :]])

    def mel_of(self, state: StreamFmState) -> Tensor:
        """The mel (1, M, F) of the next window."""
        config = self.config
        window = config.past + config.chunk + config.future
        rate = config.dit.frames_per_code
        start = state.hop * config.chunk * rate
        noise = state.noise(start, start + window * rate).to(state.speaker).transpose(1, 2)
        codes = torch.tensor([state.codes[:window]], device=noise.device)
        return self.transformer(noise, codes, state.prompt_vector, state.speaker).transpose(1, 2)
