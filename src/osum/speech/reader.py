"""Text to speech codes: the speech head that reads replies aloud. English; a few million parameters, on one core.

1. Letters to phonemes: each letter has a few places, and an empty place is left out (CTC, Graves et al. 2006).
2. Phonemes to durations: how many frames of 25 ms each of them lasts.
3. Phonemes, each as long as it lasts, to the code of every 40 ms.

It reads text and not the hidden states of who wrote it, so that any model's replies can be read, none changes by it,
and it need not learn again when the model does. Worked example: "hi." is `h aɪ .` in 2 of 9 places a letter, then
3, 9 and 12 frames, so 0.6 s or 15 codes. Shapes: B texts, L letters, P phonemes, N codes, E speaker vector, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from osum.errors import InputError
from osum.speech.causal import CausalStack

PHONEME_RATE = 40.0
"""Frames of durations a second."""
SHORTEST, LONGEST = 1.0, 40.0
"""Frames of a phoneme."""


@dataclass(frozen=True)
class ReaderConfig:
    """Sizes of the reader; 3 million parameters by default."""

    num_codes: int = 1024
    code_rate: int = 25
    letters: str = " abcdefghijklmnopqrstuvwxyz',.?!;:-"
    """What texts are written in; whatever else they hold is left out."""
    phonemes: str = " !,.:;?abdefhijklmnoprstuvwxyzæðŋɐɑɔəɚɛɜɡɪɹɾʃʊʌʒʔˈˌːθᵻ"
    """espeak-ng's, as Kokoro writes them. Numbers count from 1; 0 is the silence at both ends, or an empty place."""
    places: int = 3
    """Most phonemes of a letter, marks of stress and length among them."""
    width: int = 192
    speaker_size: int = 2
    kernel: int = 5
    look_ahead: int = 6
    """Letters, phonemes and codes to come that each part looks at."""
    dilations: tuple[int, ...] = (1, 2, 4)


class Reader(nn.Module):
    """Text to codes.

    Example:
        >>> reader = Reader(ReaderConfig(num_codes=8, width=16, dilations=(1,))).eval()
        >>> codes = reader.codes_of("hello there.", torch.tensor([1.0, 0.0]))
        >>> len(codes) > 0 and max(codes) < 8
        True
    """

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        width, ahead = config.width, config.look_ahead
        self.letters = nn.Embedding(len(config.letters) + 1, width)
        self.spelling = CausalStack(width, width, 2 * ahead + 1, config.kernel, config.dilations)
        self.places = nn.Linear(width, config.places * (len(config.phonemes) + 1))
        self.phonemes = nn.Embedding(len(config.phonemes) + 1, width)
        self.speaker = nn.Linear(config.speaker_size, width)
        self.timing = CausalStack(width, width, 2 * ahead + 1, config.kernel, config.dilations)
        self.duration = nn.Linear(width, 1)
        self.place = nn.Linear(3, width)
        self.saying = CausalStack(width, width, 2 * ahead + 1, config.kernel, config.dilations)
        self.after = nn.Linear(width, config.num_codes)

    def spell(self, letters: Tensor) -> Tensor:
        """Letters (B, L) to logits of phonemes at every place, (B, L * places, phonemes + 1)."""
        x = self._run(self.spelling, self.letters(letters))
        return self.places(x).view(len(x), -1, len(self.config.phonemes) + 1)

    def time(self, phonemes: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Phonemes (B, P) and speakers (B, E) to what is known of each, (B, P, W), and logarithms of frames (B, P)."""
        x = self._run(self.timing, self.phonemes(phonemes) + self.speaker(speaker)[:, None])
        return x, self.duration(x)[..., 0]

    def say(self, known: Tensor, frames: Tensor, num_codes: int) -> Tensor:
        """What is known of phonemes (B, P, W), and their frames (B, P), to logits of `num_codes` codes, (B, N, K)."""
        ends = frames.cumsum(1) / PHONEME_RATE  # (B, P) seconds
        middles = (torch.arange(num_codes, device=known.device) + 0.5) / self.config.code_rate
        at = torch.searchsorted(ends, middles.expand(len(ends), -1).contiguous()).clamp(max=frames.shape[1] - 1)
        length, end = (value.gather(1, at) for value in (frames / PHONEME_RATE, ends))
        left = end - middles
        place = torch.stack([length, left, left / length.clamp(min=0.01)], dim=2).clamp(-2, 2)
        spread = known.gather(1, at[..., None].expand(-1, -1, known.shape[2]))
        return self.after(self._run(self.saying, spread + self.place(place)))

    def letters_of(self, text: str) -> list[int]:
        """The numbers of a text's letters."""
        kept = "".join(letter for letter in text.lower().replace("’", "'") if letter in self.config.letters)
        return [self.config.letters.index(letter) + 1 for letter in " ".join(kept.split())]

    @torch.inference_mode()
    def codes_of(self, text: str, speaker: Tensor) -> list[int]:
        """The codes of a text, as a speaker (E,) says it.

        Raises:
            InputError: no letter that it can read.
        """
        letters = self.letters_of(text)
        if not any(self.config.letters[number - 1].isalpha() for number in letters):
            raise InputError(f"{text[:40]!r}: this voice reads English letters, and there are none")
        device = self.after.weight.device
        phonemes = torch.tensor([self._spelled(self.spell(torch.tensor([letters], device=device))[0])], device=device)
        known, logarithms = self.time(phonemes, speaker[None])
        frames = logarithms.exp().clamp(SHORTEST, LONGEST)
        number = max(1, round(float(frames.sum()) / PHONEME_RATE * self.config.code_rate))
        return self.say(known, frames, number)[0].argmax(1).tolist()

    @staticmethod
    def _spelled(logits: Tensor) -> list[int]:
        """Logits (places, phonemes + 1) to phonemes: repeats are one, empty places none."""
        best = torch.unique_consecutive(logits.argmax(1)).tolist()
        return [0, *(number for number in best if number), 0]

    def _run(self, stack: CausalStack, x: Tensor) -> Tensor:
        """(B, F, W) through a stack that also looks ahead."""
        late = self.config.look_ahead
        y, _ = stack(functional.pad(x, (0, 0, 0, late)), None)
        return y[:, late:]
