"""Waveforms to speech codes and voices: S3 tokenizer and CAM++ together.

Shapes: S samples, N codes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from osum.audio import SAMPLE_RATE, Source, load, probe
from osum.errors import AudioError
from osum.speech.campplus import SpeakerEncoder
from osum.speech.cosyvoice import CosyVoiceConfig
from osum.speech.features import (
    KALDI_WINDOW,
    PEAK_FLOOR,
    decibel_mel,
    kaldi_fbank,
    log_magnitude_mel,
    resample,
    whisper_log_mel,
)
from osum.speech.streamfm import StreamFmConfig
from osum.speech.tokens import SpeechTokenizer
from osum.speech.voice import Voice

MAX_WINDOW = 3000  # mel frames (30 s)
OVERLAP = 2 / 15  # share of a window (4 s of 30 s) that it has in common with the next
MIN_PROMPT, MAX_PROMPT = 0.5, 30.0  # seconds
SILENCE = 1e-3  # root mean square below which a prompt holds no voice, -60 dB


class VoiceEncoder(nn.Module):
    """The listening half of a speech model.

    Example:
        >>> from osum.speech.tokens import TokenizerConfig
        >>> config = CosyVoiceConfig(tokenizer=TokenizerConfig(width=64, num_heads=4, num_layers=1, num_codes=32))
        >>> len(VoiceEncoder(config).eval().codes((torch.randn(48_000).numpy(), 48_000)))
        25
    """

    def __init__(self, config: CosyVoiceConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = SpeechTokenizer(config.tokenizer)
        self.speaker = SpeakerEncoder(config.speaker)

    def codes(self, source: Source) -> list[int]:
        """The speech codes of a recording of any length.

        Raises:
            AudioError: the source cannot be read, or is shorter than one frame of features.
        """
        return self.codes_of(torch.from_numpy(load(source))).tolist()

    @torch.inference_mode()
    def codes_of(self, wave: Tensor) -> Tensor:
        """Samples (S,) at 16 kHz to codes (N,). Above 30 s, windows of 30 s that share 4 s, half of it from each."""
        if len(wave) < KALDI_WINDOW:
            raise AudioError(f"{len(wave) / SAMPLE_RATE:.3f} s: too short for speech codes; give 0.1 s or more")
        mel = whisper_log_mel(wave.to(self._device), self.config.tokenizer.num_mel_bins)
        return torch.cat([self._window(mel, *places) for places in self._windows(mel.shape[1])])

    def _windows(self, num_frames: int) -> Iterator[tuple[int, int, int, int]]:
        """Where each window begins, where its own frames begin and stop, and where it stops."""
        first, second = self.config.tokenizer.strides
        size, rate = min(MAX_WINDOW, self.tokenizer.max_frames), first * second
        half = int(size * OVERLAP / 2) // rate * rate  # of whole codes, so that windows join
        starts = list(range(0, max(num_frames - 2 * half, 1), size - 2 * half))
        for start in starts:
            own = start + half if start else 0
            own_stop = start + size - half if start != starts[-1] else num_frames
            yield start, own, own_stop, min(start + size, num_frames)

    def _window(self, mel: Tensor, start: int, own: int, own_stop: int, stop: int) -> Tensor:
        codes, _ = self.tokenizer(mel[None, :, start:stop], torch.tensor([stop - start], device=mel.device))
        first, second = self.config.tokenizer.strides
        rate = first * second
        return codes[0, (own - start) // rate : -(-(own_stop - start) // rate)]

    def voice(
        self, source: Source, licence: str = "", consent: str = "", double_resampling_quirk: bool = False
    ) -> Voice:
        """A voice from a recording of 0.5 to 30 s.

        Args:
            source: what `osum.audio.load` reads; channels are averaged.
            licence, consent: notes that the voice file carries.
            double_resampling_quirk: what is read at 16 kHz passes through the rate of the mel, as in the release.

        Raises:
            AudioError: the recording cannot be read, is too short or too long, or silent.
        """
        rate = probe(source).rate
        wave = torch.from_numpy(load(source, rate=rate))[None]  # (1, S)
        _check_prompt(wave[0], rate)
        for_mel = resample(wave, rate, self.config.mel.sampling_rate)
        origin = (for_mel, self.config.mel.sampling_rate) if double_resampling_quirk else (wave, rate)
        at_16k = resample(*origin, SAMPLE_RATE)[0]
        return Voice(
            self.config.name,
            self.codes_of(at_16k).cpu(),
            log_magnitude_mel(for_mel, self.config.mel)[0],
            speaker_vector(self.speaker, at_16k),
            licence,
            consent,
        )

    @property
    def _device(self) -> torch.device:
        return self.tokenizer.encoder.conv1.weight.device


class PromptEncoder(nn.Module):
    """The listening half of the real-time baseline, whose codes are CosyVoice's."""

    def __init__(self, config: StreamFmConfig) -> None:
        super().__init__()
        self.config = config
        self.speaker = SpeakerEncoder(config.speaker)

    def voice(self, source: Source, licence: str = "", consent: str = "") -> Voice:
        """A voice from a recording of 3 to 30 s, whose first 3 s are the prompt.

        Raises:
            AudioError: the recording cannot be read, is too short or too long, or silent.
        """
        wave = torch.from_numpy(load(source))
        num_frames, mel = self.config.prompt_frames, self.config.mel
        _check_prompt(wave, SAMPLE_RATE, num_frames * mel.hop_length / mel.sampling_rate)
        prompt = decibel_mel(wave[None], mel)[0, :, :num_frames]
        peak = wave.abs().max() + PEAK_FLOOR
        embedding = speaker_vector(self.speaker, wave / peak)
        return Voice(self.config.name, torch.zeros(0, dtype=torch.long), prompt, embedding, licence, consent)


@torch.inference_mode()
def speaker_vector(speaker: SpeakerEncoder, wave: Tensor) -> Tensor:
    """Samples (S,) at 16 kHz to the speaker vector (E,), on the CPU."""
    features = kaldi_fbank(wave, speaker.config.num_mel_bins)
    return speaker((features - features.mean(0))[None].to(next(speaker.parameters()).device))[0].cpu()


def _check_prompt(wave: Tensor, rate: int, shortest: float = MIN_PROMPT) -> None:
    """Refuse what holds no voice, or too little or too much of it."""
    seconds = len(wave) / rate
    if not shortest <= seconds <= MAX_PROMPT:
        raise AudioError(
            f"the prompt lasts {seconds:.1f} s; {shortest:g} to {MAX_PROMPT:.0f} s are needed; cut another"
        )
    level = float(wave.square().mean().sqrt())
    if level < SILENCE:
        raise AudioError(f"the prompt is silent (root mean square {level:.1g}, full scale 1); give one with a voice")
