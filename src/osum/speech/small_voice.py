"""SmallVoice: a causal decoder and a small vocoder as one `Token2Wav`, whose sound in pieces is that of the whole.

1. Codes go through decoder and vocoder one at a time, however many come at once: so the numbers are the same to the
   bit wherever a stream is cut.
2. Each layer hands on what it looks back at; a code's samples come `delay` samples later than the code.
3. At the end, as many empty codes follow as samples are still owed.

Shapes: S samples, M mel bins, F mel frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from osum.speech.causal import Past
from osum.speech.features import MelConfig
from osum.speech.mel_decoder import MelDecoder, MelDecoderConfig
from osum.speech.noise import Noise
from osum.speech.reader import ReaderConfig
from osum.speech.source_filter import SourceFilter, SourceFilterConfig, SourceFilterPast
from osum.speech.synthesizer import check_any, check_codes
from osum.speech.voice import Voice, check_voice

MEL = MelConfig(sampling_rate=16_000, fft_size=1024, window=640, hop_length=160)
HISS = 4
"""Stream of the noise among those of a seed."""


@dataclass(frozen=True)
class SmallVoiceConfig:
    """Sizes of all parts; about 5 million parameters by default."""

    name: str = "osum-small-voice"
    """What its voices are made for."""
    mel: MelConfig = field(default_factory=lambda: MEL)
    decoder: MelDecoderConfig = field(default_factory=MelDecoderConfig)
    vocoder: SourceFilterConfig = field(default_factory=SourceFilterConfig)
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    """Of the speech head that reads texts, which has a file of its own."""


@dataclass(frozen=True)
class SmallVoiceState:
    """Where a stream stands."""

    voice: Voice
    seed: int
    vocoder: SourceFilterPast
    decoder: tuple[Past, Past] | None = None
    num_codes: int = 0
    """Given so far."""
    num_samples: int = 0
    """Returned so far."""


class SmallVoice(nn.Module):
    """Decoder and vocoder."""

    def __init__(self, config: SmallVoiceConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = MelDecoder(config.decoder, config.mel)
        self.vocoder = SourceFilter(config.vocoder, config.mel)

    @property
    def name(self) -> str:
        """What voices are made for."""
        return self.config.name

    @property
    def num_codes(self) -> int:
        """Codes are 0 to `num_codes - 1`."""
        return self.config.decoder.num_codes

    @property
    def sampling_rate(self) -> int:
        """Hz of the waveform."""
        return self.config.mel.sampling_rate

    @property
    def code_samples(self) -> int:
        """Samples of a code."""
        return self.decoder.frames_per_code * self.config.mel.hop_length

    @property
    def delay(self) -> int:
        """Samples by which the sound comes later than its codes."""
        return self.config.decoder.look_ahead * self.code_samples + self.vocoder.delay * self.config.mel.hop_length

    @staticmethod
    def noise(seed: int) -> Noise:
        """What is hissed in a stream of this seed."""
        return Noise(seed, HISS, 1)

    def synthesize(self, codes: Sequence[int], voice: Voice, seed: int = 0) -> Tensor:
        """The samples (S,) of all codes at once."""
        _, wave = self.feed(self.start(voice, seed), codes, last=True)
        return wave

    def start(self, voice: Voice, seed: int = 0) -> SmallVoiceState:
        """A stream before its first code.

        Raises:
            CheckpointError: the voice is of another model.
        """
        check_voice(voice, self.name, self.num_codes, self.config.mel.num_bins, self.config.decoder.speaker_size)
        voice = voice.to(self.decoder.embedding.weight.device)
        return SmallVoiceState(voice, seed, self.vocoder.start(voice.embedding[None]))

    @torch.inference_mode()
    def feed(self, state: SmallVoiceState, codes: Sequence[int], last: bool = False) -> tuple[SmallVoiceState, Tensor]:
        """More codes in, the samples (S,) that are certain by then out; with `last` all that are left.

        Raises:
            InputError: a code that the model does not have, or a stream that ends without any.
        """
        check_codes(codes, self.num_codes)
        if last:
            check_any(state.num_codes + len(codes))
        owed = math.ceil(self.delay / self.code_samples) if last else 0
        pieces = [state.voice.embedding.new_zeros(0)]
        total = (state.num_codes + len(codes)) * self.code_samples
        for code in (*codes, *[self.num_codes] * owed):
            state, piece = self._step(state, code)
            pieces.append(piece[: total - state.num_samples])
            state = replace(state, num_samples=state.num_samples + len(pieces[-1]))
        return state, torch.cat(pieces)

    def _step(self, state: SmallVoiceState, code: int) -> tuple[SmallVoiceState, Tensor]:
        """One code in, the samples (S,) that are `delay` before its own out; none of what is before the first."""
        device = state.voice.embedding.device
        given = torch.tensor([[code]], device=device)
        mel, hz, decoder = self.decoder.feed(given, state.voice.embedding[None], state.decoder)
        state = replace(state, decoder=decoder, num_codes=state.num_codes + 1)
        place = state.num_codes - 1 - self.config.decoder.look_ahead
        if place < 0:
            return state, hz.new_zeros(0)
        noise = self.noise(state.seed)(place * self.code_samples, (place + 1) * self.code_samples)[0]
        wave, vocoder = self.vocoder.feed(mel, hz, noise.to(device), state.vocoder)
        early = 0 if place else self.vocoder.delay * self.config.mel.hop_length
        return replace(state, vocoder=vocoder), wave[0, early:]
