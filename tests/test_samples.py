"""The clips of samples/: valid rows with true labels and licences, and none of them trained the packaged model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osum import audio
from osum.corpus.manifest import read_manifest
from osum.corpus.packed import to_int16
from osum.tasks import OSUM
from osum.utterance import Utterance
from recipes.nano.training_list import clip_hash

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "samples"
ROWS = list(read_manifest(SAMPLES / "manifest.jsonl"))
LISTED = json.loads((ROOT / "src/osum/assets/nano/training_list.json").read_text(encoding="utf-8"))
"""Written by `python -m recipes.nano.training_list DATA src/osum/assets/nano/training_list.json`."""

per_clip = pytest.mark.parametrize("row", ROWS, ids=lambda row: Path(row.path).name)


def groups(row: Utterance) -> set[str]:
    """The speaker of a clip, and the recording it was cut from."""
    return {name for name in (row.speaker, row.extra.get("clip_group")) if name}


def test_every_clip_of_the_folder_has_one_row() -> None:
    assert sorted(row.path for row in ROWS) == sorted(map(str, SAMPLES.glob("*.flac")))
    assert len({row.id for row in ROWS}) == len(ROWS)


@per_clip
def test_the_model_was_not_trained_on_the_clip(row: Utterance) -> None:
    found = clip_hash(to_int16(audio.load(row.path)))
    assert [source for source, part in LISTED.items() if found in part["sha256"]] == []


@per_clip
def test_the_model_was_trained_on_neither_its_speaker_nor_its_recording(row: Utterance) -> None:
    assert [source for source, part in LISTED.items() if groups(row) & set(part["speakers"])] == []


@per_clip
def test_a_clip_of_a_training_source_names_its_speaker_or_recording(row: Utterance) -> None:
    assert row.source not in LISTED or groups(row)


@per_clip
def test_names_of_speakers_are_written_as_in_the_training_list(row: Utterance) -> None:
    prefixes = {name[:2] for name in LISTED.get(row.source or "", {"speakers": ()})["speakers"]}
    assert not prefixes or {name[:2] for name in groups(row)} <= prefixes


def test_the_acted_set_that_allows_no_commercial_use_was_not_trained_on() -> None:
    assert not any("ravdess" in f"{source} {part['speakers']}".lower() for source, part in LISTED.items())


@per_clip
def test_a_clip_has_a_source_a_licence_and_an_origin(row: Utterance) -> None:
    assert row.source and row.licence and row.extra["origin"]


@per_clip
def test_its_labels_are_of_our_label_sets(row: Utterance) -> None:
    assert all(label in OSUM.label_sets[name].labels for name, label in row.labels.items())
    assert row.language in (None, *OSUM.label_sets["language"].labels)


@per_clip
def test_its_duration_is_that_of_the_file(row: Utterance) -> None:
    info = audio.probe(row.path)
    assert (info.rate, info.channels) == (audio.SAMPLE_RATE, 1)
    assert row.duration == pytest.approx(info.duration, abs=0.001)


@per_clip
def test_its_row_is_written_as_it_was_read(row: Utterance) -> None:
    assert Utterance.from_dict(row.to_dict()) == row
