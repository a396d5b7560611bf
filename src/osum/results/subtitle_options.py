"""How subtitles are cut and shown. Values only, so that help can name them without what writes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from osum.records import LARGEST, check_fields

Count = Annotated[int, Meta(ge=1)]
Wish = Annotated[float, Meta(gt=0, le=LARGEST)]


@dataclass(frozen=True, slots=True)
class SubtitleOptions:
    """How text is cut into cues and lines (Whisper's names), and how long a cue should be shown."""

    max_line_width: Count | None = None
    """Characters of a line; a longer word is broken. None keeps a segment's text on one line."""
    max_line_count: Count | None = None
    """Lines of a cue. None keeps a segment in one cue."""
    max_words_per_line: Count | None = None
    """Words of a line; where words have times and no line width is given, each line is a cue."""
    highlight_words: bool = False
    """Repeat each cue once per word with that word underlined, where words have times."""
    min_cue_seconds: Wish | None = None
    """Seconds that a cue is shown at least, where the next one leaves room."""
    max_characters_per_second: Wish | None = None
    """Characters a second (without spaces) at most, where the next cue leaves room."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def lines(self) -> int | None:
        """Lines of a cue whose words have times."""
        by_words = self.max_words_per_line is not None and self.max_line_width is None
        return 1 if by_words else self.max_line_count

    @property
    def needs_words(self) -> bool:
        """Whether times of words change anything."""
        return self.highlight_words or self.lines is not None

    @property
    def wishes(self) -> bool:
        """Whether time may be too short for what is asked."""
        return self.min_cue_seconds is not None or self.max_characters_per_second is not None

    def wanted(self, num_characters: int) -> int:
        """Milliseconds that a cue of so many characters should be shown."""
        speed = self.max_characters_per_second
        reading = 0.0 if speed is None else num_characters / speed
        return math.ceil(max(self.min_cue_seconds or 0.0, reading) * 1000)


PLAIN_SUBTITLES = SubtitleOptions()
