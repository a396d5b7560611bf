"""Tables of a report, and what a repository keeps of one."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from evaluation.stage import SPOKEN, TIMED, benchmark
from osum.errors import InputError
from osum.evaluation.report import keep, read_results, replace_block, report_page, results_block, with_results
from osum.evaluation.report.markup import Table, html_table, latex, latex_text, markdown, one_line, row
from osum.evaluation.report.tables import (
    Compared,
    comparisons,
    overview,
    prompts,
    recognition,
    understanding,
    verdict,
    word_times,
)
from osum.evaluation.report.units import unit_of
from osum.evaluation.score.result import BenchmarkResult, Comparison
from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.catalogue import BENCHMARKS
from osum.evaluation.sets.published import PUBLISHED, Published
from osum.scoring import Calibration, Confusion, Difference, Score, WordTimes

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "results" / "nano.json"
VOICES = benchmark()
OWN: dict[str, Benchmark] = {one.name: one for one in (SPOKEN, VOICES, TIMED)}
SOURCE, OTHER = "a paper, table 4", "another paper"


def score(value: float, metric: str = "accuracy", count: int = 40, **detail: float) -> Score:
    return Score(metric, value, count, value - 0.125, value + 0.125, detail)


def result(model: str, value: float, of: Benchmark = VOICES, **changes: Any) -> BenchmarkResult:
    run = {"list_hash": "sha256:1", "normaliser": "osum 1"}
    fields = {"score": score(value, of.metric), "resampled_by": "speaker", "clips": 40, "failed": 0, "run": run}
    return BenchmarkResult(of.name, model, of.metric, **{**fields, **changes})


def published(model: str, printed: str, source: str = SOURCE, note: str = "") -> Published:
    return Published(model, SPOKEN.name, "wer", printed, float(printed) / 100, source, note)


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in line.cells] for line in table.rows]


def bold(table: Table) -> set[str]:
    return {cell.text for line in table.rows for cell in line.cells if cell.best}


# What stands in the tables


def test_all_test_sets_stand_in_one_table() -> None:
    confusion = Confusion(("female", "male"), ((24, 6, 0), (2, 8, 0)))
    found = Compared(
        [result("nano", 0.8, confusion=confusion), result("classical", 0.75), result("nano", 0.5, SPOKEN)], OWN
    )
    assert markdown(overview(found)).splitlines() == [
        "| task | test set | metric | n | commonest label | nano | classical |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        "| ASR | Voices | WER % ↓ | 40 | – | 50.0 [37.5, 62.5] | – |",
        "| SGC | Voices | accuracy % ↑ | 40 | 75.0 | **80.0 [67.5, 92.5]** | 75.0 [62.5, 87.5] |",
    ]


def test_the_commonest_label_of_a_test_set_is_next_to_that_of_the_training_clips() -> None:
    confusion = Confusion(("female", "male"), ((30, 0, 0), (10, 0, 0)))
    (line,) = texts(overview(Compared([result("majority", 0.25, confusion=confusion)], OWN)))
    assert line[4:] == ["75.0", "25.0 [12.5, 37.5]"]


@pytest.mark.parametrize(
    "other",
    [
        {"run": {"list_hash": "sha256:2", "normaliser": "osum 1"}},
        {"run": {"list_hash": "sha256:1", "normaliser": "none"}},
        {"score": score(0.9, count=39)},
        {"score": score(0.9, coverage=0.5)},
    ],
)
def test_figures_that_cannot_be_compared_have_no_best(other: dict[str, Any]) -> None:
    assert bold(overview(Compared([result("a", 0.8), result("b", 0.9)], OWN))) == {"90.0 [77.5, 102.5]"}
    assert bold(overview(Compared([result("a", 0.8), result("b", 0.9, **other)], OWN))) == set()


def test_figures_that_are_shown_alike_are_both_the_best() -> None:
    found = Compared([result("a", 0.90001), result("b", 0.9), result("c", 0.1), result("d", math.nan)], OWN)
    assert [cell.best for cell in overview(found).rows[0].cells[-4:]] == [True, True, False, False]


def test_clips_are_counted_for_each_model_where_the_counts_differ() -> None:
    found = Compared([result("a", 0.8), result("b", 0.9, score=score(0.9, count=3))], OWN)
    assert texts(overview(found))[0][3] == "a 40, b 3"


def test_published_rows_are_next_to_measured_ones_and_are_marked() -> None:
    quoted = [published("Whisper", "1.82"), published("Qwen", "1.6"), published("OSUM", "2.19", OTHER, "by others")]
    found = Compared([result("nano", 0.5, SPOKEN), result("sphinx", 0.25, SPOKEN)], OWN, (), quoted)
    table = recognition(found)
    assert texts(table) == [
        ["Whisper", "published [1]", "1.82"],
        ["Qwen", "published [1]", "1.6"],
        ["OSUM", "published [2]", "2.19"],
        ["nano", "measured", "50.00 [37.50, 62.50]"],
        ["sphinx", "measured", "25.00 [12.50, 37.50]"],
    ]
    assert table.notes[-2:] == (f"[1] {SOURCE}", f"[2] {OTHER}; by others")
    assert table.head == ("model", "figures", "Voices\nWER % ↓, n = 40")
    assert bold(table) == {"1.6", "25.00 [12.50, 37.50]"}  # never a published one against a measured one


def test_a_source_that_only_repeats_is_left_out() -> None:
    quoted = [published("Qwen", "1.60"), published("Qwen", "1.6", OTHER), published("OSUM", "2.2", OTHER)]
    found = Compared([result("nano", 0.5, SPOKEN)], OWN, (), quoted)
    assert [line[0] for line in texts(recognition(found))] == ["Qwen", "OSUM", "nano"]


def test_figures_of_another_metric_are_not_quoted() -> None:
    of_characters = Published("OSUM", SPOKEN.name, "cer", "3.0", 0.03, SOURCE)
    assert texts(recognition(Compared([result("nano", 0.5, SPOKEN)], OWN, (), [of_characters])))[0][0] == "nano"


def test_published_fractions_are_shown_in_percent_with_their_own_digits() -> None:
    found = Compared([result("nano", 0.5, BENCHMARKS["meld"])], BENCHMARKS, (), PUBLISHED)
    cells = {(line[1], line[3]) for line in texts(understanding(found))}
    assert {("WavLM-large", "54.2"), ("Emotion2Vec", "51.88"), ("SenseVoice-L", "63.1")} <= cells


def test_other_tasks_have_a_block_each() -> None:
    found = Compared([result("nano", 0.5), result("nano", 80.0, TIMED, score=score(80, "aas", coverage=0.75))], OWN)
    assert latex(understanding(found)).splitlines()[6:17] == [
        r"\begin{tabular}{lllr}",
        r"\toprule",
        r"task & model & figures & test set 1 \\",
        r"\midrule",
        r"\emph{SGC: gender} &  &  & "
        r"\emph{\begin{tabular}[t]{@{}r@{}}Voices \\ accuracy \% $\uparrow$, n = 40\end{tabular}} \\",
        r" & nano & measured & 50.00 {[}37.50, 62.50{]} \\",
        r"\midrule",
        r"\emph{SRWT: transcript with word times} &  &  & "
        r"\emph{\begin{tabular}[t]{@{}r@{}}Voices \\ AAS ms $\downarrow$, n = 40\end{tabular}} \\",
        r" & nano & measured & "
        r"\begin{tabular}[t]{@{}r@{}}80.00 {[}79.88, 80.12{]} \\ of 75.0 \% of the words\end{tabular} \\",
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def test_word_times_stand_with_their_coverage() -> None:
    times = WordTimes(60.0, {50: 0.4, 100: 0.7, 200: 0.9}, (0,) * 50)
    table = word_times(Compared([result("nano", 80, TIMED, score=score(80, "aas", coverage=0.75), times=times)], OWN))
    assert texts(table) == [["Voices", "nano", "80.0 [79.9, 80.1]", "75.0", "60.0", "40.0", "70.0", "90.0"]]


def test_prompts_have_mean_and_spread() -> None:
    several = (score(0.25), score(0.5), score(0.75))
    line = texts(prompts(Compared([result("nano", 0.25, prompts=several)], OWN)))[0]
    assert line[3:] == ["25.0 [12.5, 37.5]", "50.0", "25.0", "25.0 to 75.0", "3"]


@pytest.mark.parametrize(
    ("metric", "value", "p_value", "better"),
    [("wer", -0.1, 0.01, "a"), ("wer", 0.1, 0.01, "b"), ("accuracy", 0.1, 0.01, "a"), ("accuracy", 0.1, 0.2, "–")],
)
def test_the_better_model_is_named_where_it_is_shown(metric: str, value: float, p_value: float, better: str) -> None:
    pair = Comparison(SPOKEN.name, "a", "b", Difference(metric, value, value - 0.05, value + 0.05, p_value, 40))
    assert verdict(pair) == better


def test_paired_tests_have_a_row_each() -> None:
    pair = Comparison(SPOKEN.name, "a", "b", Difference("wer", -0.25, -0.5, -0.125, 0.002, 40))
    found = Compared([result("a", 0.25, SPOKEN), result("b", 0.5, SPOKEN)], OWN, [pair])
    assert texts(comparisons(found)) == [["Voices", "WER % ↓", "a", "b", "a", "-25.00 [-50.00, -12.50]", "0.002", "40"]]


def test_floors_stand_first_and_are_not_compared_with_each_other() -> None:
    names = ("nano", "source", "majority")
    pairs = [Comparison(VOICES.name, a, b, Difference("accuracy", 0.25, 0.1, 0.4, 0.01, 40))
             for a, b in (("nano", "source"), ("majority", "source"))]  # fmt: skip
    found = Compared([result(name, 0.5) for name in names], OWN, pairs)
    assert found.models == ["source", "majority", "nano"]
    assert [line[2:4] for line in texts(comparisons(found))] == [["nano", "source"]]


@pytest.mark.parametrize("metric", ["accuracy", "wer", "a new one"])
def test_what_was_not_measured_is_a_dash(metric: str) -> None:
    nothing = Score(metric, math.nan, 0, math.nan, math.nan)
    assert unit_of(metric).interval(nothing) == "–"


# Escaping

SIGNS = "ab1 \n_*[]()<>|\\`~#&;!\"'$%{}^-.:/@"
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.text(SIGNS, max_size=12)


class Cells(HTMLParser):
    """The texts of a page's table cells, and every tag of it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"onerror", "onclick"} & {name for name, _ in attrs}
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "br":
            self.cells[-1] += "\n"

    def handle_data(self, data: str) -> None:
        if self.cells and data.strip("\n"):
            self.cells[-1] += data


def small(first: str, second: str) -> Table:
    return Table("t", "T", ("one", "two"), (row(f"-{first}", f"-{second}"),), num_text=2)


def shown(*given: str) -> list[str]:
    return ["\n".join(one_line(line) for line in f"-{text}".split("\n")) for text in given]


@given(ANY_TEXT, ANY_TEXT)
def test_markdown_shows_every_text_as_it_is(first: str, second: str) -> None:
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    assert Cells(reader.render(markdown(small(first, second)))).cells[2:] == shown(first, second)


@given(ANY_TEXT, ANY_TEXT)
def test_html_shows_every_text_as_it_is(first: str, second: str) -> None:
    found = Cells(html_table(small(first, second)))
    assert found.cells[2:] == shown(first, second)
    assert found.tags <= {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "br"}


@given(ANY_TEXT)
def test_latex_leaves_no_sign_that_it_would_read(text: str) -> None:
    plain = re.sub(r"\\text\w+\{\}|\\[{}$&#%_]|\$\\\w+\$|\{[\[\]]\}", "", latex_text(text))
    assert not set(plain) & set('\\{}$&#%_^~<>|"[]')


def test_latex_of_every_special_sign() -> None:
    assert latex_text("50 % & $x_1^2$ ~ #{a}\\b <é>") == (
        r"50 \% \& \$x\_1\textasciicircum{}2\$ \textasciitilde{} \#\{a\}\textbackslash{}b \textless{}é\textgreater{}"
    )


# What a repository keeps


def test_kept_figures_give_the_same_tables(tmp_path: Path) -> None:
    sure = Calibration(score(0.1, "calibration_error"), ((0.9, 0.8, 40),), ((1.0, 0.2),), 0.15)
    run = {"list_hash": "sha256:1", "normaliser": "osum 1", "failed": ["a", "b"]}
    pair = Comparison(VOICES.name, "a", "b", Difference("accuracy", 0.05, -0.1, 0.2, 0.5, 40))
    results = [result("a", 0.8, calibration=sure, unreadable=0.125, run=run), result("b", math.nan, run=run)]
    before = Compared(results, OWN, [pair])
    keep(tmp_path / "kept.json", before)
    after = read_results([tmp_path / "kept.json"], OWN, ())
    assert report_page(after) == report_page(before) == (tmp_path / "kept.md").read_text("utf8")
    assert after.results[0].calibration.bins == () and "failed" not in after.results[0].run


def test_two_reports_of_one_model_and_test_set_are_refused(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        keep(tmp_path / name, Compared([result("a", 0.8)], OWN))
    with pytest.raises(InputError, match=r"a on voices stands in .*one.json and in .*two.json"):
        read_results([tmp_path / "one.json", tmp_path / "two.json"], OWN, ())


def test_a_block_takes_the_place_of_the_one_before() -> None:
    page = "a\n<!-- x: b c -->\nold\n<!-- /x -->\nz"
    assert replace_block(page, "x", str.upper) == "a\n<!-- x: b c -->\nB C\n<!-- /x -->\nz"
    with pytest.raises(InputError, match=r"<!-- y --> \.\.\. <!-- /y -->"):
        replace_block(page, "y", str)


def test_a_block_holds_the_test_sets_that_its_marker_names() -> None:
    pair = Comparison(VOICES.name, "a", "b", Difference("accuracy", 0.05, 0.1, 0.2, 0.01, 40))
    found = Compared([result("a", 0.8), result("b", 0.7), result("a", 0.5, SPOKEN)], OWN, [pair])
    block = results_block(found, "voi*, none")
    assert "accuracy" in block and "WER" not in block
    assert block.endswith("Paired bootstrap, p < 0.05: a is better than b on 1 of 1 test sets.")
    with pytest.raises(InputError, match="no results of 'x': the test sets are spoken, voices"):
        results_block(found, "x")


def test_a_page_can_take_the_table_alone() -> None:
    pair = Comparison(VOICES.name, "a", "b", Difference("accuracy", 0.05, 0.1, 0.2, 0.01, 40))
    found = Compared([result("a", 0.8), result("b", 0.7)], OWN, [pair])
    page = with_results("<!-- results-table: voices -->\n<!-- /results-table -->\n", found)
    assert "accuracy" in page and "Paired bootstrap" not in page
    assert with_results(page, found) == page


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "README.ja.md"])
def test_every_readme_shows_what_is_kept(name: str) -> None:
    found = read_results([KEPT], BENCHMARKS, PUBLISHED)
    readme = (ROOT / name).read_text(encoding="utf-8")
    assert with_results(readme, found) == readme
    assert "<th>test set</th>" in MarkdownIt("commonmark").enable("table").render(readme)


def test_the_page_of_results_shows_what_is_kept() -> None:
    found = read_results([KEPT], BENCHMARKS, PUBLISHED)
    assert KEPT.with_suffix(".md").read_text(encoding="utf-8") == report_page(found)
