"""Published figures are what their sources print, and are about sets that are known."""

import pytest

from osum.evaluation.sets.catalogue import BENCHMARKS, SUITES
from osum.evaluation.sets.published import ABSENT, PUBLISHED


def found(source, model, benchmark, metric=None):
    (one,) = (
        one
        for one in PUBLISHED
        if source in one.source and (one.model, one.benchmark) == (model, benchmark) and metric in (None, one.metric)
    )
    return one


@pytest.mark.parametrize(
    ("source", "model", "benchmark", "printed", "value"),
    [
        ("res_asr.jpg", "OSUM v2.0", "wenetspeech-test-meeting", "5.34", 0.0534),
        ("res_asr.jpg", "Whisper-L-v3", "aishell2-ios", "4.96", 0.0496),
        ("res_asr.png", "OSUM v1.0", "librispeech-test-other", "5.96", 0.0596),
        ("res_multi.jpg", "OSUM v2.0", "esc50", "96.60", 0.966),
        ("res_multi.jpg", "SenseVoice-L", "meld", "63.1", 0.631),
        ("res_multi.jpg", "OSUM v2.0", "internal-srwt", "7.02", 7.02),
        ("res_multi.jpg", "Qwen2-Audio", "air-bench-chat-speech", "6.77", 6.77),
        ("table4.png", "OSUM-EChat", "kaggle-common-voice-age", "83.77", 0.8377),
        ("table1.png", "OSUM-EChat", "echat-eval-event", "87.1", 87.1),
        ("Qwen2-Audio, its page", "Qwen2-Audio", "vocalsound", "0.9392", 0.9392),
        ("Qwen2-Audio, its page", "Qwen2-Audio, Hugging Face", "covost2-en-zh", "45.6", 0.456),
        ("Qwen2-Audio, its page", "Whisper-L-v3", "common-voice-15-zh-cn", "12.8", 0.128),
    ],
)
def test_a_number_is_the_printed_one(source, model, benchmark, printed, value):
    one = found(source, model, benchmark)
    assert (one.printed, one.value) == (printed, pytest.approx(value, abs=1e-12))


def test_one_set_may_have_figures_of_several_metrics():
    assert [found("OSUM, its page", "OSUM", "asru-codeswitching", name).printed for name in ("mer", "cer", "wer")] == [
        "3.89",
        "2.41",
        "19.30",
    ]


def test_what_another_measured_says_so():
    assert "authors of OSUM" in found("res_multi.jpg", "Qwen2-Audio", "kaggle-common-voice-age").note
    assert found("res_multi.jpg", "Qwen2-Audio", "internal-sap").note == ""


def test_what_is_not_printed_is_no_figure():
    assert not [one for one in PUBLISHED if (one.model, one.benchmark) == ("TouchASP", "aishell2-mic")]


def test_every_figure_is_of_a_benchmark_or_of_a_set_that_is_described():
    others = {one.benchmark for one in PUBLISHED} - set(BENCHMARKS)
    assert {name for name in others if not name.startswith(tuple(ABSENT))} == set()
    assert not [name for name in ABSENT if not any(other.startswith(name) for other in others)]


def test_a_figure_of_a_benchmark_is_counted_as_the_benchmark_is():
    odd = {(one.benchmark, one.metric) for one in PUBLISHED if one.benchmark in BENCHMARKS}
    odd -= {(benchmark.name, benchmark.metric) for benchmark in BENCHMARKS.values()}
    by_people = {(name, "human") for name in SUITES["echat"]}
    assert odd == {("asru-codeswitching", "cer"), ("asru-codeswitching", "wer")} | by_people


def test_nobody_has_two_figures_in_one_place():
    places = [(one.source, one.model, one.benchmark, one.metric) for one in PUBLISHED]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("suite", ["table4", "table5"])
def test_every_set_of_the_paper_has_its_figure(suite):
    assert all(found("OSUM v2.0, table", "OSUM v2.0", name) for name in SUITES[suite])
