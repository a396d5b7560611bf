import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.errors import MissingExtraError
from osum.scoring import NORMALISERS, mixed_units, normalize


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


@given(st.text(st.sampled_from("aB9 ")))
def test_plain_words_come_out_as_next_to_punctuation(text):
    assert normalize(text) == normalize(f"{text} ,")


def test_mixed_units_are_chinese_characters_and_other_words():
    assert mixed_units("我有t恤and two shoes") == ["我", "有", "t", "恤", "and", "two", "shoes"]


@pytest.mark.parametrize(
    ("name", "text", "normal"),
    [
        ("osum", "The COLOUR, twenty-three!", "the colour twenty three"),
        ("whisper-en", "Um, the COLOUR won't cost twenty-three dollars.", "the color will not cost $23"),
        ("whisper-basic", "The [noise] COLOUR: twenty-three.", "the colour twenty three"),
        ("none", " As it is. ", " As it is. "),
    ],
)
def test_normalisers_of_the_field_are_known_by_name(name, text, normal):
    assert NORMALISERS[name](text) == normal


def test_wetext_spells_chinese_numbers_out():
    pytest.importorskip("wetext")
    assert NORMALISERS["wetext-zh"]("２０２３年，臺灣有3.5%的人。") == "二零二三年台湾有百分之三点五的人"


def test_a_report_names_what_a_normaliser_depends_on():
    assert NORMALISERS["osum"].version == "osum (rules 1)"
    assert NORMALISERS["none"].version == "none"
    assert NORMALISERS["whisper-en"].version.startswith("whisper-en (transformers 5.")


def test_a_normaliser_whose_package_is_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wetext", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'osum\[eval\]'"):
        NORMALISERS["wetext-zh"].open()
