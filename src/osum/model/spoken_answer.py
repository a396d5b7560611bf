"""SpokenAnswer: an answer of text and speech codes, laid out as the ids a model learns and says (echat 1.5).

Knows nothing of tokenizers. Ids are joint ids: text ids, then speech ids behind the text vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from osum.errors import LayoutError

TEXT_TURN, SPEECH_TURN = 6, 18
"""Ids of one turn of text and one of speech, where an answer takes turns (echat 1.5)."""


@dataclass(frozen=True)
class SpokenAnswer:
    """What one answer says: in text, aloud, or both."""

    text: str | None = None
    """None where the text was the question, as in speech synthesis."""
    codes: Sequence[int] | None = None
    """Speech codes from 0, without the begin and end ids; None where nothing is said aloud."""
    in_turns: bool = False
    """Text and speech in turns of 6 and 18 ids; otherwise the whole text, then the whole speech."""
    thought: str = ""
    """Written before the text, with its marks; whole, even where the rest takes turns."""


@dataclass(frozen=True)
class SpeechIds:
    """Where speech ids stand in the joint space."""

    first: int
    """Joint id of code 0: the number of text ids."""
    count: int
    """Number of speech ids: codes, and one id that begins and ends speech."""

    @property
    def edge(self) -> int:
        """The joint id that begins and ends speech (4096 in the release's own numbers)."""
        return self.first + self.count - 1

    def of_codes(self, codes: Sequence[int]) -> list[int]:
        """Begin, codes and end as joint ids.

        Raises:
            LayoutError: a code is outside the codebook.
        """
        wrong = next((code for code in codes if not 0 <= code < self.count - 1), None)
        if wrong is not None:
            raise LayoutError(
                f"speech code {wrong} is outside the codebook of {max(self.count - 1, 0)}: give codes of this model"
            )
        return [self.edge, *(self.first + code for code in codes), self.edge]


def in_turns(text: Sequence[int], speech: Sequence[int]) -> list[int]:
    """Text ids and speech ids in turns of 6 and 18, until the text is used up, then the rest of the speech (echat 1.5).

    1. Take up to 6 text ids, then up to 18 speech ids, and repeat while there is text.
    2. What speech is left follows in one piece. Nothing marks where a turn ends: both sides count.
    3. There must be at least 3 speech ids for each text id, or the speech would end before the text does.

    Worked example with turns of 2 and 3: text `a b c`, speech `0 1 2 3 4 5 6 7 8` give `a b 0 1 2 c 3 4 5 6 7 8`.

    Raises:
        LayoutError: fewer than 3 speech ids for each text id.
    """
    ratio = SPEECH_TURN // TEXT_TURN
    if ratio * len(text) > len(speech):
        raise LayoutError(
            f"{len(text)} text ids with {len(speech)} speech ids: in turns each text id needs {ratio} speech ids; "
            "lay this answer out as text, then speech"
        )
    laid: list[int] = []
    turns = -(-len(text) // TEXT_TURN)
    for turn in range(turns):
        laid += text[turn * TEXT_TURN : (turn + 1) * TEXT_TURN]
        laid += speech[turn * SPEECH_TURN : (turn + 1) * SPEECH_TURN]
    return laid + list(speech[turns * SPEECH_TURN :])
