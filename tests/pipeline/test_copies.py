"""Duplicates and leaks: what is one recording, at another level, cut or coded again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from osum.corpus.manifest import read_manifest
from osum.corpus.waveform import transcode
from osum.errors import InputError
from osum.pipeline.row import DropError, Row
from osum.pipeline.steps.copies import (
    DuplicatesOptions,
    LeakageOptions,
    SplitOptions,
    duplicates,
    fingerprint,
    leakage,
    likeness,
    sketch,
    split,
)
from osum.utterance import Utterance

CLIPS = [Row(row) for row in read_manifest(Path(__file__).parents[2] / "samples/manifest.jsonl")]


def rows(*given: Row) -> Callable[[], Iterator[Row]]:
    return lambda: iter(given)


def changed(row: Row, change: Callable[[np.ndarray], np.ndarray], name: str) -> Row:
    return fingerprint(row.heard_as(change(row.samples)).with_(id=name))


def test_different_recordings_are_not_one() -> None:
    found = [fingerprint(row) for row in CLIPS]
    assert list(duplicates(rows(*found), DuplicatesOptions())) == found


@pytest.mark.parametrize(
    "change",
    [lambda samples: 0.2 * samples, lambda samples: samples[1000:], lambda samples: samples[: 2 * len(samples) // 3]],
    ids=["quieter", "begins later", "ends sooner"],
)
def test_a_copy_is_left_out(change: Callable[[np.ndarray], np.ndarray]) -> None:
    found = [fingerprint(row) for row in CLIPS]
    copies = [changed(row, change, f"{row.id}-copy") for row in CLIPS]
    outcomes = list(duplicates(rows(*found, *copies), DuplicatesOptions()))
    reported = [outcome for outcome in outcomes[len(found) :] if isinstance(outcome, DropError)]
    assert outcomes[: len(found)] == found and len(reported) >= len(copies) - 1
    assert all(drop.reason == "duplicate sound" for drop in reported)


def test_most_copies_of_a_lossy_codec_are_left_out() -> None:
    alike = [likeness(sketch(row.samples), sketch(transcode(row.samples, "mp3"))) for row in CLIPS]
    assert np.mean(np.array(alike) >= DuplicatesOptions().alike) > 0.6


def test_so_many_rows_of_a_text_are_kept() -> None:
    found = [fingerprint(row).with_(text="The same, twice!") for row in CLIPS[:4]]
    outcomes = list(duplicates(rows(*found), DuplicatesOptions(most_per_text=2)))
    assert [isinstance(outcome, Row) for outcome in outcomes] == [True, True, False, False]


def test_a_missing_fingerprint_is_named() -> None:
    with pytest.raises(InputError, match="put the step fingerprint before"):
        list(duplicates(rows(*CLIPS), DuplicatesOptions()))


def test_a_speaker_is_in_one_split_and_so_are_the_pieces_of_a_recording() -> None:
    shares = SplitOptions(shares={"train": 0.5, "test": 0.5})
    made = [Row(Utterance(f"{at}", "-", speaker=f"s{at % 7}")) for at in range(70)]
    pieces = [Row(Utterance(f"{at}", "-")).noting(cut_from=f"r{at % 7}") for at in range(70)]
    for given, name in ((made, lambda row: row.utterance.speaker), (pieces, lambda row: row.extra["cut_from"])):
        found = {(name(row), split(row, shares).extra["split"]) for row in given}
        assert len(found) == 7 and {part for _, part in found} == {"train", "test"}


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(InputError, match="they must sum to 1"):
        SplitOptions(shares={"train": 0.5})


def test_what_is_in_another_split_leaves_the_training_split() -> None:
    test = fingerprint(CLIPS[0]).noting(split="test").with_(speaker="ann", text="hello there")
    sound = changed(CLIPS[0], lambda samples: 0.5 * samples, "copy").noting(split="train").with_(speaker="b", text="x")
    speaker = fingerprint(CLIPS[1]).noting(split="train").with_(speaker="ann", text="y")
    text = fingerprint(CLIPS[2]).noting(split="train").with_(speaker="c", text="Hello, there.")
    good = fingerprint(CLIPS[3]).noting(split="train").with_(speaker="d", text="z")
    outcomes = list(leakage(rows(sound, speaker, text, good, test), LeakageOptions(text=True)))
    assert [str(outcome).partition(":")[0] for outcome in outcomes[:3]] == [
        "sound of another split", "speaker of another split", "text of another split",
    ]  # fmt: skip
    assert outcomes[3:] == [good, test]
