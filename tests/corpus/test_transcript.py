"""Written text to spoken units and transcripts."""

import pytest

from osum.corpus.transcript import chinese_units, english_units, pinyin_units, transcript, units_text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Don’t STOP, 'please'!", "don't stop please"),
        ("twenty-one", "twenty one"),
        ("你好， 世界。", "你好世界"),
        ("\ufeff已经 ok 了", "已经ok了"),
        ("<laugh> a", "laugh a"),
        ("...", ""),
    ],
)
def test_a_transcript_has_no_punctuation(written, expected):
    assert transcript(written) == expected


def test_units_keep_one_stop_each():
    assert english_units("Well... I don't know, do you?!") == ["well.", "i", "don't", "know,", "do", "you?"]
    assert chinese_units("你好，世界！") == ["你", "好,", "世", "界."]


@pytest.mark.parametrize("written", ["at 10 o'clock", "café", "a < b", "", "?"])
def test_a_text_that_cannot_be_spoken_as_written_is_refused(written):
    assert english_units(written) is None


def test_chinese_with_latin_or_digits_is_refused():
    assert chinese_units("我爱KTV") is None and chinese_units("5分") is None


def test_units_join_to_the_transcript():
    assert units_text(["你", "好,", "世", "界."]) == "你好世界"
    assert units_text(["don't", "go."]) == "don't go"


def test_pinyin_has_one_syllable_and_stop_per_character():
    pytest.importorskip("pypinyin")
    assert pinyin_units(["长", "城,", "银", "行."]) == ["chang2", "cheng2,", "yin2", "hang2."]
    assert pinyin_units(["女", "儿?"]) == ["nv3", "er2?"]
