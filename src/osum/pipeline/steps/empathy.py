"""Spoken empathetic dialogues: from a seed (topic, persona, cues) a language model writes what is said and replied.

A seed is a row of text alone with the labels that the user's voice is to carry, and `topic` and `persona` in `extra`;
`osum pipeline seeds` draws them. Source: the way of EChat-200K as its paper describes it; the prompts are our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, cast

import yaml
from msgspec import Meta

from osum.errors import RecipeError
from osum.peers.completion import Schema
from osum.pipeline.row import NO_SOUND, DropError, Row
from osum.pipeline.step import digest, step
from osum.pipeline.steps.filters import script_of
from osum.pipeline.steps.writing import (
    PROMPTS,
    EndpointOptions,
    WritingStep,
    check_reply,
    prompt_filled,
    prompt_named,
)
from osum.tasks import AGES, EMOTIONS, EVENTS, GENDERS, REPLY_EMOTIONS, LabelSet
from osum.utterance import Utterance

CUES: dict[str, LabelSet] = {"emotion": EMOTIONS, "age": AGES, "gender": GENDERS, "event": EVENTS}


def seeds(count: int, language: str, seed: int = 0, most_cues: int = 2) -> Iterator[Utterance]:
    """Topics, personas and one or several cues, drawn; equal arguments give equal seeds.

    Raises:
        RecipeError: there are no topics in the language.
    """
    known: dict[str, Any] = yaml.safe_load((PROMPTS / "seeds.yaml").read_text("utf-8"))
    if language not in known:
        raise RecipeError(f"no topics in language {language!r}: use {' or '.join(known)}")
    drawn = random.Random(f"{language} {seed}")
    for number in range(count):
        cues = drawn.sample(sorted(CUES), drawn.randint(1, most_cues))
        labels = {cue: drawn.choice([label for label in CUES[cue].labels if label != "other"]) for cue in cues}
        extra = {"topic": drawn.choice(known[language]["topics"]), "persona": drawn.choice(known[language]["personas"])}
        name = f"seed-{language}-{seed}-{number:07d}"
        yield Utterance(name, NO_SOUND, language=language, labels=labels, source="synthetic", extra=extra)


@dataclass(frozen=True)
class WriteDialogueOptions:
    """Of `write_dialogue`."""

    endpoint: EndpointOptions
    longest_question: Annotated[int, Meta(ge=1)] = 60
    """Words or characters."""
    longest_reply: Annotated[int, Meta(ge=1)] = 100
    longest_thought: Annotated[int, Meta(ge=1)] = 160


@step("write_dialogue", version=2)
class WriteDialogue(WritingStep):
    """Let a language model write what the user says, what the assistant thinks, and how it replies, from a seed."""

    options: WriteDialogueOptions

    def identity(self) -> str:
        """See `ModelStep`."""
        prompts = [asdict(prompt_named("dialogue", language)) for language in ("en", "zh")]
        return f"{super().identity()} {digest(str(prompts))}"

    def messages(self, row: Row) -> list[dict[str, str]]:
        """See `WritingStep`."""
        cues = {name: label for name, label in row.utterance.labels.items() if name in CUES}
        if not cues or "topic" not in row.extra:
            raise DropError("no seed", "labels and a topic are needed: osum pipeline seeds draws them")
        shown = ", ".join(f"{name}: {label}" for name, label in sorted(cues.items()))
        prompt = prompt_named("dialogue", row.utterance.language or "en")
        return prompt_filled(prompt, {"cues": shown, **{name: str(row.extra[name]) for name in ("topic", "persona")}})

    def schema(self, row: Row) -> Schema:  # noqa: ARG002
        """See `WritingStep`."""
        return Schema("dialogue", {"user": None, "thought": None, "reply": None, "emotion": REPLY_EMOTIONS.labels})

    def apply(self, row: Row, answer: Any) -> Row:
        """See `ModelStep`."""
        limits = {"user": self.options.longest_question, "thought": self.options.longest_thought}
        for part, longest in {**limits, "reply": self.options.longest_reply}.items():
            try:
                check_reply(answer[part], longest)
            except DropError as fault:
                raise DropError(fault.reason.replace("reply", part, 1), fault.detail) from fault
            if row.utterance.language not in (None, script_of(answer[part])[0]):
                raise DropError(f"{part} in another language", answer[part][:60])
        writer = self.endpoint.name
        made = row.labelled("text", answer["user"].strip(), writer).labelled("reply", answer["reply"].strip(), writer)
        return made.labelled("reply_emotion", answer["emotion"], writer).noting(thought=answer["thought"].strip())


@dataclass(frozen=True)
class JudgeDialogueOptions:
    """Of `judge_dialogue`."""

    endpoint: EndpointOptions
    min_score: Annotated[int, Meta(ge=1, le=5)] = 4


@step("judge_dialogue", version=1)
class JudgeDialogue(WritingStep):
    """Let a language model score from 1 to 5 how well a reply fits words and cues, and leave out what is below."""

    options: JudgeDialogueOptions

    def identity(self) -> str:
        """See `ModelStep`."""
        prompts = [asdict(prompt_named("judge", language)) for language in ("en", "zh")]
        return f"{super().identity()} {digest(str(prompts))}"

    def messages(self, row: Row) -> list[dict[str, str]]:
        """See `WritingStep`."""
        if not (row.utterance.text and row.utterance.reply):
            raise DropError("no dialogue", "a text and a reply are needed")
        cues = ", ".join(f"{name}: {label}" for name, label in sorted(row.utterance.labels.items()) if name in CUES)
        prompt = prompt_named("judge", row.utterance.language or "en")
        return prompt_filled(prompt, {"cues": cues, "text": row.utterance.text, "reply": row.utterance.reply})

    def schema(self, row: Row) -> Schema:  # noqa: ARG002
        """See `WritingStep`."""
        return Schema("score", {"score": (1, 2, 3, 4, 5)})

    def apply(self, row: Row, answer: Any) -> Row:
        """See `ModelStep`."""
        score = cast(int, answer["score"])
        if score < self.options.min_score:
            raise DropError("judged badly", str(score))
        return row.noting(judge_score=score, judge=self.endpoint.name)
