"""What every format sees of an utterance."""

from __future__ import annotations

from osum.results.view import join_words
from osum.utterance import Word


def test_chinese_characters_are_joined_without_spaces() -> None:
    assert join_words(Word(text, 0, 0) for text in ("你", "好", "hello", "world", "吗")) == "你好 hello world 吗"
