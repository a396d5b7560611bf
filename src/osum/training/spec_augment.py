"""SpecAugment and SpecSub: random changes of a log-mel spectrogram that leave its labels true (specification 4).

Pure functions of features, generator and options. Knows nothing of waveforms.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from torch import Tensor

from osum.training.config import NumberOrNone, Share


@dataclass(frozen=True, slots=True)
class SpecAugment:
    """How often and how strongly each change is made; `RELEASED` holds the release's values."""

    mask_probability: Share = 1.0
    time_masks: NumberOrNone = 2
    max_frames: NumberOrNone = 150
    """Frames of 10 ms that a time mask hides at most; 150 is 5 % of the longest clip, so that the share decides."""
    frequency_masks: NumberOrNone = 2
    max_bins: NumberOrNone = 10
    """Mel bins that a frequency mask hides at most."""
    substitute_probability: Share = 0.0
    substitutions: NumberOrNone = 3
    max_substituted: NumberOrNone = 30
    """Frames that one substitution replaces at most."""
    max_share: Share = 0.05
    """Share of the clip's frames (one at least) that a time mask or a substitution takes at most: ours, since
    the release's 50 frames are a whole spoken digit."""


OURS = SpecAugment()
STATES = SpecAugment(frequency_masks=0, max_share=0.1)
"""For what an encoder gives (D, F): spans only, since a channel of it is no band of the sound."""
RELEASED = SpecAugment(max_frames=50, substitute_probability=1.0, max_share=1.0)
"""As released, but for the fill: ours is the clip's lowest value, which is silence; theirs is 0."""


def spec_augment(features: Tensor, rng: random.Random, options: SpecAugment = OURS) -> Tensor:
    """A changed copy of a log-mel spectrogram (M, F): masks, then substitutions, in the release's order."""
    if features.numel() and happens(options.mask_probability, rng):
        features = mask(features, rng, options)
    if features.numel() and happens(options.substitute_probability, rng):
        features = substitute(features, rng, options)
    return features


def mask(features: Tensor, rng: random.Random, options: SpecAugment = OURS, fill: float | None = None) -> Tensor:
    """SpecAugment: bands of bins and spans of frames take `fill`, or the lowest value; (M, F), F >= 1, to a new one."""
    masked = features.clone()
    mel, frames = features.shape
    floor = features.min() if fill is None else fill
    longest = _longest(options.max_frames, frames, options)
    for turn in range(max(options.frequency_masks, options.time_masks)):
        if turn < options.frequency_masks:
            start = rng.randrange(mel)
            masked[start : start + rng.randrange(options.max_bins + 1)] = floor
        if turn < options.time_masks:
            start = rng.randrange(frames)
            masked[:, start : start + rng.randrange(longest + 1)] = floor
    return masked


def substitute(features: Tensor, rng: random.Random, options: SpecAugment = OURS) -> Tensor:
    """SpecSub: spans of frames are replaced by as long a span from earlier on; (M, F), F >= 1, to a new (M, F)."""
    changed = features.clone()
    frames = features.shape[1]
    longest = _longest(options.max_substituted, frames, options)
    for _ in range(options.substitutions):
        start = rng.randrange(frames)
        end = min(frames, start + rng.randrange(longest + 1))
        back = rng.randrange(start + 1)
        changed[:, start:end] = features[:, start - back : end - back]
    return changed


def happens(probability: float, rng: random.Random) -> bool:
    """One throw; what is certain takes nothing from the generator."""
    return probability >= 1 or (probability > 0 and rng.random() < probability)


def _longest(most: int, frames: int, options: SpecAugment) -> int:
    return min(most, max(1, int(frames * options.max_share)))
