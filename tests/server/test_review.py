"""Reviewing a manifest: order, filters, corrections that lose nothing, agreement, export."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osum.corpus.manifest import read_manifest
from osum.errors import InputError
from osum.server.review import Query, Review
from osum.server.review_row import StaleRowError
from osum.tasks import OSUM
from osum.utterance import Answer, Segment, Utterance

Row = dict[str, Any]
Open = Callable[..., Review]


def row(name: str, emotion: str | None = "sad", text: str = "hello there", **more: Any) -> Row:
    labels = {} if emotion is None else {"emotion": emotion}
    return {"version": 1, "id": name, "path": f"{name}.wav", "text": text, "labels": labels, **more}


def answer(name: str, text: str = "hello there", **shares: float) -> Utterance:
    """What a model says of a row: emotions and how probable they are."""
    said = Answer(max(shares, key=lambda label: shares[label]), max(shares.values()), shares)
    segment = Segment(0.0, 1.0, text, labels={"SER": said}, confidences=(0.9, 0.5))
    return Utterance(
        name, f"{name}.wav", text=text, text_from="nano", segments=(segment,), summary={"SER": said}, model="nano"
    )


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Write rows, or lines, and what a model says of them, and open them."""

    def make(*rows: Row | bytes, answers: tuple[Utterance, ...] = ()) -> Review:
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in rows]
        (tmp_path / "rows.jsonl").write_bytes(b"".join(lines))
        text = "".join(json.dumps(each.to_dict()) + "\n" for each in answers)
        if answers:
            (tmp_path / "rows.answers.jsonl").write_text(text)
        return Review(tmp_path / "rows.jsonl", OSUM)

    return make


def change(review: Review, number: int, **changes: str | None) -> Row:
    version = review.entries[number].version
    review.correct(number, version, changes, (), "anna")
    return review.row(number)


def ids(review: Review, **query: Any) -> list[str]:
    return [entry.id for entry in review.find(Query(**query))]


# Looking


def test_the_row_that_the_model_doubts_most_comes_first_and_one_without_an_answer_last(opened: Open) -> None:
    rows = (row("unknown"), row("sure"), row("wrong"), row("torn"))
    answers = (
        answer("sure", sad=0.9, happy=0.1),
        answer("wrong", sad=0.2, happy=0.8),
        answer("torn", sad=0.5, fear=0.5),
    )
    assert ids(opened(*rows, answers=answers)) == ["wrong", "torn", "sure", "unknown"]


def test_rows_of_equal_doubt_keep_the_order_of_the_file(opened: Open) -> None:
    rows = [row(f"r{number}") for number in range(20)]
    answers = tuple(answer(each["id"], sad=0.5, fear=0.5) for each in rows)
    assert ids(opened(*rows, answers=answers)) == [each["id"] for each in rows]


def test_a_row_without_a_label_is_as_doubtful_as_the_likeliest_label(opened: Open) -> None:
    review = opened(row("a", emotion=None), answers=(answer("a", sad=0.7, fear=0.3),))
    assert review.doubt(review.entries[1], "emotion") == pytest.approx(0.3)


def test_a_label_that_the_model_does_not_know_is_doubted_wholly(opened: Open) -> None:
    review = opened(row("a", emotion="disgust"), answers=(answer("a", sad=0.7, fear=0.3),))
    assert review.doubt(review.entries[1], "emotion") == 1


def test_the_text_is_doubted_as_far_as_the_models_differs(opened: Open) -> None:
    rows = (row("same"), row("other", text="good night"))
    review = opened(*rows, answers=(answer("same", sad=1.0), answer("other", sad=1.0)))
    assert [review.doubt(entry, "text") for entry in review.find(Query("text"))] == [1.0, pytest.approx(0.3)]


def test_what_the_model_says_of_a_row_that_it_labelled_is_read_from_the_row(opened: Open) -> None:
    review = opened(answer("a", sad=0.6, fear=0.4).to_dict())
    assert review.doubt(review.entries[1], "emotion") == pytest.approx(0.4)


def test_a_label_that_was_given_before_the_model_labelled_is_what_is_doubted(opened: Open) -> None:
    labelled = answer("a", sad=0.6, fear=0.4).to_dict() | {"reference": {"labels": {"emotion": "fear"}}}
    review = opened(labelled)
    assert review.disagrees(review.entries[1], "emotion")


def test_a_filter_by_label_takes_what_the_row_says(opened: Open) -> None:
    assert ids(opened(row("a"), row("b", "fear"), row("c")), field="emotion", label="sad") == ["a", "c"]


def test_a_filter_by_words_looks_into_ids_and_texts_in_any_case(opened: Open) -> None:
    assert ids(opened(row("a"), row("b", text="Good Night"), row("night")), words="nIGHT") == ["b", "night"]


def test_rows_on_which_the_model_disagrees_are_found(opened: Open) -> None:
    answers = (answer("a", sad=0.9, fear=0.1), answer("b", sad=0.1, fear=0.9))
    assert ids(opened(row("a"), row("b"), answers=answers), state="disagree") == ["b"]


def test_open_rows_are_those_that_nobody_looked_at_in_that_field(opened: Open) -> None:
    review = opened(row("a"), row("b"))
    review.correct(1, review.entries[1].version, {}, ["emotion"], "anna")
    assert (ids(review, field="emotion", state="open"), ids(review, field="age", state="open")) == (["b"], ["a", "b"])


def test_an_unknown_state_is_refused(opened: Open) -> None:
    with pytest.raises(InputError, match="state is 'closed': choose one of all, open"):
        Query(state="closed")  # type: ignore[arg-type]


def test_a_broken_line_is_named_and_the_others_are_reviewed(opened: Open) -> None:
    review = opened(row("a"), b"{broken\n", row("c"))
    assert (ids(review), list(review.faults)) == (["a", "c"], [2])


def test_a_manifest_of_another_kind_is_refused_with_the_way_out(opened: Open) -> None:
    with pytest.raises(InputError, match="osum data convert"):
        opened({"audio_filepath": "a.wav", "duration": 1.0, "text": "hello"})


def test_a_label_that_is_none_of_its_set_is_shown_as_it_is_written(opened: Open) -> None:
    assert opened(row("a", "gloomy")).entries[1].shown["emotion"] == "gloomy"


# Correcting


def test_a_correction_notes_who_when_and_the_old_value(opened: Open) -> None:
    after = change(opened(row("a"), row("b")), 2, emotion="Happy")
    (note,) = after["corrections"]
    assert note.pop("at").endswith("+00:00")
    assert (note, after["labels"]) == (
        {"field": "emotion", "old": "sad", "new": "happy", "by": "anna"},
        {"emotion": "happy"},
    )


def test_a_correction_changes_no_other_line_and_no_unknown_field(opened: Open) -> None:
    first, last = b'{"id": "a",   "path": "a.wav", "x": 1.50}\r\n', b'{"id": "c", "path": "c.wav"}'
    review = opened(first, b'{"id": "b", "path": "b.wav", "mine": {"deep": [1, null]}}\r\n', last)
    change(review, 2, emotion="sad")
    before, line, after = review.path.read_bytes().splitlines(keepends=True)
    assert (before, after) == (first, last)
    assert line.endswith(b"\r\n")
    assert json.loads(line)["mine"] == {"deep": [1, None]}


def test_the_byte_order_mark_and_a_missing_last_line_end_stay(opened: Open) -> None:
    review = opened(b'\xef\xbb\xbf{"id": "a", "path": "a.wav"}')
    change(review, 1, text="hi")
    assert review.path.read_bytes().startswith(b"\xef\xbb\xbf{")
    assert not review.path.read_bytes().endswith(b"\n")


def test_after_corrections_every_row_is_still_found(opened: Open) -> None:
    review = opened(*(row(f"r{number}") for number in range(5)))
    for number in (2, 5, 1, 2):
        change(review, number, text=f"new text of {number} " * number)
    again = Review(review.path, OSUM)
    assert again.entries == review.entries
    assert [review.row(number)["id"] for number in range(1, 6)] == [f"r{number}" for number in range(5)]


def test_a_row_that_another_has_changed_is_refused_and_not_lost(opened: Open) -> None:
    review = opened(row("a"), row("b"))
    seen = review.entries[2].version
    other = Review(review.path, OSUM)
    change(other, 2, emotion="fear")
    with pytest.raises(StaleRowError, match="has changed since it was shown"):
        review.correct(2, seen, {"emotion": "happy"}, (), "ben")
    assert review.row(2)["labels"] == {"emotion": "fear"}


def test_a_row_stays_correctable_when_others_before_it_were_changed_elsewhere(opened: Open) -> None:
    review = opened(row("a"), row("b"))
    seen = review.entries[2].version
    change(Review(review.path, OSUM), 1, text="something much longer than before")
    review.correct(2, seen, {"emotion": "happy"}, (), "ben")
    assert [each.labels for each in read_manifest(review.path)] == [{"emotion": "sad"}, {"emotion": "happy"}]


def test_a_removed_line_is_no_row_any_more(opened: Open) -> None:
    review = opened(row("a"), row("b"))
    seen = review.entries[2].version
    review.path.write_text(json.dumps(row("a")) + "\n")
    with pytest.raises(InputError, match="line 2 of rows\\.jsonl is no row"):
        review.correct(2, seen, {"emotion": "happy"}, (), "ben")


def test_corrections_from_many_threads_are_all_kept(opened: Open) -> None:
    review = opened(*(row(f"r{number}") for number in range(8)))
    threads = [Thread(target=change, args=(review, number), kwargs={"emotion": "fear"}) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.labels["emotion"] for each in read_manifest(review.path)} == {"fear"}


def test_nobody_knows_takes_the_label_out(opened: Open) -> None:
    after = change(opened(row("a")), 1, emotion=None)
    assert (after["labels"], after["corrections"][0]["new"]) == ({}, None)


def test_a_value_that_is_there_already_is_confirmed_and_not_corrected(opened: Open) -> None:
    after = change(opened(row("a")), 1, emotion="sad")
    assert ("corrections" in after, after["reviewed"]["emotion"]["by"]) == (False, "anna")


def test_a_new_text_takes_the_times_of_the_old_words_with_it(opened: Open) -> None:
    words = [{"text": "hello", "start": 0.0, "end": 0.5}]
    after = change(opened(row("a", words=words, text_from="nano")), 1, text="hullo")
    assert ("words" in after, after["text_from"], after["corrections"][0]["words"]) == (False, "given", words)


def test_the_language_is_corrected_in_both_its_places(opened: Open) -> None:
    after = change(opened(row("a", language="en")), 1, language="zh")
    assert (after["language"], after["labels"]["language"], after["corrections"][0]["old"]) == ("zh", "zh", "en")


def test_a_link_to_a_manifest_stays_a_link_and_the_mode_of_the_file_stays(opened: Open, tmp_path: Path) -> None:
    real = opened(row("a")).path
    real.chmod(0o640)
    link = tmp_path / "link.jsonl"
    link.symlink_to(real)
    change(Review(link, OSUM), 1, emotion="fear")
    assert (link.is_symlink(), real.stat().st_mode & 0o777) == (True, 0o640)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"emotion": "gloomy"}, "emotion 'gloomy' is unknown: use one of sad"),
        ({"mood": "sad"}, "field 'mood' cannot be reviewed"),
        ({"text": "a <tag>"}, "without < and >"),
        ({"text": "a" * 20_001}, "at most 20000"),
    ],
)
def test_a_value_that_no_training_could_read_is_refused(opened: Open, changes: dict[str, str], why: str) -> None:
    review = opened(row("a"))
    with pytest.raises(InputError, match=why):
        change(review, 1, **changes)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
def test_a_reviewer_without_a_usable_name_is_refused(opened: Open, name: str) -> None:
    review = opened(row("a"))
    with pytest.raises(InputError, match="reviewer"):
        review.correct(1, review.entries[1].version, {}, ["emotion"], name)


def test_a_row_of_several_segments_is_to_be_cut_first(opened: Open) -> None:
    review = opened(row("a", segments=[{"start": 0, "end": 1}, {"start": 1, "end": 2}]))
    with pytest.raises(InputError, match="2 segments with labels of their own: `osum data cut`"):
        change(review, 1, emotion="fear")


def test_a_foreign_field_of_the_same_name_is_not_overwritten(opened: Open) -> None:
    review = opened(row("a", reviewed=True))
    with pytest.raises(InputError, match="field 'reviewed' of another kind"):
        change(review, 1, emotion="fear")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_characters="<>", exclude_categories=("Cs",)), max_size=40))
def test_any_text_is_written_and_read_back_on_one_line(opened: Open, text: str) -> None:
    review = opened(row("a"), row("b"))
    change(review, 1, text=text)
    assert len(review.path.read_bytes().splitlines()) == 2
    assert [each.id for each in read_manifest(review.path)] == ["a", "b"]


# Sound


def test_a_recording_outside_of_the_corpus_is_not_opened(opened: Open) -> None:
    rows = (row("a", path="../secret.wav"), row("b", path="/etc/passwd"), row("c", path="in/../c.wav"))
    review = opened(*({**each, "path": each["path"]} for each in rows))
    for number in (1, 2):
        with pytest.raises(InputError, match="outside of"):
            review.sound(number)
    assert Path(review.sound(3).path).parent == review.root


def test_a_link_that_leads_out_of_the_corpus_is_not_followed(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="outside of"):
        opened(row("a")).sound(1)


# Agreement, answers, export


def test_agreement_counts_what_people_said_and_names_what_is_confused(opened: Open) -> None:
    answers = (answer("a", sad=0.9, fear=0.1), answer("b", sad=0.1, fear=0.9), answer("c", sad=0.1, fear=0.9))
    found = opened(row("a"), row("b"), row("c", emotion=None), answers=answers).agreement("emotion")
    assert found is not None
    assert (found.count, found.agree, found.confused) == (2, 1, (("sad", "fear", 1),))
    assert 0 <= found.low <= 0.5 <= found.high <= 1


def test_a_model_does_not_agree_with_itself(opened: Open) -> None:
    review = opened(answer("a", sad=0.6, fear=0.4).to_dict())
    assert review.agreement("emotion") is None
    change(review, 1, emotion="fear")
    found = review.agreement("emotion")
    assert found is not None
    assert (found.count, found.agree) == (1, 0)


def test_rows_without_an_answer_are_asked_for_once_a_sound_and_the_answer_is_kept(opened: Open) -> None:
    review = opened(row("a"), row("a", id="twin"), row("out", path="../out.wav"))
    (asked,) = review.unanswered()
    review.add_answer(answer("a", sad=0.9, fear=0.1).with_(path=asked.path))
    assert review.unanswered() == []
    again = Review(review.path, OSUM)
    assert [again.doubt(again.entries[number], "emotion") for number in (1, 2)] == [pytest.approx(0.1)] * 2


def test_a_file_of_answers_that_is_cut_off_is_read_as_far_as_it_goes(opened: Open, tmp_path: Path) -> None:
    opened(row("a"), row("b"), answers=(answer("a", sad=1.0), answer("b", sad=1.0)))
    path = tmp_path / "rows.answers.jsonl"
    os.truncate(path, path.stat().st_size - 5)
    assert [asked.id for asked in Review(tmp_path / "rows.jsonl", OSUM).unanswered()] == ["b"]


def test_the_export_holds_reviewed_rows_without_the_labels_that_a_model_guessed(opened: Open) -> None:
    guessed = answer("a", sad=0.6, fear=0.4).to_dict() | {
        "labels": {"emotion": "sad", "age": "adult"},
        "language": "en",
    }
    review = opened(guessed, row("b"), row("c"))
    change(review, 1, emotion="fear")
    path, count = review.export()
    (found,) = read_manifest(path)
    assert (count, found.labels, found.language, found.segments) == (1, {"emotion": "fear"}, None, ())
    assert (found.text_from, Path(found.path).name) == ("nano", "a.wav")


def test_the_export_can_hold_the_corrected_rows_alone(opened: Open) -> None:
    review = opened(row("a"), row("b"))
    change(review, 1, emotion="fear")
    change(review, 2, emotion="sad")
    assert (review.export()[1], review.export(corrected_only=True)[1]) == (2, 1)


def test_an_exported_row_teaches_what_was_corrected(opened: Open) -> None:
    review = opened(row("a"))
    change(review, 1, emotion="fear")
    (found,) = read_manifest(review.export()[0])
    assert OSUM["SER"].render(found) == "hello there<fear>"
