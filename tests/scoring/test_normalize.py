import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.scoring import mixed_units, normalize


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Hello, World!", "hello world"),
        ("I don’t know.", "i don't know"),
        ("'quoted'", "quoted"),
        ("well-known", "well known"),
        ("今天 天气，很好。", "今天天气很好"),
        ("我 有 Ｔ恤 and shoes", "我有t恤and shoes"),
        ("snake_case", "snake case"),
        ("café ½", "café 1 2"),
        ("", ""),
    ],
)
def test_case_width_and_punctuation_do_not_count(text, normal):
    assert normalize(text) == normal


@given(st.text(st.sampled_from("aBé 新年’'-_,.!，。\t９")))
def test_normalising_twice_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)


def test_mixed_units_are_chinese_characters_and_other_words():
    assert mixed_units("我有t恤and two shoes") == ["我", "有", "t", "恤", "and", "two", "shoes"]
