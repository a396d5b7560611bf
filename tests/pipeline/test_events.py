"""Events in speech and noise under it: what is known before is known after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from osum.corpus.manifest import read_manifest
from osum.errors import InputError, RecipeError
from osum.pipeline.row import DropError, Row
from osum.pipeline.steps.events import (
    InsertEventsOptions,
    NoiseOptions,
    TrustedOptions,
    insert_events,
    noise,
    trusted,
)
from osum.utterance import Utterance

MANIFEST = Path(__file__).parents[2] / "samples/manifest.jsonl"
SAMPLES = {Path(row.path).stem: row for row in read_manifest(MANIFEST)}
SPEECH = [Row(SAMPLES[name]) for name in ("en_jfk", "en_word_times", "zh_sentence_2", "zh_sentence_3", "en_child_boy")]


@pytest.mark.parametrize("at", ["silence", "speech"])
@pytest.mark.parametrize("row", SPEECH, ids=lambda row: row.id)
def test_the_event_is_where_its_time_says(at: str, row: Row) -> None:
    made = insert_events(row, InsertEventsOptions(events=str(MANIFEST), at=at, level=(0, 0)))  # type: ignore[arg-type]
    (event,) = made.utterance.events
    assert made.utterance.labels["event"] == event.event in ("cry", "laugh", "sneeze")
    assert (made.utterance.text, made.utterance.speaker) == (row.utterance.text, row.utterance.speaker)
    first, last = round(event.start * 16_000), round(event.end * 16_000)
    assert 0 <= first < last <= len(made.samples) + 1
    front = len(made.samples) - len(row.samples) if first == 0 else 0
    speech, outside = made.samples[front : front + len(row.samples)], np.ones(len(row.samples), bool)
    outside[max(first - front, 0) : max(last - front, 0)] = False
    scale = np.dot(speech[outside], row.samples[outside]) / np.dot(row.samples[outside], row.samples[outside])
    assert 0.2 < scale <= 1.01 and np.abs(speech - scale * row.samples)[outside].max() < 1e-3
    assert np.abs(speech - scale * row.samples)[~outside].max(initial=1) > 1e-2


def test_the_same_row_gets_the_same_event_whatever_comes_before() -> None:
    options = InsertEventsOptions(events=str(MANIFEST))
    one, other = insert_events(SPEECH[0], options), insert_events(SPEECH[0], options)
    assert np.array_equal(one.samples, other.samples) and one.utterance == other.utterance
    assert not np.array_equal(
        one.samples, insert_events(SPEECH[0], InsertEventsOptions(events=str(MANIFEST), seed=1)).samples
    )


def test_speech_with_an_event_gets_no_second_one() -> None:
    with pytest.raises(DropError, match="has an event already"):
        insert_events(Row(SAMPLES["laugh_1"]), InsertEventsOptions(events=str(MANIFEST)))


def test_a_dialogue_gets_the_event_of_its_cue_and_keeps_the_rest() -> None:
    options = InsertEventsOptions(events=str(MANIFEST), of="label")
    cued = SPEECH[4].with_(labels={"event": "sneeze", "emotion": "sad"}, reply="Bless you!")
    made = insert_events(cued, options).utterance
    assert [event.event for event in made.events] == ["sneeze"] and made.extra["event_from"] == "samples/sneeze"
    assert (made.labels, made.reply) == (cued.utterance.labels, "Bless you!")
    assert insert_events(SPEECH[4], options) is SPEECH[4]
    with pytest.raises(DropError, match=r"no sound of this event: cough: .* has cry, laugh, sneeze"):
        insert_events(cued.with_(labels={"event": "cough"}), options)
    with pytest.raises(DropError, match="has an event already"):
        insert_events(cued.with_(events=made.events), options)


def test_a_conversion_that_is_not_installed_is_named() -> None:
    with pytest.raises(RecipeError, match="did you mean 'shift'"):
        insert_events(SPEECH[0], InsertEventsOptions(events=str(MANIFEST), conversion="shft"))
    with pytest.raises(InputError, match="events is missing"):
        InsertEventsOptions()


def test_noise_has_its_ratio_and_the_labels_stay() -> None:
    row = SPEECH[0]
    clean, noisy, again = noise(row, NoiseOptions(snr=(10, 10), copies=2))
    assert clean == row and noisy.utterance.labels == row.utterance.labels
    assert [noisy.id, again.id] == [f"{row.id}-noisy0", f"{row.id}-noisy1"]
    gain = float(np.dot(noisy.samples, row.samples) / np.dot(row.samples, row.samples))
    rest = noisy.samples / gain - row.samples
    assert 10 * np.log10((row.samples**2).mean() / (rest**2).mean()) == pytest.approx(10, abs=0.5)


def test_trusted_labels_are_of_people_and_years_become_three_ages() -> None:
    options = TrustedOptions(sources=("kit",), need=("age",))
    ages = []
    for years in (6, 12, 13, 40, 60, 90):
        row = Row(Utterance("a", "-", source="kit", extra={"age_years": years}))
        made = trusted(row, options)
        ages.append(made.utterance.labels["age"])
        assert made.extra["provenance"]["age"]["model"] == "kit"
    assert ages == ["child", "child", "adult", "adult", "old", "old"]
    with pytest.raises(DropError, match="not a trusted source: web"):
        trusted(Row(Utterance("a", "-", source="web", labels={"age": "child"})), options)
    with pytest.raises(DropError, match="no age"):
        trusted(Row(Utterance("a", "-", source="kit")), options)
