import math
import random
import sys
import time

import jiwer
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from osum.errors import InputError, MissingExtraError
from osum.scoring import (
    METRICS,
    Resampling,
    aas,
    accuracy,
    bleu,
    bleu_signature,
    bleu_tokenizer,
    cer,
    confusion,
    macro_f1,
    mer,
    unweighted_recall,
    wer,
)
from osum.utterance import Word

sentences = st.lists(st.sampled_from("abcd"), min_size=1, max_size=6).map(" ".join)
pairs = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=8)
labelled = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30)


def timed(text: str, shift: float = 0.0) -> tuple[Word, ...]:
    return tuple(Word(unit, index + shift, index + 0.5 + shift) for index, unit in enumerate(text.split()))


def noisy(count: int) -> tuple[list[str], list[str]]:
    chance = random.Random(0)
    references = [chance.choice("abcd") for _ in range(count)]
    return references, [one if chance.random() < 0.8 else chance.choice("abcd") for one in references]


@given(pairs)
def test_error_rates_are_those_of_jiwer(pairs):
    references, hypotheses = map(list, zip(*pairs, strict=True))
    assert wer(references, hypotheses).value == pytest.approx(jiwer.wer(references, hypotheses))
    assert cer(references, hypotheses).value == pytest.approx(jiwer.cer(references, hypotheses))


@given(labelled)
def test_label_scores_are_those_of_sklearn(pairs):
    true, named = map(list, zip(*pairs, strict=True))
    options = {"labels": sorted(set(true)), "average": "macro", "zero_division": 0}
    assert accuracy(true, named).value == pytest.approx(accuracy_score(true, named))
    assert macro_f1(true, named).value == pytest.approx(f1_score(true, named, **options))
    assert unweighted_recall(true, named).value == pytest.approx(recall_score(true, named, **options))


@given(labelled)
def test_a_confusion_matrix_is_that_of_sklearn_and_a_column_for_no_label(pairs):
    true, named = map(list, zip(*pairs, strict=True))
    found = confusion(true, named, "abc")
    assert [row[:-1] for row in found.counts] == list(map(tuple, confusion_matrix(true, named, labels=list("abc"))))
    assert confusion(["a", "b"], [None, "x"], "ab").counts == ((0, 0, 1), (0, 0, 1))
    with pytest.raises(InputError, match="true label 'x' is none of a, b"):
        confusion(["x"], ["a"], "ab")


@given(pairs)
def test_bleu_is_that_of_sacrebleu(pairs):
    references, hypotheses = map(list, zip(*pairs, strict=True))
    assert 100 * bleu(references, hypotheses, Resampling(resamples=2)).value == pytest.approx(
        sacrebleu.corpus_bleu(hypotheses, [references]).score
    )


def test_chinese_is_tokenized_for_bleu_as_sacrebleu_does_it():
    references, hypotheses = ["我们今天去北京看朋友。", "The film was good."], ["我们今天去北京玩。", ""]
    expected = sacrebleu.corpus_bleu(hypotheses, [references], tokenize="zh").score
    assert 0 < 100 * bleu(references, hypotheses).value == pytest.approx(expected)
    assert (bleu_tokenizer(references), bleu_tokenizer(["Good."])) == ("zh", "13a")
    assert "nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp" in bleu_signature("zh")


def test_word_errors_are_counted_by_kind():
    score = wer(["a b c d", "e f"], ["a x c", "e f g"])
    assert (score.name, score.value, score.count) == ("wer", 0.5, 2)
    assert score.detail == {"substitutions": 1, "deletions": 1, "insertions": 1, "units": 6}


def test_mixed_errors_count_chinese_by_character_and_words_whole():
    assert mer(["我爱 music"], ["我爱 musik"]).value == pytest.approx(1 / 3)
    assert mer(["今天天气"], ["今天，天汽。"]).value == pytest.approx(1 / 4)


def test_case_and_punctuation_count_only_without_the_normalizer():
    assert wer(["Hello, you"], ["hello you"]).value == 0
    assert wer(["Hello, you"], ["hello you"], normalizer=str).value == 0.5


def test_empty_hypotheses_are_deletions_and_loops_pass_one():
    assert wer(["a b"], [""]).value == 1
    assert wer(["a"], ["a a a a"]).value == 3


def test_shifts_are_the_mean_of_starts_and_ends_in_milliseconds():
    late = tuple(Word(word.text, word.start + 0.01, word.end + 0.03) for word in timed("a b c"))
    score = aas([timed("a b c")], [late])
    assert score.value == pytest.approx(20)
    assert (score.detail["start_ms"], score.detail["end_ms"]) == pytest.approx((10, 30))
    assert score.detail["coverage"] == 1


def test_shifts_are_measured_on_matched_units_only():
    score = aas([timed("a b c d")], [timed("A x c", 0.1)])
    assert score.value == pytest.approx(100)
    assert (score.detail["matched"], score.detail["units"], score.detail["coverage"]) == (2, 4, 0.5)


def test_shifts_are_not_defined_where_nothing_matches():
    score = aas([timed("a b")], [()])
    assert math.isnan(score.value)
    assert score.detail["coverage"] == 0


def test_an_answer_without_a_label_is_wrong_but_no_label_of_its_own():
    score = accuracy(["a", "b"], ["a", None])
    assert (score.value, score.detail) == (0.5, {"right": 1, "unlabelled": 1})
    assert macro_f1(["a", "b"], ["a", None]).detail == {"a": 1, "b": 0}


def test_unweighted_recall_counts_each_label_alike():
    score = unweighted_recall(["a"] * 9 + ["b"], ["a"] * 10)
    assert (score.value, score.detail) == (0.5, {"a": 1, "b": 0})


@pytest.mark.parametrize("metric", [accuracy, macro_f1, unweighted_recall, wer, mer])
def test_the_interval_holds_the_value_and_comes_again(metric):
    references, hypotheses = noisy(300)
    score = metric(references, hypotheses)
    assert 0 < score.low < score.value < score.high < 1
    assert score == metric(references, hypotheses)
    assert score != metric(references, hypotheses, Resampling(seed=1))


def test_the_interval_has_the_width_of_a_proportion():
    score = accuracy(["a"] * 1000, ["a"] * 800 + ["b"] * 200)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 1000)
    assert (score.low, score.high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.004)


def test_whole_groups_are_drawn_together():
    right = ["a"] * 50 + ["b"] * 50
    alone = accuracy(["a"] * 100, right)
    grouped = accuracy(["a"] * 100, right, Resampling(groups=[index // 25 for index in range(100)]))
    assert alone.value == grouped.value
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_shifts_have_an_interval():
    hypotheses = [timed("a b", shift) for shift in (0.01, 0.02, 0.03, 0.04)]
    score = aas([timed("a b")] * 4, hypotheses)
    assert 10 <= score.low < score.value < score.high <= 40.0001


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize(("references", "hypotheses"), [([], []), (["a"], []), ("a", "a")])
def test_lists_that_do_not_pair_are_refused(metric, references, hypotheses):
    with pytest.raises(InputError, match="give"):
        metric(references, hypotheses)


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="2 groups for 1 utterances"):
        accuracy(["a"], ["a"], Resampling(groups=[1, 2]))


def test_references_without_words_are_refused():
    with pytest.raises(InputError, match="no reference holds a word"):
        wer(["", "..."], ["a", "b"])


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'osum\[eval\]'"):
        wer(["a"], ["a"])


@pytest.mark.slow
def test_a_hundred_thousand_sentences_take_seconds():
    chance = random.Random(0)
    references = [" ".join(chance.choices("abcdefghij", k=20)) for _ in range(100_000)]
    start = time.perf_counter()
    assert wer(references, references[1:] + references[:1]).count == 100_000
    assert time.perf_counter() - start < 10
