"""Long labelled rows become rows that training takes: no word is lost, no row is too long, the sound is the same."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.manifests_of_others import RATE, noise, write_clip
from osum.corpus.clips import ClipAudio
from osum.corpus.cut import NO_WORDS, SILENCE, Cutter
from osum.corpus.packed import PackedWriter, to_int16
from osum.utterance import Answer, Segment, Utterance, Word

ANSWERS = {
    "SGC": Answer("female", 0.9, evidence="real"),
    "SER": Answer("unknown", 0.3),
    "VED": Answer("laugh", 0.8),
    "LID": Answer("en", 1.0),
    "SAP+SGC/age": Answer("adult", 0.7),
    "PITCH": Answer("high", 0.7),
}


def labelled(**changes: object) -> Utterance:
    """A recording of 60 s: speech, silence, speech."""
    segments = (
        Segment(0.0, 20.0, "hello there", (Word("hello", 1.0, 2.0), Word("there", 3.0, 4.0)), ANSWERS, "yes"),
        Segment(20.0, 50.0, no_speech=True),
        Segment(50.0, 60.0, "bye", (Word("bye", 51.0, 52.0),), {"SGC": Answer("male", 0.6)}),
    )
    row = Utterance(
        "talk", "talk.wav", 1, duration=60.0, text="hello there bye", language="en", speaker="ann", source="x",
        licence="CC0", tasks=("ASR",), segments=segments, model="m", revision="r", dtype="float32",
        extra={"prompts": {"ASR": "?"}, "reference": {"text": "other"}, "room": 7},
    )  # fmt: skip
    return row.with_(**changes)


def test_a_segment_becomes_a_row_with_all_that_is_known_of_it() -> None:
    cutter = Cutter()
    first, last = cutter.cut([labelled()])
    assert (first.id, first.path, first.channel, first.start, first.end) == ("talk-0000", "talk.wav", 1, 0.0, 20.0)
    assert (first.text, first.language, first.reply, first.words[1].start) == ("hello there", "en", "yes", 3.0)
    assert first.labels == {"gender": "female", "event": "laugh", "language": "en", "age": "adult"}
    assert (first.summary["SGC"].probability, first.summary["SGC"].evidence) == (0.9, "real")
    assert (first.speaker, first.source, first.licence, first.tasks) == ("ann", "x", "CC0", ("ASR",))
    assert (first.model, first.revision, first.dtype) == ("m", "r", "float32")
    assert first.extra == {"prompts": {"ASR": "?"}, "room": 7, "cut_from": "talk"}
    assert (last.id, last.labels, last.duration) == ("talk-0002", {"gender": "male"}, 10.0)
    assert (cutter.num_cut, cutter.left_out) == (1, {SILENCE: 1})


def test_a_row_that_is_short_enough_stays_as_it_is() -> None:
    assert list(Cutter(max_seconds=60.0).cut([labelled()])) == [labelled()]


def test_a_segment_that_is_too_long_is_cut_at_its_longest_pause() -> None:
    words = (Word("a", 0.0, 1.0), Word("b", 1.1, 2.0), Word("c", 3.0, 3.5), Word("d", 3.6, 5.0))
    row = labelled(segments=(Segment(0.0, 5.0, "a b c d", words, ANSWERS),), duration=5.0, text="a b c d")
    first, last = Cutter(max_seconds=4.0).cut([row])
    assert [(part.text, part.start, part.end) for part in (first, last)] == [("a b", 0.0, 2.3), ("c d", 2.7, 5.0)]
    assert first.id == "talk-0000-000"
    assert first.labels == {"gender": "female", "language": "en", "age": "adult"}  # when the laugh was nobody knows


def test_a_row_with_times_and_no_segments_is_cut_by_its_words() -> None:
    words = tuple(Word("no", float(at), at + 0.5) for at in range(60))
    row = labelled(segments=(), words=words, text=" ".join(["no"] * 60), labels={"gender": "male"})
    parts = list(Cutter(max_seconds=10.0).cut([row]))
    assert sum(len(part.words) for part in parts) == 60
    assert {tuple(part.labels.items()) for part in parts} == {(("gender", "male"),)}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (labelled(segments=()), NO_WORDS),
        (labelled(segments=(Segment(0.0, 60.0, "a b"),)), NO_WORDS),
        (labelled(error="broken"), "that failed to be labelled"),
        (labelled(duration=None, path="absent.wav"), "with audio that cannot be read"),
    ],
)
def test_what_cannot_be_cut_is_counted(row: Utterance, reason: str) -> None:
    cutter = Cutter()
    assert (list(cutter.cut([row])), cutter.left_out) == ([], {reason: 1})


@example([(0.0, 1.73979125247453), (1.0, 2.0)], 2.0, "no")  # 2 s by its parts, and a rounding more by its ends
@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.05, 2.0)), min_size=1, max_size=60),
    st.floats(2.0, 20.0),
    st.sampled_from(["no", "新"]),
)
def test_no_word_is_lost_and_no_row_is_too_long(gaps: list[tuple[float, float]], max_seconds: float, text: str) -> None:
    now, words = 0.0, []
    for gap, length in gaps:
        words.append(Word(text, now + gap, now + gap + length))
        now += gap + length
    row = Utterance("a", "a.wav", duration=now + 1.0, text="x", segments=(Segment(0.0, now + 1.0, "x", tuple(words)),))
    parts = list(Cutter(max_seconds=max_seconds).cut([row]))
    if row.duration is not None and row.duration > max_seconds:
        assert [word for part in parts for word in part.words] == words
        for part in parts:
            start, end = part.start or 0.0, part.end or 0.0
            assert 0 <= start < end <= start + max_seconds + 1e-6
            assert all(start <= word.start <= word.end <= end + 1e-6 for word in part.words)
        assert all((a.end or 0) <= (b.start or 0) + 1e-6 for a, b in itertools.pairwise(parts))


def test_a_segment_of_a_packed_recording_is_read_from_where_it_is(tmp_path: Path) -> None:
    with PackedWriter(tmp_path / "audio.i16") as packed:
        packed.append(to_int16(noise(1.0)))
        place = packed.append(to_int16(noise(4.0, seed=1)))
    segments = (Segment(0.5, 2.0, "a"), Segment(2.0, 4.0, "b"))
    row = Utterance("a", str(tmp_path / "audio.i16"), duration=4.0, text="a b", segments=segments, extra=dict(place))
    first, _ = Cutter(max_seconds=2.0).cut([row])
    assert np.array_equal(ClipAudio().read(first), noise(4.0, seed=1)[RATE // 2 : 2 * RATE])
    assert ClipAudio().duration(first) == 1.5


def test_a_segment_of_a_file_is_a_stretch_of_it(tmp_path: Path) -> None:
    path = str(write_clip(tmp_path / "a.wav", 4.0))
    row = Utterance("a", path, start=1.0, duration=3.0, text="a b", segments=(Segment(1.0, 2.5, "a"),))
    (first,) = Cutter(max_seconds=2.0).cut([row])
    assert np.array_equal(ClipAudio().read(first), noise(4.0)[RATE : RATE * 5 // 2])


def test_rows_that_are_left_out_are_named_up_to_a_few() -> None:
    cutter = Cutter()
    rows = [Utterance(f"r{at}", "a.wav", duration=99.0) for at in range(9)]
    assert list(cutter.cut(rows)) == []
    assert cutter.left_out == {NO_WORDS: 9} and list(cutter.named[NO_WORDS]) == ["r0", "r1", "r2", "r3", "r4"]
