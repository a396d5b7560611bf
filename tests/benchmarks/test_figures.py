import pytest

pytest.importorskip("sklearn")
import figures
from figures import (
    QUESTIONS,
    WORD_QUESTIONS,
    commonest,
    label_figures,
    label_table,
    limited,
    majority,
    source_only,
    subsets,
)

from osum.utterance import Utterance

GENDER, EMOTION = QUESTIONS[0], QUESTIONS[4]
DIGITS = WORD_QUESTIONS[0]


def clip(name, source="fsdd", gender="male", **extra):
    return Utterance(
        id=name, path="a", text="Two.", labels={"gender": gender}, speaker=f"s{name}", source=source,
        extra={"evidence": "real", **extra},
    )  # fmt: skip


def test_a_recording_counts_with_all_recordings_and_with_its_source():
    assert subsets(clip("a")) == ("recordings", "fsdd")


def test_a_seen_speaker_does_not_count_as_a_recording():
    assert subsets(clip("a", split_note="speaker seen")) == ("fsdd (speaker seen)",)


def test_a_made_clip_does_not_count_as_a_recording():
    assert subsets(clip("a", kind="string", parts=["b"])) == ("made: string, real",)


def test_ravdess_stands_apart():
    assert subsets(clip("a", source="ravdess")) == ("ravdess",)


def test_a_word_is_asked_for_on_plain_recordings_only():
    assert DIGITS.truth(clip("a")) == "two"
    assert DIGITS.truth(clip("a", kind="string")) is None


def test_a_guessed_emotion_is_not_asked_for():
    row = clip("a", weak=["emotion"]).with_(labels={"emotion": "neutral"})
    assert EMOTION.truth(row) is None


def test_majority_is_that_of_the_source_in_training():
    train = [clip("a", gender="male"), *(clip(name, "emogator", "female") for name in "bc")]
    common = commonest(GENDER.truth, train)
    assert majority(common, "fsdd") == majority(common, "fsdd (speaker seen)") == "male"
    assert majority(common, "recordings") == majority(common, "ravdess") == "female"


def test_the_source_alone_names_its_commonest_label():
    train = [clip("a", gender="male"), *(clip(name, "emogator", "female") for name in "bc")]
    test = [clip("d", gender="female"), clip("e", "emogator"), clip("f", "ravdess"), clip("g", kind="string")]
    assert source_only([GENDER], test, train)["SGC"] == {"d": "male", "e": "female", "f": "female", "g": "female"}


def test_figures_count_a_missing_label_as_wrong():
    test = [clip("a"), clip("b", gender="female")]
    found = label_figures([GENDER], test, test[:1], {"nano": {"SGC": {"a": "male", "b": None}}})
    assert [figure["data"] for figure in found] == ["recordings", "fsdd"]
    assert found[0]["majority"] == found[0]["scores"]["nano"]["accuracy"]["value"] == 0.5


def test_table_has_a_row_for_each_figure_and_a_dash_for_a_missing_predictor():
    test = [clip("a"), clip("b", gender="female")]
    found = label_figures([GENDER], test, test, {"nano": {"SGC": {"a": "male", "b": "female"}}})
    lines = label_table(found, ("classical", "nano")).splitlines()
    assert len(lines) == 4
    assert "| – | 100.0 [100.0, 100.0] |" in lines[2]


def test_limit_takes_so_many_of_each_subset_whatever_the_order():
    rows = [*map(clip, "abcde"), clip("f", source="esc10")]
    chosen = {row.id for row in limited(rows, 2)}
    assert len(chosen) == 3
    assert chosen == {row.id for row in limited(rows[::-1], 2)}


def test_an_interval_draws_clips_where_speakers_are_few():
    assert figures.speakers([clip("a"), clip("b")])["resampled_by"] == "clip"
    assert figures.speakers([clip(name) for name in "abcde"])["resampled_by"] == "speaker"
