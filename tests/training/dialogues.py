"""Dialogues for the tests of training: noises as sound, one row of each stream and one of two exchanges."""

from __future__ import annotations

from pathlib import Path

from corpus.manifests_of_others import write_clip

from osum.corpus.dialogues import Dialogue, DialogueTurn, write_dialogues

THOUGHT = "A child asks."


def user(text: str | None = None, audio: str | None = None, **labels: str) -> DialogueTurn:
    return DialogueTurn("user", text, audio, labels=labels)


def assistant(text: str | None = None, codes: int = 0, **more: str) -> DialogueTurn:
    """A reply of so many codes from 0 to 5."""
    return DialogueTurn("assistant", text, codes=tuple(place * place % 6 for place in range(codes)), **more)  # type: ignore[arg-type]


def dialogues(folder: Path) -> list[Dialogue]:
    sounds = [str(write_clip(folder / f"{name}.wav", 0.3 + 0.1 * seed, seed)) for seed, name in enumerate("abc")]
    asked = user("tea?", sounds[0], age="child", emotion="sad")
    return [
        Dialogue("s2t", (asked, assistant("yes", thought=THOUGHT, emotion="开心"))),
        Dialogue("s2s", (user("tea?", sounds[1], age="old"), assistant("ok", 60, thought=THOUGHT))),
        Dialogue("t2s", (user("hi"), assistant(None, 30))),
        Dialogue("t2t", (user("hi"), assistant("hello"))),
        Dialogue("two", (asked, assistant("ok", 12), user(None, sounds[2]), assistant("yes", 20))),
    ]


def write(folder: Path) -> Path:
    """The rows as a file."""
    write_dialogues(folder / "dialogues.jsonl", dialogues(folder))
    return folder / "dialogues.jsonl"
