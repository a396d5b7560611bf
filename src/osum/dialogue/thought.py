"""Thought: what a model says to itself about who is speaking and how, before it answers (echat 2.5).

1. An answer is `<think>`, a thought, `<think end>`, then the reply, which may begin with the tag of its feeling.
2. A thought is a sentence of its own, or names the words, age, gender, emotion and event that were recognised, and
   the feeling to answer with. What nobody knows is `<&&>`.
3. Reading is tolerant and never raises: what does not fit is reported in `problems`.

Worked example: `<think>...,年龄为:<CHILD>,...<think end><开心>好啊` thinks of a child and answers `好啊`, happy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from osum.tasks import AGES, EMOTIONS, EVENTS, GENDERS, REPLY_EMOTIONS, LabelSet

THINK, THINK_END, UNKNOWN = "<think>", "<think end>", "<&&>"
_FIELDS: dict[str, tuple[str, LabelSet]] = {
    "age": ("年龄为", AGES),
    "gender": ("性别为", GENDERS),
    "emotion": ("情感为", EMOTIONS),
    "event": ("声音事件为", EVENTS),
    "reply_emotion": ("推测使用的回复情感为", REPLY_EMOTIONS),
}
_WORDS = "用户说的话是"
FIELDS_BEGIN = f"{_WORDS}:"
"""How a thought in fields begins."""
_LAST = "我应该综合用户的语义和副语言信息给出专业且对应的回答"
_OPEN = re.compile(r"\s*<\s*think\s*>")
_CLOSE = re.compile(r"<\s*/?\s*think\s+end\s*>|<\s*/\s*think\s*>")
_MARK = re.compile(f"{_OPEN.pattern}|{_CLOSE.pattern}")
_SAID = re.compile(rf"{_WORDS}\s*[:：]\s*(.*)[,，]\s*年龄为\s*[:：]", re.DOTALL)
_TAG = re.compile(r"\s*<([^<>]*)>")


@dataclass(frozen=True)
class Thought:
    """A thought in fields, or as free text. None and empty stand for what is not known."""

    words: str = ""
    """What the user said."""
    age: str | None = None
    gender: str | None = None
    emotion: str | None = None
    event: str | None = None
    reply_emotion: str | None = None
    """The feeling to answer with, one of `REPLY_EMOTIONS`."""
    free: str = ""
    """A thought in sentences; the fields are empty then."""

    def render(self) -> str:
        """The thought as a model learns to write it, with its marks."""
        return f"{THINK}{self.free or self._fields()}{THINK_END}"

    def _fields(self) -> str:
        values = ((key, labels, getattr(self, name)) for name, (key, labels) in _FIELDS.items())
        named = (f"{key}:<{label.upper()}>" if label else f"{key}:{UNKNOWN}" for key, _, label in values)
        return ",".join((f"{_WORDS}:{self.words}", *named, _LAST))


@dataclass(frozen=True)
class ReadAnswer:
    """An answer, read: what was thought, what is said, and with which feeling."""

    reply: str
    """The text to show and to speak; never the thought."""
    thought: Thought | None = None
    emotion: str | None = None
    """The feeling that the reply begins with, one of `REPLY_EMOTIONS`."""
    problems: tuple[str, ...] = ()

    def render(self) -> str:
        """The whole answer as a model learns to write it."""
        thought = self.thought.render() if self.thought else ""
        return thought + (f"<{self.emotion}>" if self.emotion else "") + self.reply


def read_said(raw: str) -> ReadAnswer:
    """Thought, feeling and reply of what a model wrote."""
    problems: list[str] = []
    thought, reply = _split(raw, problems)
    if again := _MARK.search(reply):
        problems.append(f"the reply holds {again[0]!r}, and nothing behind it is said")
        reply = reply[: again.start()]
    emotion = None
    if leading := _TAG.match(reply):
        emotion = REPLY_EMOTIONS.canonical(leading[1])
        reply = reply[leading.end() :]
        if emotion is None:
            problems.append(f"the reply begins with <{leading[1][:20]}>, which is no feeling to answer with")
    return ReadAnswer(
        reply.strip(), None if thought is None else read_thought(thought, problems), emotion, tuple(problems)
    )


def _split(raw: str, problems: list[str]) -> tuple[str | None, str]:
    """The thought without its marks, and what stands behind it."""
    opened, closed = _OPEN.match(raw), _CLOSE.search(raw)
    if closed and not opened:
        problems.append("a thought ends that did not begin")
        return raw[: closed.start()], raw[closed.end() :]
    if not opened:
        return None, raw
    if not closed:
        problems.append("the thought does not end")
        return raw[opened.end() :], ""
    return raw[opened.end() : closed.start()], raw[closed.end() :]


def read_thought(text: str, problems: list[str]) -> Thought:
    """A thought without its marks: in fields where it names any, else free. What is wrong is added to `problems`."""
    said = _SAID.search(text)
    behind = text if said is None else text[said.end(1) :]
    age, gender, emotion, event, reply = (_field(behind, *_FIELDS[name], problems) for name in _FIELDS)
    if said is None and not any((age, gender, emotion, event, reply)):
        return Thought(free=text.strip())
    return Thought(said[1].strip() if said else "", age, gender, emotion, event, reply)


def _field(text: str, key: str, labels: LabelSet, problems: list[str]) -> str | None:
    """The label that stands behind a key, None where it is unknown or there is none."""
    match = re.search(rf"(?<!\w){key}\s*[:：]\s*<?([^<>,，]*)>?", text)
    name = match[1].strip() if match else ""
    if not name or name == UNKNOWN[1:-1]:
        return None
    label = labels.canonical(name)
    if label is None:
        problems.append(f"the thought names {name[:20]!r}, which is no {labels.name}")
    return label
