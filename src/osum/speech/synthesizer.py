"""Token2Wav: speech codes and a voice in, pieces of waveform out. What a dialogue or a server talks to.

The state of a stream is a value: `feed` takes one and returns the next, and the model keeps nothing, so that many
streams share it, and a stream is dropped by forgetting its state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from torch import Tensor

from osum.errors import InputError
from osum.speech.voice import Voice

State = TypeVar("State")


class Token2Wav(Protocol[State]):
    """A model that speaks codes."""

    @property
    def name(self) -> str:
        """What voices are made for."""

    @property
    def num_codes(self) -> int:
        """Codes are 0 to `num_codes - 1`."""

    @property
    def sampling_rate(self) -> int:
        """Hz of the waveform."""

    def start(self, voice: Voice, seed: int = 0) -> State:
        """A stream before its first code.

        Raises:
            CheckpointError: the voice is of another model.
        """

    def feed(self, state: State, codes: Sequence[int], last: bool = False) -> tuple[State, Tensor]:
        """More codes in, the samples (S,) that are certain by then out; with `last` all that are left.

        How the codes are cut into calls changes no sample.

        Raises:
            InputError: a code that the model does not have, or a stream that ends without any.
        """

    def synthesize(self, codes: Sequence[int], voice: Voice, seed: int = 0) -> Tensor:
        """The samples (S,) of all codes at once, at the model's best.

        Raises:
            InputError, CheckpointError: as `feed` and `start`.
        """


def stream(model: Token2Wav[State], codes: Iterable[Sequence[int]], voice: Voice, seed: int = 0) -> Iterator[Tensor]:
    """Yield samples (S,) as codes come; leaving the loop ends the stream."""
    state = model.start(voice, seed)
    for piece in codes:
        state, wave = model.feed(state, piece)
        if len(wave):
            yield wave
    _, wave = model.feed(state, (), last=True)
    yield wave


def check_codes(codes: Sequence[int], num_codes: int) -> None:
    """Refuse codes that the model does not have.

    Raises:
        InputError: the first of them is named.
    """
    for place, code in enumerate(codes):
        if not 0 <= code < num_codes:
            raise InputError(
                f"speech code {code} at place {place}: the model has codes 0 to {num_codes - 1}; "
                "leave the end of speech out, or take the model that the codes were made by"
            )


def check_any(num_codes: int) -> None:
    """Refuse speech without codes.

    Raises:
        InputError: there are none.
    """
    if not num_codes:
        raise InputError("0 speech codes: there is nothing to say; give at least one")
