"""From raw answers to a segment and a summary: what is null, what is noted, what is weighed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.listening.answers import (
    NO_EVENT,
    AnsweredWindow,
    answer_key,
    doubted,
    is_silent,
    join_text,
    names_event,
    segment_of,
    summary_of,
)
from osum.tasks import OSUM, RELEASE, TaskSet
from osum.utterance import Answer, Segment

FEMALE = {"female": 0.8, "male": 0.2}


def segment(raws: dict[str, str], silence: float | None = 0.1, tasks: TaskSet = OSUM, **best: str) -> Segment:
    """The segment of raw answers; each label set is as sure as 0.9 of one label, by default its first."""
    distributions: dict[tuple[str, str], dict[str, float]] = {}
    for name in raws:
        for labels in tasks[name].label_sets:
            top = best.get(labels.name, labels.labels[0])
            rest = 0.1 / (len(labels.labels) - 1)
            distributions[name, labels.name] = {label: 0.9 if label == top else rest for label in labels.labels}
    silent = None if silence is None else is_silent(raws.get("ASR", "hi"), silence)
    voice = "event" in best and best["event"] != NO_EVENT and any(names_event(tasks[name]) for name in raws)
    return segment_of(
        AnsweredWindow(2.0, raws, distributions, silence, silent, voice), [tasks[name] for name in raws], 10.0
    )


RAWS = {"ASR": "hi", "VED": "hi<laugh>", "SER": "hi<sad>", "SSR": "hi<客服>", "SGC": "hi<female>"}


def given_labels(found: Segment) -> set[str]:
    return {name for name, answer in found.labels.items() if answer.label is not None}


def test_speech_gets_every_label() -> None:
    assert given_labels(segment(RAWS)) == {"VED", "SER", "SSR", "SGC"}


def test_without_speech_only_the_sound_is_labelled() -> None:
    found = segment(RAWS, 0.9, event="none")
    assert given_labels(found) == {"VED"}
    assert (found.text, found.words, found.reply, found.no_speech) == ("", (), None, True)
    assert found.labels["SGC"].problems[-1] == "no voice" and found.labels["SSR"].problems[-1] == "no speech"


def test_a_laugh_without_speech_has_a_voice_but_no_style() -> None:
    assert given_labels(segment(RAWS, 0.9, event="laugh")) == {"VED", "SER", "SGC"}


def test_an_event_proves_no_voice_where_none_is_no_answer() -> None:
    assert given_labels(segment(RAWS, 0.9, RELEASE, event="cough")) == {"VED"}


def test_an_empty_transcript_is_no_speech_whatever_the_probability() -> None:
    assert segment({"ASR": ""}, 0.2).no_speech and segment({"ASR": ""}, None).no_speech


def test_without_a_transcript_the_probability_alone_decides() -> None:
    assert not segment({"SGC-only": "<male>"}, None).no_speech
    assert segment({"SGC-only": "<male>"}, 0.5).no_speech


def test_a_tag_that_disagrees_with_the_scores_is_noted() -> None:
    (answer,) = segment({"SGC": "hi<male>"}).labels.values()
    assert (answer.label, answer.problems) == ("female", ("the decoded tag says male",))


def test_a_tag_that_agrees_or_is_missing_is_not_noted_as_another() -> None:
    assert segment({"SGC": "hi<female>"}).labels["SGC"].problems == ()
    assert segment({"SGC": "hi"}).labels["SGC"].problems == ("no gender tag",)


def test_probability_distribution_raw_and_evidence_are_kept() -> None:
    answer = segment({"SGC": "hi<female>"}).labels["SGC"]
    assert (answer.probability, answer.raw, answer.evidence) == (0.9, "hi<female>", OSUM["SGC"].evidence)
    assert sum((answer.distribution or {}).values()) == pytest.approx(1)


def test_a_composite_answers_once_per_label_set() -> None:
    assert list(segment({"SAP+SGC": "hi<child><male>"}).labels) == ["SAP+SGC/age", "SAP+SGC/gender"]
    assert answer_key(OSUM["SGC"], "gender") == "SGC"


def test_the_plainest_transcript_is_the_text() -> None:
    raws = {"SRWT": "<0.00>c<0.5>", "SGC": "b<male>", "ASR": "A "}
    assert segment(raws).text == "a"
    assert segment({"SRWT": "<0.00>c<0.5>"}).text == "c"


def test_a_reply_is_found_behind_its_separator() -> None:
    assert segment({"STTC": "hi<开始回答>hello"}).reply == "hello"


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=6), st.floats(0.1, 5))
def test_word_times_never_run_backwards_or_leave_the_window(spans: list[tuple[float, float]], seconds: float) -> None:
    raw = "".join(f"<{start:.2f}>word<{end:.2f}>" for start, end in spans)
    found = segment_of(AnsweredWindow(seconds, {"SRWT": raw}), [OSUM["SRWT"]], 1 / 3)
    edges = [found.start, *(word.start for word in found.words), found.end]
    assert edges == sorted(edges) and len(found.words) == len(spans)
    assert all(word.start <= word.end <= found.end for word in found.words)


def test_moved_word_times_are_said() -> None:
    (answer,) = segment({"SRWT": "<0.5>a<0.6><0.1>b<9.0>"}).labels.values()
    assert answer.problems == ("1 word times were out of order or outside the clip",)
    assert segment({"SRWT": "<0.5>a<0.7><0.6>b<1.0>"}).labels["SRWT"].problems == ()


def test_words_count_in_seconds_of_the_file() -> None:
    (word,) = segment({"SRWT": "<0.5>a<0.75>"}).words
    assert (word.start, word.end) == (10.5, 10.75)


def piece(start: float, end: float, female: float | None) -> Segment:
    distribution = None if female is None else {"female": female, "male": 1 - female}
    return Segment(start, end, labels={"SGC": Answer("female", female, distribution)})


def test_a_summary_weighs_by_duration() -> None:
    answer = summary_of([piece(0, 3, 0.4), piece(3, 4, 1.0)], [OSUM["SGC"]])["SGC"]
    assert answer.label == "female" and answer.probability == pytest.approx(0.55)


def test_segments_without_a_label_do_not_weigh() -> None:
    answer = summary_of([piece(0, 9, None), piece(9, 10, 0.8)], [OSUM["SGC"]])["SGC"]
    assert answer.distribution == pytest.approx(FEMALE)
    assert summary_of([piece(0, 9, None)], [OSUM["SGC"]])["SGC"].label is None


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["hello", "there"], "hello there"),
        (["新年", "快乐"], "新年快乐"),
        (["说hello", "world"], "说hello world"),
        (["hello", "", "新"], "hello新"),
        ([], ""),
    ],
)
def test_transcripts_join_with_blanks_between_words_alone(parts: list[str], text: str) -> None:
    assert join_text(parts) == text


def test_a_doubtful_label_is_unknown_and_keeps_its_distribution() -> None:
    answers = {"SGC": Answer("female", 0.8, FEMALE), "VED": Answer("laugh", 0.81), "SSR": Answer(None, problems=("x",))}
    found = doubted(answers, 0.81)
    assert found == {**answers, "SGC": Answer("unknown", 0.8, FEMALE)}


def test_broken_bytes_are_no_part_of_the_text() -> None:
    found = segment({"ASR": "你\ufffd\ufffd好\x00"})
    assert found.text == "你好" and found.labels["ASR"].problems == ("U+FFFD, which nobody says",)
