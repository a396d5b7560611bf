"""Filters of rows by their text: rate of speech, loops, language; and names that nobody can go back from."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from osum.errors import RecipeError
from osum.pipeline.row import DropError, Row
from osum.pipeline.step import step
from osum.scoring import mixed_units
from osum.text import CJK, is_broken, repetition

_SCRIPTS = {"zh": re.compile(f"[{CJK}]"), "en": re.compile("[A-Za-z]")}
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class TextOptions:
    """Of `text`."""

    min_rate: Annotated[float, Meta(ge=0)] = 0.3
    """Words (English) or characters (Chinese) a second."""
    max_rate: Annotated[float, Meta(gt=0)] = 8.0
    shortest: Annotated[int, Meta(ge=0)] = 1
    """Words or characters."""
    longest: Annotated[int, Meta(ge=1)] = 400


@step("text", version=1)
def text(row: Row, options: TextOptions) -> Row:
    """Leave out texts that are missing, broken, in a loop, or too long or too short for the time they are said in."""
    said = row.utterance.text
    if said is None:
        raise DropError("no text")
    if any(map(is_broken, said)):
        raise DropError("broken characters", repr(said[:40]))
    if loop := repetition(said):
        raise DropError("a loop", f"{loop[0][:20]!r} {loop[1]} times")
    count = len(mixed_units(said))
    if not options.shortest <= count <= options.longest:
        raise DropError(
            "text too short" if count < options.shortest else "text too long", f"{count} words or characters"
        )
    seconds = row.utterance.duration or len(row.samples) / 16_000
    rate = count / max(seconds, 1e-9)
    if count and not options.min_rate <= rate <= options.max_rate:
        raise DropError("spoken too slowly" if rate < options.min_rate else "spoken too fast", f"{rate:.1f} a second")
    return row


@dataclass(frozen=True)
class LanguageOptions:
    """Of `language`."""

    keep: tuple[Literal["zh", "en"], ...] = ("zh", "en")
    min_share: Annotated[float, Meta(gt=0.5, le=1)] = 0.8
    """Of the letters that are of the language's script."""


@step("language", version=1)
def language(row: Row, options: LanguageOptions) -> Row:
    """Detect Mandarin or English by the script of the text where no label says it, and keep the wanted languages."""
    found = row.utterance.language
    if found is None:
        found, share = script_of(row.utterance.text or "")
        if found is None or share < options.min_share:
            raise DropError("language not clear", f"{100 * share:.0f} % of the letters are of one script")
        row = row.labelled("language", found, model="script", score=share)
    if found not in options.keep:
        raise DropError("another language", found)
    return row


def script_of(said: str) -> tuple[str | None, float]:
    """The language whose script most letters are of, and their share; None for a text without letters."""
    letters = len(_LETTER.findall(said))
    counts = {name: len(script.findall(said)) for name, script in _SCRIPTS.items()}
    best = max(counts, key=counts.__getitem__)
    return (best, counts[best] / letters) if letters and counts[best] else (None, 0.0)


@dataclass(frozen=True)
class DeidentifyOptions:
    """Of `deidentify`."""

    secret: str = "OSUM_DEIDENTIFY_SECRET"
    """Environment variable with the secret: without it a name can be found by trying all names."""
    fields: tuple[Literal["id", "speaker"], ...] = ("id", "speaker")


@step("deidentify", version=1)
def deidentify(row: Row, options: DeidentifyOptions) -> Row:
    """Replace the names of rows and speakers by keyed hashes: the same name stays the same, nobody can go back."""
    secret = os.environ.get(options.secret, "").encode()
    if len(secret) < 8:
        raise RecipeError(f"{options.secret} in the environment has {len(secret)} bytes: set a secret of 8 or more")
    names = {name: value for name in options.fields if (value := getattr(row.utterance, name)) is not None}
    hidden = {name: _hidden(secret, f"{name}:{value}") for name, value in names.items()}
    return row.noting(cut_from=None, origin=None, attribution=None, wav=None, recording=None).with_(**hidden)


def _hidden(secret: bytes, name: str) -> str:
    return hmac.new(secret, name.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:16]
