"""Echo: subtract what a loudspeaker plays from what the microphone records (normalised LMS, by blocks).

1. The room is a filter of `PARTS` blocks; the echo is what the filter makes of the signal that was played.
2. A block of `BLOCK` samples is filtered by FFT (overlap-save); what the filter cannot explain is the output.
3. The filter learns from that output, each frequency scaled by its power (normalised LMS). The power of the output is
   part of the scale, so that a person who speaks over the echo slows learning down instead of destroying the filter.

Worked example: the reference is a click and the microphone records half of it 40 ms later. The filter grows one tap of
0.5 at 640 samples, and the output becomes silence; a voice on top of it stays.
The state is a value: `cancel` takes one and returns the next. Soo and Pang, "Multidelay block frequency domain adaptive
filter", 1990. Shapes: S samples at 16 kHz, P parts, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from osum.errors import InputError

Samples = NDArray[np.float32]
Spectrum = NDArray[np.complex128]

BLOCK = 256
"""Samples that are filtered at once, 16 ms at 16 kHz."""
PARTS = 12
"""Blocks of the filter: echoes of up to 192 ms, delay of the sound card included."""
STEP = 1.0
"""Of learning; the larger, the sooner the room is known, and the more a voice over the echo disturbs it."""
FLOOR = 1e-3
"""Power of a bin below which nothing is learned from it: a signal that is silent says nothing about the room."""


@dataclass(frozen=True)
class EchoState:
    """What a canceller knows of a room."""

    filter: Spectrum
    """(P, B)"""
    played: Spectrum
    """(P, B): the last blocks of the reference, the newest first."""
    power: NDArray[np.float64]
    """(B,) of the reference, smoothed."""
    tail: Samples
    """(BLOCK,): the reference block before."""


def start() -> EchoState:
    """Nothing is known of the room."""
    bins = BLOCK + 1
    blank = np.zeros((PARTS, bins), np.complex128)
    return EchoState(blank, blank, np.zeros(bins), np.zeros(BLOCK, np.float32))


def cancel(state: EchoState, recorded: Samples, reference: Samples) -> tuple[Samples, EchoState]:
    """The recording (S,) without the echo of the reference (S,), which was played at the same time; S in whole blocks.

    Raises:
        InputError: lengths that differ, or no whole blocks.
    """
    if len(recorded) != len(reference) or len(recorded) % BLOCK:
        raise InputError(
            f"{len(recorded)} recorded and {len(reference)} reference samples: give equally many, in blocks of {BLOCK}"
        )
    clean = []
    for at in range(0, len(recorded), BLOCK):
        piece, state = _block(state, recorded[at : at + BLOCK], reference[at : at + BLOCK])
        clean.append(piece)
    return (np.concatenate(clean) if clean else recorded), state


def _block(state: EchoState, recorded: Samples, reference: Samples) -> tuple[Samples, EchoState]:
    newest = np.fft.rfft(np.concatenate([state.tail, reference]))  # (B,)
    played = np.concatenate([newest[None], state.played[:-1]])  # (P, B)
    echo = np.fft.irfft((played * state.filter).sum(axis=0))[BLOCK:]
    clean = recorded - echo
    error = np.fft.rfft(np.concatenate([np.zeros(BLOCK), clean]))
    power = 0.9 * state.power + 0.1 * np.abs(newest) ** 2
    scale = PARTS * power + np.abs(error) ** 2 + FLOOR * BLOCK
    change = np.fft.irfft(played.conj() * (error / scale), axis=1)
    change[:, BLOCK:] = 0  # a filter of BLOCK taps a part: what wraps around is no echo
    learned = state.filter + STEP * np.fft.rfft(change, axis=1)
    return clean.astype(np.float32), EchoState(learned, played, power, reference)
