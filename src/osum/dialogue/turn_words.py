"""ByWords: a turn policy for a model that was not trained on turns, by the words and sounds that it recognises.

1. Over a reply the newest seconds of the turn are transcribed. A laugh or a cough without words is `noise`, nothing but
   listeners' words (`mm-hm`, `对`) is `backchannel`, nothing but a request to stop is `wait`; anything else interrupts
   once it is long enough.
2. In silence it goes by a length of silence, as `SilenceOnly` does. A short turn is checked for `noise` and `wait`
   during that silence, so that the check costs no time.

Worked example, over a reply: `yes` is `backchannel`, so the reply continues; a second later `yes but I` is `complete`,
and the reply stops.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from osum.audio import SAMPLE_RATE
from osum.dialogue.turn_policy import Evidence, Judgement, SilenceOnly
from osum.errors import InputError
from osum.listening.answers import NO_EVENT
from osum.listening.asked import TRANSCRIBE
from osum.listening.recognizer import Recognizer
from osum.scoring.normalize import mixed_units

LISTENERS = """
ah aha alright cool exactly fine good great hm hmm huh indeed mhm mm mmhm nice oh ok okay really right sure true uhhuh
wow yeah yep yes yup
all+right got+it i+know i+see mm+hm mm+hmm of+course uh+huh that's+right
啊 嗯 哦 噢 哼 喔 对 是 好 行 对啊 是啊 是的 好的 就是 没错 不错 明白 明白了 知道了 当然 可以 真的 原来如此
"""
"""What people say while they listen, and go on listening; `+` joins the words of a phrase."""
REQUESTS_TO_STOP = """
enough hush pause quiet stop wait
be+quiet hang+on hold+on just+a+moment just+a+second one+moment one+second please+stop shut+up stop+it stop+please
that's+enough wait+a+moment wait+a+second
停 停下 停一下 停止 暂停 等等 等一下 等一等 等会儿 别说了 不要说了 安静 够了 闭嘴 打住
"""
"""What silences a reply without a question."""
EVENT = "VED"
"""Name of the task that recognises laughs and coughs."""


def _units(text: str) -> list[str]:
    """Words without case and punctuation; each Chinese character is one."""
    return mixed_units(re.sub(r"[^\w\s']", " ", text.lower().replace("’", "'")))


def _phrases(words: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(_units(phrase)) for phrase in words.split())


_LISTENERS, _STOPS = _phrases(LISTENERS), _phrases(REQUESTS_TO_STOP)
_LONGEST = max(map(len, _LISTENERS | _STOPS))


@dataclass(frozen=True, eq=False)
class ByWords:
    """Judges by a transcript, and by the event that the model recognises.

    Raises:
        InputError: the model does not transcribe.
    """

    model: Recognizer
    silence: float = 0.5
    """Seconds of silence that end a turn."""
    after: float = 0.2
    longest: float = 2.0
    """Seconds of speech from which on it is a turn, whatever was said."""
    sure: float = 0.7
    """Probability from which on a sound without words is the event that the model names."""
    plain: SilenceOnly = field(default_factory=SilenceOnly)
    """Decides about everything else over a reply."""
    instant = False

    def __post_init__(self) -> None:
        if TRANSCRIBE not in self.model.tasks:
            raise InputError(f"{self.model.name} has no task {TRANSCRIBE}: take the turn policy `silence`")

    def judge(self, evidence: Evidence) -> Judgement:
        """As `TurnPolicy.judge`."""
        if evidence.seconds >= self.longest:
            return self._by_length(evidence)
        sound = evidence.samples[-round((self.longest + 1.0) * SAMPLE_RATE) :]
        task = EVENT if EVENT in self.model.tasks else TRANSCRIBE
        clip = self.model.label((sound, SAMPLE_RATE), tasks=[task])
        text, event = clip.text or "", clip.summary.get(task)
        units = _units(text)
        named = event is not None and event.label not in (None, NO_EVENT)
        if named and len(units) <= 1 and (event.probability or 0.0) >= self.sure:
            return Judgement("noise", text=text)
        if is_all(units, _STOPS):
            return Judgement("wait", text=text)
        if evidence.over_reply and is_all(units, _LISTENERS):
            return Judgement("backchannel", text=text)
        return self._by_length(evidence, text)

    def _by_length(self, evidence: Evidence, text: str = "") -> Judgement:
        if evidence.over_reply:
            return replace(self.plain.judge(evidence), text=text)
        return Judgement("complete", self.silence, text)


def is_all(units: Iterable[str], phrases: frozenset[tuple[str, ...]]) -> bool:
    """Whether these words are phrases of a list one after the other, and nothing else.

    Example:
        >>> is_all(["yes", "i", "see"], _LISTENERS), is_all(["yes", "i"], _LISTENERS)
        (True, False)
    """
    words = list(units)
    ends = {0}  # numbers of words that can be read as phrases
    for start in range(len(words)):
        if start in ends:
            ends |= {start + n for n in range(1, _LONGEST + 1) if tuple(words[start : start + n]) in phrases}
    return bool(words) and len(words) in ends
