"""How a dialogue becomes what a model reads and learns: its mode, its prompt, its answer (echat 1.5, 2.4, 2.5).

1. What is given and answered, whether a thought is drawn, and whether text and speech take turns choose the mode.
2. Every turn but the last is the prompt, in the mode's system prompt and template.
3. The last turn is the answer: a thought with its marks, the tag of its feeling, the text, the codes.

Worked example, `tag`: a sad child asks `tea?` and is answered `yes`, happy: prompt `...[audio]...`, answer
`<think>用户说的话是:tea?,年龄为:<CHILD>,性别为:<&&>,情感为:<SAD>,...<think end><开心>yes`. Nobody knows the gender, so
`&&` is neither read nor learned.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from osum.corpus.dialogues import Dialogue, DialogueTurn
from osum.dialogue import modes
from osum.dialogue.conversation import Turn, written
from osum.dialogue.modes import Mode
from osum.dialogue.thought import ReadAnswer, Thought
from osum.model import OsumProcessor
from osum.model.configuration_osum import audio_token_length
from osum.model.spoken_answer import SPEECH_TURN, TEXT_TURN, SpokenAnswer
from osum.model.templates import ECHAT_TRAINING_HISTORY
from osum.text import close_cjk
from osum.training.config import DialogueOptions

NO_FEELING = "中立"
DEFAULTS: Mapping[str, str] = {"age": "adult", "gender": "male", "emotion": "neutral", "event": "other"}
"""What a thought says of a label that nobody knows, where it is not masked (echat 2.5)."""
TIGHT = {"s2s": 0.8, "t2t": 0.6, "in_turns": 0.6, "thinks": 0.6, "history": 0.6}
"""Share of a batch's tokens that rows of a kind may use; the least of all that hold (echat 3.2)."""


@dataclass(frozen=True)
class Form:
    """How one row is laid out this time."""

    mode: Mode
    thinking: str
    room: float
    """Share of a batch's tokens that it may use."""


@dataclass(frozen=True)
class Laid:
    """A row without its sounds."""

    text: str
    """The prompt, with placeholders."""
    runs: tuple[Sequence[int], ...]
    """Joint ids of each `<|ids|>`."""
    answer: SpokenAnswer
    form: Form


class DialogueLayout:
    """Lays out dialogues for one processor."""

    def __init__(self, processor: OsumProcessor, options: DialogueOptions) -> None:
        self.processor, self.options = processor, options

    def lay(self, dialogue: Dialogue, rng: random.Random) -> Laid:
        """A dialogue in one of the forms that the options allow.

        Raises:
            LayoutError: a code outside the codebook.
        """
        dialogue = _with_feeling(dialogue)
        form = self._form(dialogue, rng)
        turns = [_turn(turn) for turn in dialogue.turns[:-1]]
        template = ECHAT_TRAINING_HISTORY if self.options.released and len(turns) > 1 else None
        text, runs = written(turns, form.mode, self.processor, template)
        return Laid(text, runs, self._answer(dialogue, form, rng), form)

    def positions(self, laid: Laid, clip_tokens: Sequence[int]) -> int:
        """Tokens of a row, whose clips are so long."""
        prompt = self.processor.joint_ids(laid.text, clip_tokens, laid.runs)
        return len(prompt) + sum(map(len, self.processor.answer_ids(laid.answer)))

    def clip_tokens(self, seconds: float) -> int:
        """Tokens of a clip."""
        extractor = self.processor.feature_extractor
        return int(audio_token_length(round(seconds * extractor.sampling_rate) // extractor.hop_length))

    def _form(self, dialogue: Dialogue, rng: random.Random) -> Form:
        stream, thinking = dialogue.stream, self._thinking(dialogue, rng)
        in_turns = rng.random() < self.options.in_turns and self._has_room_for_turns(dialogue)
        name = {"s2t": "speech_to_text", "t2t": "text_to_text", "t2s": "speak", "s2s": "talk"}[stream]
        name += "_think" * (thinking != "off") + "_in_turns" * in_turns
        kinds = {stream: True, "in_turns": in_turns, "thinks": thinking != "off", "history": len(dialogue.turns) > 2}
        room = min((share for kind, share in TIGHT.items() if kinds.get(kind)), default=1.0)
        return Form(modes.MODES[name], thinking, room)

    def _thinking(self, dialogue: Dialogue, rng: random.Random) -> str:
        """How this reply thinks; only sound is thought about."""
        question, reply = dialogue.question, dialogue.reply
        spoken = question.audio is not None
        can = {
            "off": True,
            "tag": spoken and bool(question.text and question.labels),
            "language": spoken and bool(reply.thought),
        }
        weights = {name: weight for name, weight in self.options.thinking.items() if can[name]}
        return rng.choices(list(weights), list(weights.values()))[0] if any(weights.values()) else "off"

    def _has_room_for_turns(self, dialogue: Dialogue) -> bool:
        """Whether there is enough speech for the text: 3 ids for each of the text, its end included."""
        reply, question = dialogue.reply, dialogue.question
        answered = reply.text is not None  # a reply may begin with the tag of its feeling
        said = ReadAnswer(
            clean(reply.text or question.text or ""), emotion=(reply.emotion or NO_FEELING) if answered else None
        )
        text_ids = self.processor.text_ids(said.render())
        return SPEECH_TURN // TEXT_TURN * (len(text_ids) + 1) <= len(dialogue.reply.codes) + 2

    def _answer(self, dialogue: Dialogue, form: Form, rng: random.Random) -> SpokenAnswer:
        reply, in_turns = dialogue.reply, form.mode.says == "in_turns"
        codes = reply.codes or None
        if reply.text is None:
            return SpokenAnswer(clean(dialogue.question.text or "") if in_turns else None, codes, in_turns)
        thought = self._thought(dialogue, form.thinking, rng)
        feeling = {"tag": reply.emotion or NO_FEELING, "language": None, "off": reply.emotion}[form.thinking]
        text = ReadAnswer(clean(reply.text), emotion=feeling).render()
        return SpokenAnswer(text, codes, in_turns, thought)

    def _thought(self, dialogue: Dialogue, thinking: str, rng: random.Random) -> str:
        """The thought with its marks; a label that nobody knows is masked or a default."""
        if thinking == "off":
            return ""
        if thinking == "language":
            return Thought(free=clean(dialogue.reply.thought or "")).render()
        age, gender, emotion, event = (
            dialogue.question.labels.get(name) or (None if rng.random() < self.options.masked else default)
            for name, default in DEFAULTS.items()
        )
        words, feeling = clean(dialogue.question.text or ""), dialogue.reply.emotion or NO_FEELING
        return Thought(words, age, gender, emotion, event, feeling).render()


def _with_feeling(dialogue: Dialogue) -> Dialogue:
    """A text that is read aloud begins with the tag of its feeling, as a reply does."""
    question, reply = dialogue.question, dialogue.reply
    if dialogue.stream != "t2s" or reply.emotion is None:
        return dialogue
    return replace(dialogue, turns=(replace(question, text=f"<{reply.emotion}>{question.text}"), reply))


def clean(text: str) -> str:
    """A text as dialogues learn it: on one line, no space around Chinese characters; capitals stay (echat 2.5)."""
    return close_cjk(" ".join(text.split()))


def _turn(turn: DialogueTurn) -> Turn:
    """A turn as the prompt has it: what a user says is given as sound or as text, never as both."""
    if turn.audio is not None and turn.role == "user":
        return Turn("user", sounds=(turn.audio,))
    return Turn(turn.role, clean(turn.text or ""), codes=turn.codes)
