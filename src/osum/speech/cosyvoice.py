"""CosyVoice speaks: flow and vocoder as one `Token2Wav`, whole or in pieces.

Whole, it is the release's offline path. In pieces it is not the release's way, which repeats and shifts sound (that
one is `release_stream`), but this one:

1. The flow runs over a window of codes: some that were spoken, the chunk to be spoken, some to come. It starts from
   the same noise at the same place in every window, and where its estimator pairs frames as in the whole. What it
   wrote for codes to come is faded into what the next window writes for them, with weights that sum to one.
2. Frames are counted from the beginning of the stream, so that their number is that of the whole at every cut.
3. The vocoder continues its source and waits for its reach (`vocoder_stream`), so that no cut is in the waveform.

Example, the release's rates, chunks of 12 codes and 6 to come: the first sound after 18 codes (0.72 s), then 0.48 s of
sound after every 12 more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from osum.errors import CheckpointError
from osum.speech.campplus import SpeakerConfig
from osum.speech.features import MelConfig
from osum.speech.flow import Flow, FlowConfig
from osum.speech.noise import Noise, generator
from osum.speech.synthesizer import check_any, check_codes
from osum.speech.tokens import TokenizerConfig
from osum.speech.vocoder import Vocoder, VocoderConfig
from osum.speech.vocoder_stream import VocoderState, VocoderStream
from osum.speech.voice import Voice, check_voice

FLOW_NOISE, SOURCE_NOISE, START_PHASES = range(3)  # streams of one seed


@dataclass(frozen=True)
class StreamConfig:
    """How the flow is cut, in codes."""

    chunk: int = 12
    """Spoken at a time."""
    look_ahead: int = 6
    """To come, that a chunk waits for."""
    history: int = 24
    """Spoken before, that a chunk is computed with."""


@dataclass(frozen=True)
class CosyVoiceConfig:
    """Sizes of all parts of one speech model."""

    name: str = "cosyvoice-300m-25hz"
    """What its voices are made for."""
    mel: MelConfig = field(default_factory=MelConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    streaming: StreamConfig = field(default_factory=StreamConfig)


@dataclass(frozen=True)
class CosyVoiceState:
    """Where a stream stands."""

    voice: Voice
    seed: int
    vocoder: VocoderState
    codes: tuple[int, ...] = ()
    """Spoken ones that are still history, then those that wait."""
    num_history: int = 0
    num_gone: int = 0
    """Codes before `codes`."""
    tail: Tensor | None = None
    """(1, M, F) what the last window wrote for codes to come."""


class CosyVoice(nn.Module):
    """Flow and vocoder.

    Example:
        >>> import torch
        >>> from osum.speech.conformer import EncoderConfig
        >>> from osum.speech.estimator import EstimatorConfig
        >>> flow = FlowConfig(encoder=EncoderConfig(64, 4, 64, 1), estimator=EstimatorConfig((16, 16), 2, 8, 1, 1))
        >>> model = CosyVoice(CosyVoiceConfig(flow=flow, vocoder=VocoderConfig(channels=32, f0_channels=16))).eval()
        >>> voice = Voice(model.name, torch.zeros(0, dtype=torch.long), torch.zeros(80, 0), torch.randn(192))
        >>> len(model.synthesize([1, 2, 3], voice))
        2560
    """

    def __init__(self, config: CosyVoiceConfig) -> None:
        super().__init__()
        self.config = config
        self.flow = Flow(config.flow, config.mel)
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
    def synthesize(self, codes: Sequence[int], voice: Voice, seed: int = 0, speed: float = 1.0) -> Tensor:
        """The samples (S,) of all codes at once; `speed` 2 takes half the time."""
        check_any(len(codes))
        voice = self._checked(voice, codes)
        mel = self.mel_of(codes, voice, self._flow_noise(voice, seed, 0, self.flow.num_frames(len(codes))))
        if speed != 1:
            mel = functional.interpolate(mel, size=max(1, int(mel.shape[-1] / speed)), mode="linear")
        num_samples = mel.shape[-1] * self.config.mel.hop_length
        return self.wave_of(mel, self._phases(seed), self._sample_noise(seed)(0, num_samples).to(mel.device))[0]

    def mel_of(self, codes: Sequence[int], voice: Voice, noise: Tensor) -> Tensor:
        """The mel (1, M, F2) of codes, from noise (1, M, F1 + F2) whose first F1 frames are the prompt's."""
        prompt_frames = voice.mel.shape[1]
        given = torch.tensor([list(codes)], device=noise.device)
        num_frames = noise.shape[-1] - prompt_frames
        mu = self.flow.condition(given, voice.codes[None], prompt_frames, num_frames)
        prompt = functional.pad(voice.mel[None], (0, num_frames))
        speaker = self.flow.speaker(voice.embedding[None])
        return self.flow.decoder(noise, mu, speaker, prompt)[..., prompt_frames:]

    def wave_of(self, mel: Tensor, phases: Tensor, noise: Tensor) -> Tensor:
        """The waveform (1, S) of a whole mel (1, M, F), with its source's phases (1, K) and noise (1, K, S)."""
        beginning = torch.zeros(1, dtype=torch.float64, device=mel.device)
        source, _ = self.vocoder.m_source(self.vocoder.f0(mel), phases, noise, beginning)
        return self.vocoder.decode(mel, source)

    def start(self, voice: Voice, seed: int = 0) -> CosyVoiceState:
        """A stream before its first code."""
        voice = self._checked(voice)
        state = VocoderStream(self.vocoder).start(self.config.mel.num_bins, voice.mel.device)
        return CosyVoiceState(voice, seed, state)

    @torch.inference_mode()
    def feed(self, state: CosyVoiceState, codes: Sequence[int], last: bool = False) -> tuple[CosyVoiceState, Tensor]:
        """More codes in, the samples (S,) that are certain by then out; with `last` all that are left."""
        state, mel = self.feed_mel(state, codes, last)
        if not (mel.shape[-1] or last):
            return state, mel.new_zeros(0)
        phases, noise = self._phases(state.seed), self._sample_noise(state.seed)
        vocoder, wave = VocoderStream(self.vocoder).feed(state.vocoder, mel, phases, noise, last)
        return replace(state, vocoder=vocoder), wave[0]

    @torch.inference_mode()
    def feed_mel(
        self, state: CosyVoiceState, codes: Sequence[int], last: bool = False
    ) -> tuple[CosyVoiceState, Tensor]:
        """More codes in, the mel frames (1, M, F) that are certain by then out: `feed` without its vocoder."""
        check_codes(codes, self.num_codes)
        state = replace(state, codes=(*state.codes, *codes))
        streaming = self.config.streaming
        mels = [state.voice.mel.new_zeros(1, self.config.mel.num_bins, 0)]
        while len(state.codes) - state.num_history >= streaming.chunk + streaming.look_ahead:
            state, mel = self._window(state, streaming.chunk, streaming.look_ahead)
            mels.append(mel)
        if last:
            check_any(state.num_gone + len(state.codes))
            state, mel = self._window(state, len(state.codes) - state.num_history, 0)
            mels.append(mel)
        return state, torch.cat(mels, dim=-1)

    def _window(self, state: CosyVoiceState, chunk: int, look_ahead: int) -> tuple[CosyVoiceState, Tensor]:
        """The mel (1, M, F) of the next `chunk` codes, and the state behind it."""
        spoken = state.num_history + chunk
        window = state.codes[: spoken + look_ahead]
        begin, at, end, stop = (
            self.flow.num_frames(state.num_gone + count) for count in (0, state.num_history, spoken, len(window))
        )
        if at == stop:  # nothing is left
            return state, state.voice.mel.new_zeros(1, self.config.mel.num_bins, 0)
        mel = self.mel_of(window, state.voice, self._flow_noise(state.voice, state.seed, begin, stop))
        mel = mel[..., at - begin :]
        if state.tail is not None:
            mel = faded(state.tail, mel)
        gone = self._paired(state.num_gone, max(spoken - self.config.streaming.history, 0))
        new, tail = mel[..., : end - at], mel[..., end - at :]
        following = replace(
            state, codes=state.codes[gone:], num_history=spoken - gone, num_gone=state.num_gone + gone, tail=tail
        )
        return following, new

    def _paired(self, num_gone: int, gone: int) -> int:
        """At most `gone` codes, so that the next window begins where a frame of the estimator's lowest rate begins."""
        pair = 2 ** (len(self.config.flow.estimator.channels) - 1)
        counts = (count for count in range(gone, 0, -1) if self.flow.num_frames(num_gone + count) % pair == 0)
        return next(counts, 0)

    def _checked(self, voice: Voice, codes: Sequence[int] = ()) -> Voice:
        check_codes(codes, self.num_codes)
        check_voice(voice, self.name, self.num_codes, self.config.mel.num_bins, self.config.flow.speaker_size)
        if bool(voice.codes.numel()) != bool(voice.mel.shape[1]):
            counts = f"{voice.codes.numel()} codes and {voice.mel.shape[1]} frames"
            raise CheckpointError(f"a voice of {counts}; it needs both or neither; make it again")
        return voice.to(self.flow.input_embedding.weight.device)

    def _flow_noise(self, voice: Voice, seed: int, begin: int, stop: int) -> Tensor:
        """The prompt's noise and that of frames [begin, stop) of the stream, (1, M, F)."""
        noise, prompt = Noise(seed, FLOW_NOISE, self.config.mel.num_bins), voice.mel.shape[1]
        pieces = noise(0, prompt), noise(prompt + begin, prompt + stop)
        return torch.cat(pieces, dim=-1).to(voice.mel.device)

    def _sample_noise(self, seed: int) -> Noise:
        return Noise(seed, SOURCE_NOISE, self.config.vocoder.num_harmonics + 1)

    def _phases(self, seed: int) -> Tensor:
        """Where the harmonics start, (1, K) uniform in (-pi, pi); the fundamental at 0."""
        drawn = generator(seed, START_PHASES).uniform(-math.pi, math.pi, (1, self.config.vocoder.num_harmonics + 1))
        drawn[:, 0] = 0
        return torch.from_numpy(drawn).to(self.flow.input_embedding.weight)


def faded(old: Tensor, new: Tensor) -> Tensor:
    """`new` (1, M, F), its beginning faded in over as much of `old` (1, M, F') as it overlaps."""
    overlap = min(old.shape[-1], new.shape[-1])
    weight = (torch.arange(overlap, device=new.device) + 0.5) / max(overlap, 1)
    mixed = old[..., :overlap] * (1 - weight) + new[..., :overlap] * weight
    return torch.cat([mixed, new[..., overlap:]], dim=-1)
