"""Overlapping windows put together: no word lost, none twice, times in order."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import noise

from osum.audio import SAMPLE_RATE
from osum.listening.longform import Silence, windows
from osum.listening.merge import Seam, in_sequence, merge, num_shared, seam_of
from osum.listening.vad import Energy
from osum.scoring.normalize import mixed_units
from osum.text import join_units
from osum.utterance import Answer, Segment, Word

FEW = ("ha", "no", "新")
SEEDS = st.integers(0, 10**9)


def paces(random: Random, count: int) -> list[tuple[int, int]]:
    """Hundredths of a second of each word and of the gap behind it, too short for a pause."""
    quick = random.random() / 2
    return [
        (15, 0) if random.random() < quick else (random.randint(15, 60), random.randint(0, 12)) for _ in range(count)
    ]


def said(texts: list[str], lengths: list[tuple[int, int]]) -> list[Word]:
    ends = [0, *accumulate(word + gap for word, gap in lengths)]
    return [
        Word(text, begin / 100, (begin + word) / 100, confidence=at)
        for at, (text, begin, (word, _)) in enumerate(zip(texts, ends, lengths, strict=False))
    ]


def recognise(words: list[Word], start: float, end: float, timed: bool, late: float = 0.0) -> Segment:
    """What a recogniser gives that recognises only whole words, and gives something else for a part of one."""
    inside = [word for word in words if word.end > start and word.start < end]
    recognised = [
        Word(
            word.text if word.start >= start and word.end <= end else "uh",
            word.start + late,
            word.end + late,
            word.confidence,
        )
        for word in inside
    ]
    recognised = [replace(w, start=min(max(w.start, start), end), end=max(min(w.end, end), start)) for w in recognised]
    return Segment(
        start,
        end,
        text=join_units(w.text for w in recognised),
        confidences=tuple(w.confidence for w in recognised),
        words=tuple(recognised) if timed else (),
    )


def text_of(segments: tuple[Segment, ...]) -> str:
    return join_units(segment.text for segment in segments if segment.text)


@given(SEEDS, st.booleans(), st.floats(-0.05, 0.05))
def test_what_windows_share_is_said_once(seed: int, repeats: bool, late: float) -> None:
    """Repeated words are distinguished by their times; without times no two words are the same here."""
    random = Random(seed)
    lengths = paces(random, random.randint(40, 80))
    texts = [random.choice(FEW) if repeats else f"w{at}" for at in range(len(lengths))]
    words = said(texts, lengths)
    edges = [(0.0, 8.0), (5.0, 13.0), (9.5, words[-1].end)]
    edges = [(a, min(b, words[-1].end)) for a, b in edges if a < words[-1].end - 3]
    recognised = [recognise(words, *edge, timed=repeats, late=late * n) for n, edge in enumerate(edges)]
    found = in_sequence(reversed(recognised))
    if repeats:
        assert [word.text for each in found for word in each.words] == texts
    else:
        assert text_of(found) == " ".join(texts)
        assert [sure for each in found for sure in each.confidences] == list(range(len(texts)))
    assert [found[0].start, *(each.end for each in found)] == [0, *(each.start for each in found[1:]), found[-1].end]


@given(SEEDS, st.floats(-0.4, 0.4))
def test_times_run_on_across_the_seam(seed: int, late: float) -> None:
    words = said([FEW[at % 3] for at in range(50)], paces(Random(seed), 50))
    first, second = merge(recognise(words, 0, 6, True), recognise(words, 3, 9, True, late))
    times = [time for each in (first, second) for word in each.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert first.end == second.start and all(word.end <= first.end for word in first.words)


def test_labels_and_replies_stay_with_their_windows() -> None:
    left = Segment(0, 4, "a b", labels={"SER": Answer("sad")}, reply="oh")
    right = Segment(2, 6, "b c", labels={"SER": Answer("happy")})
    first, second = merge(left, right)
    assert (first.labels, first.reply, second.labels) == (left.labels, "oh", right.labels)
    assert (first.text, second.text) == ("a b", "c")


def test_segments_that_do_not_overlap_stay_as_they_are() -> None:
    segments = (Segment(0, 4.00004, "a b"), Segment(4, 6, "b c"), Segment(9, 12, "c"))
    assert in_sequence(segments[::-1]) == segments


@pytest.mark.parametrize(
    ("left", "right", "seam"),
    [
        ("a b c d", "c d e", (3, 1)),
        ("a b c uh", "oh b c d", (2, 2)),
        ("a b", "c d", None),
        ("", "a", None),
        ("a b x c d e", "b c d e f", (5, 3)),
    ],
)
def test_the_seam_is_in_the_longest_common_run(left: str, right: str, seam: tuple[int, int] | None) -> None:
    found = seam_of(left.split(), right.split())
    assert found == (seam and Seam(*seam))


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_a_seam_goes_over_between_two_common_units(left: list[str], right: list[str]) -> None:
    found = seam_of(left, right)
    if found is None:
        return
    assert left[found.left - 1] == right[found.right - 1]
    assert seam_of(left, left[max(0, len(left) - 3) :]) is not None


def test_where_one_window_recognised_nothing_the_other_gives_up_nothing() -> None:
    silent, spoken = Segment(0, 4, "", no_speech=True), Segment(2, 6, "a b c")
    assert text_of(in_sequence([silent, spoken])) == "a b c"
    spoken, silent = Segment(0, 4, "a b c"), Segment(2, 6, "", no_speech=True)
    assert text_of(in_sequence([spoken, silent])) == "a b c"


def test_where_the_windows_disagree_about_all_they_share_each_has_its_half() -> None:
    left = (Word("a", 0, 1), Word("b", 2.2, 2.5), Word("c", 3.2, 3.6))
    right = (Word("x", 2.1, 2.4), Word("y", 3.2, 3.6), Word("z", 5, 6))
    segments = in_sequence([Segment(0, 4, words=left), Segment(2, 6, words=right)])
    assert [word.text for each in segments for word in each.words] == ["a", "b", "y", "z"]


# Cutting and merging together


def sound_of(words: list[Word], seconds: float) -> np.ndarray:
    """Something sounds wherever a word is."""
    samples = 1e-4 * noise(round(seconds * SAMPLE_RATE))
    for word in words:
        begin, stop = round(word.start * SAMPLE_RATE), round(word.end * SAMPLE_RATE)
        samples[begin:stop] = noise(stop - begin, begin)
    return samples.astype(np.float32)


@settings(max_examples=25)
@given(SEEDS, st.integers(1, 4), st.booleans())
def test_no_word_of_spliced_audio_is_lost_or_doubled(seed: int, phrases: int, timed: bool) -> None:
    random = Random(seed)
    lengths: list[tuple[int, int]] = []
    for _ in range(phrases):
        lengths += paces(random, random.randint(1, 40))
        lengths[-1] = (lengths[-1][0], random.choice([0, random.randint(25, 500)]))
    texts = [f"w{at}" for at in range(len(lengths))]
    words = said(texts, lengths)
    seconds = sum(word + gap for word, gap in lengths) / 100
    pieces = list(windows([sound_of(words, seconds)], 8 * SAMPLE_RATE, Energy()))
    recognised = [
        Segment(piece.start / SAMPLE_RATE, piece.end / SAMPLE_RATE, no_speech=True)
        if isinstance(piece, Silence)
        else recognise(words, piece.start / SAMPLE_RATE, piece.end / SAMPLE_RATE, timed)
        for piece in pieces
    ]
    found = in_sequence(recognised)
    assert text_of(found) == " ".join(texts)
    assert [word.text for each in found for word in each.words] == (texts if timed else [])
    assert all(one.end == other.start for one, other in pairwise(found))


# A perfect listener, words that repeat


def cut_and_merged(
    pattern: list[str], count: int, seed: int, limit: float, shared: float, timed: bool, steady: bool
) -> list[str]:
    """The words that are left, of words without a pause, each whole in one of the windows that share some seconds."""
    random = Random(seed)
    lengths = [(30, 0) if steady else (random.randint(12, 60), random.randint(0, 10)) for _ in range(count)]
    words = said([pattern[at % len(pattern)] for at in range(count)], lengths)
    start, segments = 0.0, []
    while not segments or segments[-1].end < words[-1].end:
        end = min(start + limit, words[-1].end)
        recognised = tuple(word for word in words if start <= (word.start + word.end) / 2 < end or word.end == end)
        segments.append(Segment(start, end, join_units(w.text for w in recognised), words=recognised if timed else ()))
        start = end - shared
    found = in_sequence(segments)
    if timed:
        assert [word.text for each in found for word in each.words] == [word.text for word in words]
    return mixed_units(" ".join(each.text for each in found))


PATTERNS = (["no"], ["one", "two", "three"], ["新"], ["对", "对", "的"], ["ha", "ha", "no"])


@given(st.sampled_from(PATTERNS), SEEDS, st.floats(4, 20), st.floats(0.2, 1), st.booleans())
def test_words_that_repeat_are_kept_to_the_last_where_they_have_times(
    pattern: list[str], seed: int, limit: float, share: float, steady: bool
) -> None:
    found = cut_and_merged(pattern, 120, seed, limit, share * limit / 4, timed=True, steady=steady)
    assert found == [pattern[at % len(pattern)] for at in range(120)]


@given(st.integers(3, 6), SEEDS, st.floats(12, 20), st.floats(3, 4))
def test_without_times_a_phrase_that_repeats_at_a_steady_rate_is_kept(
    size: int, seed: int, limit: float, shared: float
) -> None:
    pattern = [f"w{at}" for at in range(size)]
    found = cut_and_merged(pattern, 120, seed, limit, shared, timed=False, steady=True)
    assert found == [pattern[at % size] for at in range(120)]


@given(SEEDS, st.floats(12, 20), st.floats(2, 4), st.sampled_from(["no", "新"]))
def test_without_times_one_word_that_repeats_is_kept_to_one_a_cut(
    seed: int, limit: float, shared: float, word: str
) -> None:
    """Where only the rate shows how many words both windows contain, it may be wrong by one."""
    found = cut_and_merged([word], 120, seed, limit, shared, timed=False, steady=True)
    cuts = 36 // (limit - shared) + 1
    assert set(found) == {word} and abs(len(found) - 120) <= cuts


def test_the_worked_example_of_the_seam() -> None:
    first, second = merge(Segment(0, 4, "no no no no"), Segment(2, 6, "no no no"))
    assert len((first.text + " " + second.text).split()) == 5


def test_estimated_times_prove_nothing() -> None:
    words = tuple(Word("no", at, at + 1, estimated=True) for at in range(4))
    first, second = merge(Segment(0, 4, "no no no no", words=words), Segment(3, 7, "no no no no", words=words))
    assert len(first.words) + len(second.words) == 7


def test_overlaps_are_counted_and_touching_windows_are_none() -> None:
    segments = [Segment(start, end, "") for start, end in ((10, 19.5), (0, 10), (19, 28), (28, 30))]
    assert num_shared(segments) == 1
