"""Writing: an answer's ids, as they come, to text that no later id can change, and to speech codes.

1. Ids are text or speech by the plan. Text ids are decoded together, for a character may take several of them.
2. What may yet become a mark (`<think`, `<开心`) or half a character is held back until it is known.
3. Text before the thought's end is the thought, text behind it the reply, without the tag of its feeling.

Worked example: ids of `<think>sad<think end>` and `<悲伤>oh` give thought `sad`, then text `oh`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from osum.dialogue.thought import THINK, THINK_END, read_said
from osum.model import OsumProcessor
from osum.model.answer_plan import AnswerPlan

BROKEN = "�"
"""What half a character decodes to."""


class News(NamedTuple):
    """What a few more ids brought."""

    thought: str
    text: str
    codes: tuple[int, ...]


class Writing:
    """One answer, as it arrives."""

    def __init__(self, processor: OsumProcessor, plan: AnswerPlan) -> None:
        self.processor, self.plan = processor, plan
        self.codes: list[int] = []
        self._progress = plan.begin()
        self._text_ids: list[int] = []
        self._thought = self._text = ""  # what was given out

    @property
    def raw(self) -> str:
        """All that was written, marks included."""
        return self.processor.decode(self._text_ids)

    def add(self, ids: Sequence[int], last: bool = False) -> News:
        """Take more ids; with `last` nothing is held back."""
        speech, codes = self.plan.speech, []
        for token in ids:
            if not self._progress.aloud:
                self._text_ids.append(token)
            elif token != speech.edge:
                codes.append(token - speech.first)
            self._progress = self._progress.after(token)
        self.codes += codes
        thought, text = self._certain(last)
        news = News(_more(self._thought, thought), _more(self._text, text), tuple(codes))
        self._thought, self._text = self._thought + news.thought, self._text + news.text
        return news

    def _certain(self, last: bool) -> tuple[str, str]:
        """Thought and reply as far as they are certain."""
        raw = self.raw
        if not last:
            raw = raw.rstrip(BROKEN).rstrip()
            mark = raw.rfind("<")
            raw = raw if mark < 0 or ">" in raw[mark:] else raw[:mark].rstrip()
        if not raw.lstrip().startswith(THINK) or THINK_END in raw:
            said = read_said(raw)
            return (self._thought if said.thought is None else _inside(raw)), said.reply
        return _inside(raw), ""


def _inside(raw: str) -> str:
    """The thought as it was written, without its marks."""
    return raw.split(THINK_END, maxsplit=1)[0].strip().removeprefix(THINK).strip()


def _more(given: str, now: str) -> str:
    """What `now` adds to what was given out; nothing where it does not begin with it."""
    return now[len(given) :] if now.startswith(given) else ""
