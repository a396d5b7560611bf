"""Talker: replies to a conversation, in text and aloud, whole or piece by piece.

1. The conversation is checked and rendered for the mode that the options ask for.
2. The engine answers by a plan. Its ids become text as soon as no later id can change it, and speech codes.
3. `<think> ... <think end>` is kept apart: it may be shown, but is never part of the reply and is never spoken.

Talkers share one engine with everything else that asks it. Knows nothing of wire formats. Shapes: S samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from osum.dialogue import modes
from osum.dialogue.conversation import Messages, Prompt, Turn, prompt_of, read_conversation
from osum.dialogue.modes import Mode
from osum.dialogue.options import TalkOptions
from osum.dialogue.thought import FIELDS_BEGIN, THINK, THINK_END, Thought, read_said
from osum.dialogue.writing import Writing
from osum.engine.engine import Engine
from osum.engine.request import Ask, Request
from osum.errors import CheckpointError, InputError, LayoutError
from osum.model.answer_plan import AGE_IN_THOUGHT, AnswerPlan, Opens, Rule, ThoughtBudget
from osum.speech.synthesizer import Token2Wav
from osum.speech.voice import Voice
from osum.tasks import REPLY_EMOTIONS
from osum.utterance import Word

Samples = NDArray[np.float32]
TOGETHER = 16
"""Conversations that `replies` has in flight."""
MAX_NEW_TOKENS = 2000
"""Longest reply in ids, speech included (echat 1.6)."""


@dataclass(frozen=True)
class Reply:
    """One whole reply."""

    text: str
    """What is shown and spoken; never the thought."""
    thought: Thought | None = None
    emotion: str | None = None
    """The feeling that it is given with."""
    codes: tuple[int, ...] = ()
    audio: Samples | None = None
    """(S,) of the reply aloud."""
    sampling_rate: int = 0
    """Hz of `audio`."""
    ended: bool = True
    """False where the limit cut it."""
    problems: tuple[str, ...] = ()

    @property
    def cues(self) -> dict[str, str]:
        """What was recognised of the speaker, where the reply thought about it: age, gender, emotion, event."""
        names = ("age", "gender", "emotion", "event")
        return {name: value for name in names if (value := getattr(self.thought, name, None))}

    def message(self) -> dict[str, Any]:
        """The turn as the next conversation holds it: what was said, without what was thought."""
        speech = [{"type": "speech", "codes": list(self.codes)}] if self.codes else []
        return {"role": "assistant", "content": [{"type": "text", "text": self.text}, *speech]}


class ThoughtPiece(NamedTuple):
    """More of the thought."""

    text: str


class TextPiece(NamedTuple):
    """More of the reply's text."""

    text: str


class AudioPiece(NamedTuple):
    """More of the reply aloud, (S,)."""

    samples: Samples
    sampling_rate: int
    words: tuple[Word, ...] = ()
    """Words of the reply with their times from its beginning, where the synthesizer knows them."""


Piece = ThoughtPiece | TextPiece | AudioPiece | Reply
"""What a stream yields; the whole `Reply` comes last."""


class Talker:
    """Replies with one model and, where there is one, one voice.

    Example:
        >>> talker = Talker(osum.load(folder).engine)
        >>> talker.reply([{"role": "user", "content": [{"type": "audio", "path": "question.wav"}]}]).text
        'gladly'
    """

    def __init__(self, engine: Engine, speech: Token2Wav[Any] | None = None, voice: Voice | None = None) -> None:
        self.engine, self.speech, self.voice = engine, speech, voice
        processor = engine.processor
        if (speech is None) != (voice is None):
            raise InputError("speech without a voice, or a voice without what speaks: give both or neither")
        num_codes = max(processor.num_speech_ids - 1, 0)
        if speech is not None and speech.num_codes != num_codes:
            raise CheckpointError(
                f"{speech.name} speaks {speech.num_codes} codes, the model says {num_codes}: "
                "take the codec that the model learned its codes from"
            )

    def reply(self, conversation: Messages, options: TalkOptions | None = None) -> Reply:
        """The whole reply to the last turn of a conversation.

        Raises:
            InputError, AudioError, LayoutError: see `stream_reply`.
        """
        *_, last = self.stream_reply(conversation, options)
        assert isinstance(last, Reply)
        return last

    def replies(self, conversations: Sequence[Messages], options: TalkOptions | None = None) -> list[Reply]:
        """The reply to each of many conversations, by shared passes; each is what it is alone (float32).

        Raises:
            InputError, AudioError, LayoutError: see `stream_reply`; of the first that cannot be replied to.
        """
        with ThreadPoolExecutor(TOGETHER) as pool:
            return list(pool.map(lambda conversation: self.reply(conversation, options), conversations))

    def stream_reply(self, conversation: Messages, options: TalkOptions | None = None) -> Iterator[Piece]:
        """Yield the reply as it comes, and last of all the whole. `close()` on the stream interrupts the model.

        Raises:
            InputError: a conversation, or an option, that cannot be answered.
            AudioError: a clip that cannot be read or is longer than the model takes.
            LayoutError: a conversation that is longer than the model takes, or a model without a speech head asked to
                speak.
        """
        options = options or TalkOptions()
        turns = read_conversation(conversation, self.engine.processor, options.max_turns)
        mode = self._mode(turns, options)
        return self._stream(prompt_of(turns, mode, self.engine.processor), mode, options)

    def speak(self, text: str, options: TalkOptions | None = None, emotion: str | None = None) -> Iterator[AudioPiece]:
        """Yield a text aloud, as it comes.

        Args:
            text: what to say.
            options: `generation` alone counts.
            emotion: one of `REPLY_EMOTIONS`; its tag stands before the text, as before a reply. The release did not
                learn to read texts with one.

        Raises:
            InputError: nothing to say, no voice to say it with, or an unknown emotion.
            LayoutError: a text that is longer than the model takes, or a model without a speech head.
        """
        options = options or TalkOptions()
        if self.speech is None:
            raise InputError("there is no voice to speak with: open the model with a codec and a voice")
        if text.strip() and emotion is not None:
            text = f"<{_feeling(emotion)}>{text}"
        turns = read_conversation([{"role": "user", "content": text}], self.engine.processor)
        pieces = self._stream(prompt_of(turns, modes.SPEAK, self.engine.processor), modes.SPEAK, options)
        return (piece for piece in pieces if isinstance(piece, AudioPiece))

    def _mode(self, turns: tuple[Turn, ...], options: TalkOptions) -> Mode:
        """The mode that fits what is given and what is wanted."""
        if self.engine.processor.chats_plainly:
            return self._plain_mode(options)
        can = self.engine.model.config.speech_output and self.speech is not None
        aloud = can if options.aloud is None else options.aloud
        thinks = options.thinking != "off"
        if not aloud:
            has_sound = any(turn.sounds for turn in turns)
            name = "speech_to_text_think" if thinks else "speech_to_text" if has_sound else "text_to_text"
        else:
            name = "talk" + "_think" * thinks + "_in_turns" * options.in_turns
        return (modes.RELEASED if options.released else modes.MODES)[name]

    @staticmethod
    def _plain_mode(options: TalkOptions) -> Mode:
        """The one mode of a model of another class."""
        if options.thinking != "off" or options.released or options.in_turns:
            raise InputError("thinking, turns and the release's ways are of OSUM-EChat: leave them out with this model")
        if options.aloud:
            raise LayoutError("this model has no speech head: ask for an answer in text, or open one that speaks")
        return modes.PLAIN

    def _plan(self, mode: Mode, options: TalkOptions) -> AnswerPlan:
        """How an answer in a mode goes."""
        processor = self.engine.processor
        opening, closing = (tuple(processor.text_ids(mark)) for mark in (THINK, THINK_END))
        end = processor.answer_end_token_id
        rules: list[Rule] = [AGE_IN_THOUGHT] if options.released else []
        if mode.thinks:
            rules.append(ThoughtBudget(opening, closing, end, options.thought_tokens))
        if mode.thinks and not options.released:
            begins = processor.text_ids(FIELDS_BEGIN) if options.thinking == "tag" else ()
            rules.append(Opens((*opening, *begins)))
        return AnswerPlan(
            processor.speech_ids,
            end,
            writes=mode.says != "speech",
            speaks=mode.says != "text",
            in_turns=mode.says == "in_turns",
            turns_behind=closing if mode.thinks else (),
            begin_forced=not options.released,
            rules=tuple(rules),
        )

    def _stream(self, prompt: Prompt, mode: Mode, options: TalkOptions) -> Iterator[Piece]:
        plan, how = self._plan(mode, options), options.generation or mode.options
        ask = Ask(prompt.text, how.max_new_tokens or MAX_NEW_TOKENS, options=how, plan=plan, runs=prompt.runs)
        writing = Writing(self.engine.processor, plan)
        sound: list[Samples] = []
        state = None if self.speech is None or self.voice is None else self.speech.start(self.voice, how.seed or 0)
        with self.engine.submit(Request("talk", prompt.features, (ask,))) as handle:
            for event in handle:
                news = writing.add(event.ids, last=event.reply is not None)
                if news.thought:
                    yield ThoughtPiece(news.thought)
                if news.text:
                    yield TextPiece(news.text)
                if self.speech is None or not (writing.codes and (news.codes or event.reply is not None)):
                    continue
                state, wave = self.speech.feed(state, news.codes, last=event.reply is not None)
                if len(wave):
                    sound.append(wave.cpu().numpy())
                    yield AudioPiece(sound[-1], self.speech.sampling_rate)
            ended = handle.result().replies[0].ended
        said = read_said(writing.raw)
        yield Reply(
            text=said.reply,
            thought=said.thought,
            emotion=said.emotion,
            codes=tuple(writing.codes),
            audio=np.concatenate(sound) if sound else None,
            sampling_rate=self.speech.sampling_rate if self.speech is not None and sound else 0,
            ended=ended,
            problems=said.problems,
        )


def _feeling(name: str) -> str:
    """An emotion in the spelling of replies."""
    found = REPLY_EMOTIONS.canonical(name)
    if found is None:
        known = ", ".join(f"{label} ({REPLY_EMOTIONS.title(label)})" for label in REPLY_EMOTIONS.labels)
        raise InputError(f"emotion is {name!r}: choose one of {known}")
    return found
