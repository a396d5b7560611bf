"""CosyVoice in pieces as the release does it, fault for fault: for parity, and to measure what our way mends.

Faults that are the scheme itself: fades whose weights sum to 1.08, a source that restarts at random phases in each
hop, 173 frames for every 172.27 that a hop of 50 codes lasts, and a last hop whose frames do not line up. One more
has a switch, `short_cache_quirk`. Source: specification of token2wav 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from osum.speech.cosyvoice import CosyVoice
from osum.speech.synthesizer import check_any, check_codes
from osum.speech.voice import Voice

CHUNK, OVERLAP = 50, 20  # codes of a hop, and of the next one that it needs
SHORT_CACHE = 34  # frames of 20 codes at 50 codes a second
VOCODER_OVERLAP = 20  # mel frames


@dataclass(frozen=True)
class HopDraws:
    """The random numbers of one hop."""

    noise: Tensor
    """(1, M, F1 + F2) of the flow."""
    phases: Tensor
    """(1, K) of the source."""
    hiss: Callable[[int], Tensor]
    """Noise (1, K, S) of so many samples of the source."""


@dataclass(frozen=True)
class ReleaseState:
    """Where a stream stands: the three caches of the release."""

    voice: Voice
    codes: tuple[int, ...] = ()
    hop: int = 0
    flow: tuple[Tensor, Tensor] | None = None
    """Noise and condition (1, M, C) of the prompt and of the last frames."""
    overlap: Tensor | None = None
    """(1, M, F) the mel that the next hop is faded from."""
    vocoder: tuple[Tensor, Tensor, Tensor] | None = None
    """The last mel frames, their source and their waveform."""


class ReleaseStream:
    """The release's loop: hops of 70 codes, 50 of which are then done."""

    def __init__(self, model: CosyVoice, draw: Callable[[int], HopDraws], short_cache_quirk: bool = True) -> None:
        """`draw` gives the random numbers of a hop, counted from 0. With the quirk, the flow's cache keeps as many
        frames as 20 codes have at 50 codes a second, 34 and not 68, so that each hop begins with content that belongs
        0.39 s later."""
        self.model, self.draw = model, draw
        self.overlap_frames = model.flow.num_frames(OVERLAP)
        self.cached_frames = SHORT_CACHE if short_cache_quirk else self.overlap_frames
        self.num_samples = VOCODER_OVERLAP * model.config.mel.hop_length

    def start(self, voice: Voice) -> ReleaseState:
        """A stream before its first code."""
        return ReleaseState(voice)

    @torch.inference_mode()
    def feed(self, state: ReleaseState, codes: Sequence[int], last: bool = False) -> tuple[ReleaseState, Tensor]:
        """More codes in, samples (S,) out."""
        check_codes(codes, self.model.num_codes)
        state = replace(state, codes=(*state.codes, *codes))
        waves = [state.voice.mel.new_zeros(0)]
        while len(state.codes) >= CHUNK + OVERLAP:
            state, wave = self._hop(state, state.codes[: CHUNK + OVERLAP], final=False)
            waves.append(wave)
            state = replace(state, codes=state.codes[CHUNK:])
        if last:
            check_any(len(state.codes))
            state, wave = self._hop(state, state.codes, final=True)
            waves.append(wave)
        return state, torch.cat(waves)

    def _hop(self, state: ReleaseState, codes: Sequence[int], final: bool) -> tuple[ReleaseState, Tensor]:
        """One call of flow and vocoder."""
        draws = self.draw(state.hop)
        mel, flow = self.flow(codes, state.voice, draws.noise, state.flow)
        if state.overlap is not None:
            mel = loudly_faded(state.overlap, mel)
        overlap = mel[..., -self.overlap_frames :]
        if not final:
            mel = mel[..., : -self.overlap_frames]
        vocoder, wave = self._vocode(mel, state.vocoder, draws)
        if not final:
            wave = wave[:, : -self.num_samples]
        return replace(state, hop=state.hop + 1, flow=flow, overlap=overlap, vocoder=vocoder), wave[0]

    def flow(
        self, codes: Sequence[int], voice: Voice, noise: Tensor, cache: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The mel (1, M, F2) of one hop, whose noise and condition begin with the cached ones; and the next cache."""
        model, prompt_frames = self.model.flow, voice.mel.shape[1]
        given = torch.tensor([list(codes)], device=noise.device)
        mu = model.condition(given, voice.codes[None], prompt_frames)
        if cache is not None:
            noise, mu = (
                torch.cat([old, new[..., old.shape[-1] :]], dim=-1) for old, new in zip(cache, (noise, mu), strict=True)
            )
        prompt = torch.zeros_like(mu)
        prompt[..., :prompt_frames] = voice.mel
        mel = model.decoder(noise, mu, model.speaker(voice.embedding[None]), prompt)[..., prompt_frames:]
        noise, mu = (torch.cat([x[..., :prompt_frames], x[..., -self.cached_frames :]], dim=-1) for x in (noise, mu))
        return mel, (noise, mu)

    def _vocode(
        self, mel: Tensor, cache: tuple[Tensor, Tensor, Tensor] | None, draws: HopDraws
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """The next cache, and the waveform (1, S) of cached and new frames, faded in over the cached waveform."""
        vocoder, beginning = self.model.vocoder, torch.zeros(1, dtype=torch.float64, device=mel.device)
        if cache is not None:
            mel = torch.cat([cache[0], mel], dim=-1)
        hiss = draws.hiss(mel.shape[-1] * self.model.config.mel.hop_length)
        source, _ = vocoder.m_source(vocoder.f0(mel), draws.phases, hiss, beginning)
        if cache is not None:
            source = torch.cat([cache[1], source[..., cache[1].shape[-1] :]], dim=-1)
        wave = vocoder.decode(mel, source)
        if cache is not None:
            wave = loudly_faded(cache[2], wave)
        return (mel[..., -VOCODER_OVERLAP:], source[..., -self.num_samples :], wave[..., -self.num_samples :]), wave


def loudly_faded(old: Tensor, new: Tensor) -> Tensor:
    """`new` (..., L) with its beginning faded in over `old` (..., O) by halves of a Hamming window, 1.08 together."""
    length = old.shape[-1]
    window = torch.hamming_window(2 * length, periodic=False, device=old.device)
    return torch.cat([new[..., :length] * window[:length] + old * window[length:], new[..., length:]], dim=-1)
