"""A model that speaks codes without any weights: four samples of each code, two codes behind the last that is known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from osum.speech.synthesizer import check_any, check_codes
from osum.speech.voice import Voice

VOICE = Voice("tiny", torch.empty(0, dtype=torch.long), torch.empty(2, 0), torch.zeros(3))
State = tuple[int, ...]


class TinyVoice:
    """Keeps back the last two codes, as a model with a look-ahead does."""

    name, num_codes, sampling_rate = "tiny", 6, 100

    def start(self, voice: Voice, seed: int = 0) -> State:
        return ()

    def feed(self, state: State, codes: Sequence[int], last: bool = False) -> tuple[State, Tensor]:
        check_codes(codes, self.num_codes)
        known = (*state, *codes)
        certain = len(known) if last else max(0, len(known) - 2)
        return known[certain:], torch.tensor(known[:certain], dtype=torch.float32).repeat_interleave(4)

    def synthesize(self, codes: Sequence[int], voice: Voice, seed: int = 0) -> Tensor:
        check_any(len(codes))
        return self.feed((), codes, last=True)[1]
