"""A word is as likely as the tokens that spell it, together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from model.tiny import byte_tokenizer

from osum.engine.confidence import confidences

TOKENS = ["he", "llo", " wor", "ld a", "nd<happy", ">"]


def decode(ids: Sequence[int]) -> str:
    return "".join(TOKENS[token] for token in ids)


LOG_PROBS = [math.log(value) for value in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)]


def test_a_token_that_spells_parts_of_two_words_counts_for_both() -> None:
    ids = range(len(TOKENS))
    found = confidences(decode(ids), ["hello", "World", "and"], ids, LOG_PROBS, decode)
    assert found == pytest.approx([0.72, 0.42, 0.3])


def test_what_was_not_written_has_no_confidence() -> None:
    ids = range(2)
    assert confidences("hello", ["help", "hello"], ids, LOG_PROBS[:2], decode) == [None, pytest.approx(0.72)]
    assert confidences("hello", ["hello"], ids, [], decode) == [None]


def test_a_character_of_several_tokens_is_as_likely_as_all_of_them() -> None:
    tokenizer = byte_tokenizer()
    ids = list("新年a".encode())
    log_probs = [math.log(0.9)] * 3 + [math.log(0.5)] * 3 + [math.log(0.7)]
    found = confidences("新年a", ["新", "年", "a"], ids, log_probs, tokenizer.decode)
    assert found == pytest.approx([0.729, 0.125, 0.7])


def test_digits_of_times_and_names_of_tags_are_no_words() -> None:
    raw = "<0.70>7<0.90><0.90>İs<1.00><happy>"
    sure = [0.5 if letter == "7" and at != 3 else 0.9 for at, letter in enumerate(raw)]
    ids = list(range(len(raw)))
    found = confidences(raw, ["7", "happy"], ids, [math.log(value) for value in sure], lambda row: raw[: len(row)])
    assert found == [pytest.approx(0.5), None]
