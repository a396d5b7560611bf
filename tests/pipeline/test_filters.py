"""Filters by text, and names that nobody can go back from."""

from __future__ import annotations

import pytest

from osum.errors import RecipeError
from osum.pipeline.row import DropError, Row
from osum.pipeline.steps.filters import (
    DeidentifyOptions,
    LanguageOptions,
    TextOptions,
    deidentify,
    language,
    text,
)
from osum.utterance import Utterance


def row(said: str | None, seconds: float = 2.0, **fields: str) -> Row:
    return Row(Utterance("a", "-", text=said, duration=seconds, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, "no text"),
        ("", "text too short"),
        ("a b\ufffd", "broken characters"),
        ("thank you very much " * 9, "a loop"),
        ("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen",
         "spoken too fast"),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_is_left_out(said: str | None, reason: str) -> None:
    with pytest.raises(DropError) as raised:
        text(row(said), TextOptions())
    assert raised.value.reason == reason


def test_a_text_that_fits_its_time_stays() -> None:
    assert text(row("新年快乐"), TextOptions()) and text(row("happy new year"), TextOptions())
    with pytest.raises(DropError, match="spoken too slowly"):
        text(row("hello", 60), TextOptions())


@pytest.mark.parametrize(("said", "found"), [("你好世界", "zh"), ("hello", "en")])
def test_the_script_gives_the_language(said: str, found: str) -> None:
    assert language(row(said), LanguageOptions()).utterance.language == found


@pytest.mark.parametrize("said", ["привет", "123", "你好 hello", ""])
def test_a_text_of_no_clear_language_is_left_out(said: str) -> None:
    with pytest.raises(DropError, match="language not clear"):
        language(row(said), LanguageOptions())


def test_a_language_that_is_not_wanted_is_left_out() -> None:
    with pytest.raises(DropError, match="another language: en"):
        language(row("hello", language="en"), LanguageOptions(keep=("zh",)))


def test_names_become_hashes_that_need_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSUM_DEIDENTIFY_SECRET", "correct horse")
    one, other = (deidentify(row("x", speaker="ann"), DeidentifyOptions()).utterance for _ in range(2))
    assert one == other and one.speaker not in ("ann", None) and one.id != "a"
    monkeypatch.setenv("OSUM_DEIDENTIFY_SECRET", "another secret")
    assert deidentify(row("x", speaker="ann"), DeidentifyOptions()).utterance.speaker != one.speaker
    monkeypatch.setenv("OSUM_DEIDENTIFY_SECRET", "short")
    with pytest.raises(RecipeError, match="has 5 bytes"):
        deidentify(row("x"), DeidentifyOptions())
