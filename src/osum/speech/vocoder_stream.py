"""The vocoder in pieces: the waveform of mel frames as they come, equal to that of the whole.

The state is a value: a piece needs it and makes the next one, and nothing is kept here.
Shapes: M mel bins, F mel frames, S samples, K harmonics with the fundamental.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from osum.speech.vocoder import NUM_F0_LAYERS, Vocoder, VocoderConfig

F0_CONTEXT = NUM_F0_LAYERS  # frames on each side, one for each convolution of width 3
SampleNoise = Callable[[int, int], Tensor]
"""Columns [start, stop) of the source's noise, (1, K, stop - start)."""


@dataclass(frozen=True)
class VocoderState:
    """Where a stream stands. Frames count from the beginning of `mel`, which moves on with the stream."""

    mel: Tensor
    """(1, M, F) frames that are still needed."""
    source: Tensor
    """(1, 1, S) the source of the first of them."""
    turns: Tensor
    """(1,) float64 periods of the fundamental at the source's end."""
    num_emitted: int = 0
    """Frames of `mel` whose samples were returned; they are context."""
    first: int = 0
    """Place of the first frame of `mel` in the whole."""


def context_frames(config: VocoderConfig) -> int:
    """Mel frames on each side that a sample of the decoder depends on.

    1. A layer of kernel k reaches k // 2 further to each side, dilated d times as far; a residual block sums its own.
    2. From the waveform inwards, the reach is divided by the rate at each upsampling, and grows by its kernel.
    3. The source joins behind the upsampling through a residual block of its own, so the longer way counts.

    Example, the release: 4 samples of Fourier window, (7 + 60) at 64 frames, (60 + 36) at 8, 3 at 1 give 15.
    """
    widest = max(_reach(kernel, config) for kernel in config.kernels)
    at, longest, rate = config.fft_size // config.fft_hop // 2 + 7 // 2, 0, math.prod(config.upsample_rates)
    levels = zip(config.upsample_rates, config.upsample_kernels, config.source_kernels, strict=True)
    for step, kernel, source_kernel in reversed(list(levels)):
        at += widest
        by_source = at + _reach(source_kernel, config) + 1
        longest = max(longest, math.ceil(by_source / rate) + 1)
        at = math.ceil((at + kernel) / step)
        rate //= step
    return max(longest, at + 7 // 2)


def _reach(kernel: int, config: VocoderConfig) -> int:
    return sum((dilation + 1) * (kernel // 2) for dilation in config.dilations)


class VocoderStream:
    """Gives the waveform of mel frames in pieces.

    1. F0 of a frame waits for the few frames behind it; its source continues the phase of the source before.
    2. The decoder runs over new frames and as many old and coming ones as its reach, and keeps the middle.
    3. What is inside the reach of the next piece is kept.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self.vocoder = vocoder
        self.context = context_frames(vocoder.config)
        self.hop = vocoder.m_source.hop_length

    def start(self, num_bins: int, device: torch.device) -> VocoderState:
        """Before the first frame."""
        turns = torch.zeros(1, dtype=torch.float64, device=device)
        return VocoderState(torch.zeros(1, num_bins, 0, device=device), torch.zeros(1, 1, 0, device=device), turns)

    def feed(
        self, state: VocoderState, mel: Tensor, phases: Tensor, noise: SampleNoise, last: bool = False
    ) -> tuple[VocoderState, Tensor]:
        """New frames (1, M, F) in, samples (1, S) out: `delay` frames behind, and all that is left when `last`.

        `phases` (1, K) are where the harmonics start; they and `noise` are those of the whole stream.
        """
        mel = torch.cat([state.mel, mel], dim=-1)
        source, turns = self._source(state, mel, phases, noise, last)
        known = source.shape[-1] // self.hop
        ready = known if last else max(known - self.context, state.num_emitted)
        wave = mel.new_zeros(1, 0)
        if ready > state.num_emitted:
            wave = self.vocoder.decode(mel[..., :known], source)[:, state.num_emitted * self.hop : ready * self.hop]
        gone = max(ready - self.context, 0)
        rest = mel[..., gone:], source[..., gone * self.hop :]
        return VocoderState(*rest, turns, ready - gone, state.first + gone), wave

    @property
    def delay(self) -> int:
        """Frames that the waveform is behind the mel."""
        return self.context + F0_CONTEXT

    def _source(
        self, state: VocoderState, mel: Tensor, phases: Tensor, noise: SampleNoise, last: bool
    ) -> tuple[Tensor, Tensor]:
        """The source with the frames added whose F0 is known by now, and the periods at its end."""
        known = state.source.shape[-1] // self.hop
        until = mel.shape[-1] - (0 if last else F0_CONTEXT)
        if until <= known:
            return state.source, state.turns
        before = max(known - F0_CONTEXT, 0)
        f0 = self.vocoder.f0(mel[..., before:])[:, known - before : until - before]
        start, stop = ((state.first + frame) * self.hop for frame in (known, until))
        new, turns = self.vocoder.m_source(f0, phases, noise(start, stop).to(f0.device), state.turns)
        return torch.cat([state.source, new], dim=-1), turns
