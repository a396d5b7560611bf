"""Ratings by people: the page is blind and opens alone, and what raters save becomes points and agreement."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from evaluation.test_judge import clip
from osum.errors import InputError
from osum.evaluation.report.ratings import KEY, PAGE, Ratings, rated, read_key, read_ratings, write_sheet
from osum.peers.recogniser import Recognition

GOOD, BAD = {"cue": 5, "content": 5}, {"cue": 1, "content": 1}


@pytest.fixture
def sheet(tmp_path):
    predictions = [
        clip(str(number), f"reply {number}", None, model=model) for model in ("one", "two") for number in range(4)
    ]
    return tmp_path / "sheet", write_sheet(predictions, tmp_path / "sheet")


def by_model(key, **grades):
    return {str(number): grades[item.model] for number, item in enumerate(key.items, 1)}


def saved(folder, key, rater, grades):
    path = folder / f"{rater}.json"
    path.write_text(json.dumps({"sheet": key.sheet, "rater": rater, "grades": grades}), encoding="utf-8")
    return path


def test_the_page_names_no_model_and_shuffles_the_replies(sheet):
    folder, key = sheet
    page = (folder / PAGE).read_text(encoding="utf-8")
    assert not re.search(r"\b(one|two|nano)\b", page.partition("<main>")[2].partition("<script>")[0])
    assert len({item.model for item in key.items[:4]}) == 2
    assert read_key(folder) == key


def test_a_reply_cannot_write_into_the_page(tmp_path):
    write_sheet([clip("1", "<script>alert(1)</script>", None)], tmp_path)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_what_raters_save_becomes_points_of_each_model(sheet, tmp_path):
    _, key = sheet
    files = [saved(tmp_path, key, rater, by_model(key, one=GOOD, two=BAD)) for rater in ("anna", "ben")]
    found = rated(key, [read_ratings(path, key) for path in files])
    assert {model: score.value for (model, _), score in found.scores.items()} == {"one": 100, "two": 0}
    assert (found.agreement, found.missing) == ({"cue": 1, "content": 1}, 0)


def test_raters_who_never_agree_agree_less_than_by_chance(sheet, tmp_path):
    _, key = sheet
    files = [
        saved(tmp_path, key, "anna", by_model(key, one=GOOD, two=BAD)),
        saved(tmp_path, key, "ben", by_model(key, one=BAD, two=GOOD)),
    ]
    found = rated(key, [read_ratings(path, key) for path in files])
    assert found.agreement["cue"] < 0 and {score.value for score in found.scores.values()} == {50}


def test_a_half_graded_reply_counts_for_nothing(sheet):
    _, key = sheet
    found = rated(key, [Ratings(key.sheet, "anna", {"1": {"cue": 3}, "2": GOOD})])
    assert (found.missing, sum(score.count for score in found.scores.values())) == (7, 1)
    assert math.isnan(found.agreement["cue"])


def test_a_spoken_reply_has_a_player_and_is_graded_for_its_tone(tmp_path):
    soundfile.write(tmp_path / "r.wav", np.zeros(16000), 16000)
    spoken = replace(clip("1", "oh", None), answer=Recognition(reply="oh", reply_audio=str(tmp_path / "r.wav")))
    key = write_sheet([spoken], tmp_path / "sheet")
    page = (tmp_path / "sheet" / PAGE).read_text(encoding="utf-8")
    assert key.items[0].grades == ("cue", "content", "tone")
    assert page.count("data:audio/mpeg") == 1 and 'data-grade="tone"' in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sheet": "other"}, "is of page other, the key of page"),
        ({"grades": {"9": GOOD}}, "grades item '9', and the page has 1 to 8"),
        ({"grades": {"1": {"cue": 6}}}, "grades 'cue' of item 1 with 6: cue, content take 1 to 5"),
        ({"grades": {"1": {"tone": 3}}}, "grades 'tone' of item 1 with 3"),
        ({"grades": 3}, "is no file of the page of ratings"),
    ],
)
def test_a_file_that_is_not_of_the_page_is_refused(sheet, tmp_path, changes, message):
    _, key = sheet
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"sheet": key.sheet, "rater": "x", "grades": {}} | changes), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_ratings(path, key)


def test_nothing_to_grade_a_second_page_and_a_rater_twice_are_refused(sheet, tmp_path):
    folder, key = sheet
    with pytest.raises(InputError, match="there is no reply to grade"):
        write_sheet([clip("1", None)], tmp_path / "none")
    with pytest.raises(InputError, match=f"{KEY} is the key of another page"):
        write_sheet([clip("1", "a")], folder)
    with pytest.raises(InputError, match="rater 'anna' saved two files"):
        rated(key, [Ratings(key.sheet, "anna", {})] * 2)
