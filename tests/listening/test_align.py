"""Times of a known text: of a clip, of rows of a corpus, of a text that was just recognised."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from engine.tiny_checkpoint import CLIPS, checkpoint_of, write_checkpoint
from hypothesis import given
from hypothesis import strategies as st
from model.tiny import noise

import osum
from osum.engine.options import GenerationOptions, LabelOptions
from osum.engine.request import Request, Result
from osum.errors import CheckpointError, InputError, TaskError
from osum.listening.align import Aligner, Spoken, timed_task
from osum.listening.given import agreement, dealt
from osum.listening.recognizer import Recognizer
from osum.listening.word_times import units_of
from osum.model.letters import LETTERS, LetterHead, letters, letters_of
from osum.results.formats import format_named
from osum.results.subtitle_options import SubtitleOptions
from osum.scoring.normalize import mixed_units
from osum.tasks import OSUM
from osum.utterance import Answer, Segment, Utterance, Word

SAMPLES = Path(__file__).parents[2] / "samples"
TEXT = "Good morning, 新年 good good 42!"
BRIEF = GenerationOptions(max_new_tokens=12)


def head() -> LetterHead:
    torch.manual_seed(0)
    return LetterHead(16).eval()


@pytest.fixture(params=[False, True], ids=["digits", "letters"])
def model(request: pytest.FixtureRequest) -> Recognizer:
    """Times by the task of word times, or by a letters head."""
    return Recognizer(replace(checkpoint_of("speech_first"), letters=head() if request.param else None))


def check(words: tuple[Word, ...], seconds: float) -> None:
    assert all(0 <= word.start < word.end <= seconds for word in words)
    assert all(one.end <= other.start for one, other in pairwise(words))


def test_a_text_keeps_its_spelling_and_gets_times_in_order(model: Recognizer) -> None:
    words = model.align(CLIPS[2], TEXT)
    assert [word.text for word in words] == ["Good", "morning,", "新", "年", "good", "good", "42!"]
    check(words, 0.733)


def test_a_clip_is_aligned_alone_as_in_a_batch(model: Recognizer) -> None:
    clips = [(Utterance(str(at), "x", text=TEXT), clip) for at, clip in enumerate(CLIPS[:3])]
    together = [row.words for row in model.align_clips(clips, LabelOptions(batch_size=3))]
    for words, (_, clip) in zip(together, clips, strict=True):
        for one, other in zip(words, model.align(clip, TEXT), strict=True):
            assert (one.text, one.estimated) == (other.text, other.estimated)
            assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=1e-3)


def test_what_has_no_letters_is_estimated_by_a_letters_head() -> None:
    recognizer = Recognizer(replace(checkpoint_of("speech_first"), letters=head()))
    words = recognizer.align(noise(48_000), "one 42 two three four")
    assert words[1].estimated and not all(word.estimated for word in words)


@pytest.mark.parametrize("text", ["", "...", "a " * 500], ids=["empty", "punctuation", "no room"])
def test_a_text_that_cannot_be_timed_is_spread(model: Recognizer, text: str) -> None:
    words = model.align(CLIPS[3], text)
    assert len(words) == len(units_of(text)) and all(word.estimated for word in words)
    check(words, 0.01875)


def test_the_words_of_a_result_are_those_of_its_text(model: Recognizer) -> None:
    for row in model.label(list(CLIPS[:3]), tasks="ASR,SRWT", generation=BRIEF):
        for segment in row.segments:
            assert [word.text for word in segment.words] == [unit.text for unit in units_of(segment.text)]
            check(segment.words, segment.end)
        assert row.words == tuple(word for segment in row.segments for word in segment.words)


def test_word_times_change_no_text_and_no_other_answer(model: Recognizer) -> None:
    plain, timed = (model.label(CLIPS[0], tasks=tasks, generation=BRIEF) for tasks in ("ASR,SGC", "ASR,SGC,SRWT"))
    assert plain.text == timed.text and not plain.words
    assert timed.segments[0].labels["SGC"].label == plain.segments[0].labels["SGC"].label


def test_word_times_decode_nothing_twice(model: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    run = model.engine.run

    def watched(requests: Iterable[Request], **options: int) -> Iterator[Result]:
        for request in (kept := list(requests)):
            asked.extend(ask.task.name for ask in request.asks if ask.task and not ask.words)
        return run(kept, **options)

    monkeypatch.setattr(model.engine, "run", watched)
    row = model.label(CLIPS[2], tasks="ASR", word_times=True, generation=BRIEF)
    assert "SRWT" not in asked and list(row.segments[0].labels) == ["ASR"]
    assert [word.text for word in row.words] == [unit.text for unit in units_of(row.text)]
    check(row.words, row.duration)


def test_word_times_without_a_way_to_them_are_refused(recognizer: Recognizer) -> None:
    recognizer.tasks = replace(OSUM, tasks=tuple(task for task in OSUM.tasks if task.transcript != "timed"))
    with pytest.raises(TaskError, match="neither a letters head nor a task of word times"):
        recognizer.label(CLIPS[0], tasks="ASR", word_times=True)


def test_estimated_times_are_a_warning(model: Recognizer) -> None:
    (row,) = model.align_clips([(Utterance("a", "x", text="a " * 500), CLIPS[3])], LabelOptions())
    assert row.warnings[-1] == "the times of 500 of 500 words are estimated"


# Rows


def test_rows_are_aligned_in_order_and_a_bad_one_costs_only_itself(model: Recognizer, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", CLIPS[0], 16_000)
    path = str(tmp_path / "a.wav")
    rows = [
        Utterance("0", path, text=TEXT, labels={"gender": "male"}),
        Utterance("1", path),
        Utterance("2", "absent.wav", text=TEXT),
        Utterance("3", path, start=0.1, end=0.4, text="good morning"),
    ]
    found = list(model.align_files(iter(rows), LabelOptions(batch_size=2)))
    assert [row.id for row in found] == ["0", "1", "2", "3"]
    assert [row.error is None for row in found] == [True, False, False, True]
    assert "no text to align" in found[1].error and "absent.wav" in found[2].error
    assert (found[0].text, found[0].labels, found[0].model) == (TEXT, {"gender": "male"}, "tiny")
    assert found[0].segments[0].text == TEXT and found[0].segments[0].words == found[0].words
    assert found[3].words[0].start >= 0.1 and found[3].words[-1].end <= 0.4


def test_segments_keep_their_labels_and_their_place(model: Recognizer, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(32_000), 16_000)
    labels = {"SER": Answer("sad")}
    segments = (
        Segment(0.0, 1.0, "good", labels=labels),
        Segment(1.0, 1.2, no_speech=True),
        Segment(1.2, 2.0, "morning"),
    )
    (row,) = model.align_files([Utterance("a", str(tmp_path / "a.wav"), text="good morning", segments=segments)])
    assert [segment.labels for segment in row.segments] == [labels, {}, {}]
    assert [[word.text for word in segment.words] for segment in row.segments] == [["good"], [], ["morning"]]
    assert row.segments[2].words[0].start >= 1.2 and row.words[0].end <= 1.0


def test_a_long_recording_is_aligned_window_by_window(short: Recognizer) -> None:
    words = short.align(noise(56_000), " ".join(f"w{at}" for at in range(30)))
    assert [word.text for word in words] == [f"w{at}" for at in range(30)]
    check(words, 3.5)
    assert words[-1].start > 1.5


def test_where_there_is_only_silence_words_are_estimated(model: Recognizer) -> None:
    words = model.align(np.zeros(600_000, np.float32), "good morning")
    assert [word.estimated for word in words] == [True, True]


@pytest.mark.parametrize(
    ("given_words", "recognised", "windows"),
    [
        ("a b c d e", ["a x", "d e"], [0, 0, 0, 1, 1]),
        ("a b c d", ["", "a b c d"], [1, 1, 1, 1]),
        ("a b c d", ["", ""], [0, 0, 1, 1]),
        ("a b c d", ["x y", "z w"], [0, 0, 1, 1]),
        ("a", ["b c d", "e"], [0]),
    ],
)
def test_words_go_to_the_window_that_has_them(given_words: str, recognised: list[str], windows: list[int]) -> None:
    assert dealt(given_words.split(), [words.split() for words in recognised]) == windows


@given(
    st.lists(st.sampled_from("abc"), max_size=12),
    st.lists(st.lists(st.sampled_from("abc"), max_size=6), min_size=1, max_size=4),
)
def test_windows_never_run_backwards(words: list[str], recognised: list[list[str]]) -> None:
    found = dealt(words, recognised)
    assert found == sorted(found) and len(found) == len(words) and all(0 <= each < len(recognised) for each in found)


def test_words_that_are_hardly_recognised_are_dealt_by_time() -> None:
    assert agreement(["a", "b", "c", "d"], [["a"], ["x", "d"]]) == 0.5
    assert agreement([], [["a"]]) == 0.0


@pytest.mark.parametrize("windows", ["one", "several"])
def test_words_that_are_hardly_recognised_are_spread_over_the_sound(recognizer: Recognizer, windows: str) -> None:
    if windows == "several":
        recognizer._max_samples = 16_000
    sound = np.concatenate([noise(16_000, 1), np.zeros(4 * 16_000, np.float32), noise(16_000, 2)])
    words = recognizer.align(sound, "aaa bbb ccc ddd")
    check(words, 6.0)
    assert all(word.estimated for word in words)
    assert words[0].end < 1.4 and words[3].start > 4.6  # four seconds between are a pause


def test_a_text_with_tags_is_refused(model: Recognizer) -> None:
    with pytest.raises(InputError, match="the text holds < or >, which mark tags: remove them"):
        model.align(CLIPS[0], "good <laugh> morning")


def test_a_row_says_how_long_its_recording_is(model: Recognizer) -> None:
    (row,) = model.align_clips([(Utterance("a", "x", text="good"), CLIPS[0])], LabelOptions())
    assert row.duration == 0.5


def test_a_text_that_is_not_of_the_recording_is_a_warning(short: Recognizer) -> None:
    row = short.align_clips([(Utterance("a", "a.wav", text="entirely other words"), noise(40_000))], LabelOptions())
    assert any("hardly agrees" in warning for warning in next(iter(row)).warnings)


def test_a_model_that_can_time_nothing_says_so(recognizer: Recognizer) -> None:
    recognizer.tasks = replace(OSUM, tasks=tuple(task for task in OSUM.tasks if task.transcript != "timed"))
    with pytest.raises(TaskError, match="neither a letters head nor a task of word times"):
        recognizer.align(CLIPS[0], "hi")


def test_a_clip_that_cannot_be_read_raises(recognizer: Recognizer) -> None:
    with pytest.raises(InputError, match="no such file"):
        recognizer.align("absent.wav", "hi")


# The letters head of a checkpoint


def test_a_checkpoint_with_a_letters_head_is_opened_with_it(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "tiny")
    without = osum.load(folder).align(CLIPS[2], "good morning")
    head().save(folder)
    again = LetterHead.load(folder, 16)
    assert again is not None and torch.equal(again.linear.weight, head().linear.weight)
    assert osum.load(folder).align(CLIPS[2], "good morning") != without


def test_a_head_of_other_letters_or_another_width_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head().save(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        LetterHead.load(tmp_path, 17)
    monkeypatch.setattr("osum.model.letters.LETTERS", LETTERS[::-1])
    with pytest.raises(CheckpointError, match="reads the letters"):
        LetterHead.load(tmp_path, 16)


def test_letters_of_a_text_are_those_of_its_words() -> None:
    text = "don't 银行 go 7 行"
    found = letters_of(mixed_units(text))
    assert "".join(LETTERS[letter] for word in found[:3] for letter in word) == "don'tYINHANG"
    assert [letter for word in found for letter in word] == letters(text) and found[4] == []


@pytest.fixture(scope="module")
def nano() -> Recognizer:
    return osum.load("nano", device="cpu", dtype="float32")


def test_every_format_shows_the_one_text_of_a_clip(nano: Recognizer) -> None:
    """Also where the task of word times decodes other words."""
    row = nano.label(SAMPLES / "en_child_girl.flac", tasks="ASR,SRWT")
    timed = timed_task(nano.tasks).parse(row.segments[0].labels["SRWT"].raw)
    assert row.text and timed.text not in ("", row.text)
    narrow = SubtitleOptions(max_line_width=12, max_line_count=1)
    written = {name: format_named(name, narrow).render(row) for name in ("txt", "srt", "vtt", "ctm", "textgrid", "tsv")}
    spoken = {
        "txt": written["txt"],
        "srt": re.sub(r"^\d.*$", "", written["srt"], flags=re.M),
        "vtt": re.sub(r"^(\d.*|WEBVTT)$", "", written["vtt"], flags=re.M),
        "ctm": " ".join(line.split()[4] for line in written["ctm"].splitlines() if not line.startswith(";;")),
        "text tier": tier(written["textgrid"], "text"),
        "words tier": tier(written["textgrid"], "words"),
        "tsv": written["tsv"].splitlines()[1].split("\t")[2],
    }
    assert {name: text.split() for name, text in spoken.items()} == dict.fromkeys(spoken, row.text.split())


def tier(textgrid: str, name: str) -> str:
    own = textgrid.split(f'name = "{name}"')[1].split("item [", maxsplit=1)[0]
    return " ".join(re.findall(r'text = "(.*)"', own))


def test_a_sample_with_known_times_is_aligned(nano: Recognizer) -> None:
    """nano, forced to the words of its own timed answer, gives the times of that answer."""
    sample = SAMPLES / "en_word_times.flac"
    own = nano.label(sample, tasks="SRWT")
    raw = timed_task(nano.tasks).parse(own.segments[0].labels["SRWT"].raw).words
    aligner = nano._aligner(None)
    samples, _ = soundfile.read(sample, dtype="float32")
    spoken = Spoken(nano.engine.processor.log_mel(samples), len(samples) / 16_000, units_of(own.text))
    assert isinstance(aligner, Aligner) and len(raw) > 3
    assert [(word.start, word.end) for word in aligner([spoken])[0]] == [(word.start, word.end) for word in raw]
