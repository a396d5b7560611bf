import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.text import closest, did_you_mean, edit_distance, has_punctuation, join_units, normalise_target, repetition


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Hello World", "hello world"),
        ("新 年 Happy New Year 快 乐", "新年happy new year快乐"),
        ("hi <HAPPY>", "hi<happy>"),
        ("hi < throat clearing > ", "hi<throat clearing>"),
        (" Yes, I do. ", "yes, i do."),
    ],
)
def test_targets_are_normalised_as_the_release_does(text, target):
    assert normalise_target(text) == target


@given(st.text(st.sampled_from("aB 新年<>\t.")))
def test_normalising_twice_changes_nothing(text):
    assert normalise_target(normalise_target(text)) == normalise_target(text)


@pytest.mark.parametrize("text", ["yes, no", "is it?", "a.", "你好，", "好。", "你好,我是", "wait… what"])
def test_marks_of_a_sentence_are_punctuation(text):
    assert has_punctuation(text)


@pytest.mark.parametrize("text", ["", "don't", "3.5", "at 10:30", "1,000 people", "well-known", "新年快乐"])
def test_marks_inside_a_word_or_number_are_none(text):
    assert not has_punctuation(text)


def test_units_are_joined_with_spaces_between_words_only():
    assert join_units(["新", "年", "new", "year"]) == "新年new year"


@pytest.mark.parametrize(("left", "right", "distance"), [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3)])
def test_edit_distance_counts_changes(left, right, distance):
    assert edit_distance(left, right) == edit_distance(right, left) == distance


@pytest.mark.parametrize(
    ("text", "found"), [("hapy", "happy"), ("lough", None), ("xyz", None), ("", None), ("happy" * 20, None)]
)
def test_the_closest_choice_is_the_one_nearest_spelling(text, found):
    assert closest(text, ("happy", "laugh", "cough")) == found


def test_a_hint_names_the_nearest_name_whatever_holds_the_names() -> None:
    assert did_you_mean("emotoin", {"emotion": ("happy", "sad"), "event": ()}) == "did you mean 'emotion'? "
    assert did_you_mean("jsn", ["json"], {"json": "--format json"}) == "did you mean '--format json'? "
    assert did_you_mean("xyzzy", ["json"]) == ""


@pytest.mark.parametrize("text", ["ha ha ha ha ha", "no no no", "", "哈哈哈哈哈哈哈", "an ordinary sentence"])
def test_ordinary_text_is_no_loop(text):
    assert repetition(text) is None


@pytest.mark.parametrize(("unit", "count"), [("a", 40), ("thank you. ", 7), ("谢谢大家", 10)])
def test_a_loop_at_the_end_is_found(unit, count):
    found = repetition("well " + unit * count)
    assert found is not None
    assert len(found[0]) == len(unit)
    assert found[1] in (count - 1, count)


def test_broken_bytes_again_and_again_are_a_loop_however_short() -> None:
    assert repetition("你好" + "\ufffd" * 15) == ("\ufffd", 15)
    assert repetition("你好\ufffd\ufffd") is None and repetition("ha " * 6) is None
