"""Figures, the worst errors and the page of a report. One module: drawing costs its import once."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evaluation.stage import BENCHMARKS, SPOKEN, TIMED, benchmark, go, row, write_list
from osum.audio import SAMPLE_RATE, load
from osum.cli import main
from osum.corpus.packed import PackedWriter
from osum.errors import OsumError
from osum.evaluation.report import plots, read_results, write_pages
from osum.evaluation.report.figures import axes_of, draw
from osum.evaluation.report.tables import Compared
from osum.evaluation.report.worst import CLIP_SECONDS, clips, key, worst
from osum.evaluation.run.prediction import Prediction, Truth
from osum.evaluation.run.predictions import Predictions
from osum.evaluation.score.result import REPORT, BenchmarkResult, Report, write_report
from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.published import PUBLISHED
from osum.peers.recogniser import Recognition
from osum.scoring import Confusion, Score, WordTimes, calibration
from osum.utterance import Word

VOICES = benchmark()
HOSTILE = "<script>alert(1)</script><img src=https://example.org/x onerror=alert(2)> \"'&\x00"


def prediction(name: str, of: Benchmark = VOICES, model: str = "nano", **fields: Any) -> Prediction:
    kept = {"path": f"{name}.wav", "duration": 1.0, "truth": Truth(label="male"), "answer": Recognition(said="male")}
    return Prediction(id=name, benchmark=of.name, model=model, **{**kept, **fields})


def labelled(name: str, label: str, sure: float, **fields: Any) -> Prediction:
    other = "male" if label == "female" else "female"
    answer = Recognition(said=label, label=label, distribution={label: sure, other: 1 - sure})
    return prediction(name, answer=answer, **fields)


def written(name: str, text: str, **fields: Any) -> Prediction:
    return prediction(name, SPOKEN, truth=Truth(text="one two three"), answer=Recognition(text=text), **fields)


def result(of: Benchmark, model: str = "nano", value: float = 0.5, **changes: Any) -> BenchmarkResult:
    score = Score(of.metric, value, 4, value / 2, value * 1.5)
    return BenchmarkResult(of.name, model, of.metric, score, "clip", 4, 0, **changes)


def several() -> list[BenchmarkResult]:
    sure = calibration([0.9, 0.8, 0.7, 0.6] * 5, [True, True, False, True] * 5)
    taken = Confusion(("female", "male", "女声"), ((3, 1, 0, 0), (0, 2, 1, 1), (0, 0, 2, 0)))
    times = WordTimes(40.0, {50: 0.6}, (0,) * 20 + (5, 9, 30, 12) + (0,) * 26)
    return [
        *(result(VOICES, model, confusion=taken, calibration=sure) for model in ("nano", "a$b_{c}")),
        result(SPOKEN),
        result(TIMED, value=60.0, times=times),
    ]


# Figures


def test_scores_that_are_all_zero_have_a_figure_too() -> None:
    """Without a warning of an axis that has no length, which is an error here."""
    assert [one.group for one in draw(Compared([result(VOICES, value=0.0)], BENCHMARKS))] == ["results"]


def test_figures_are_pictures_of_a_sane_size_and_equal_for_equal_results() -> None:
    found = Compared(several(), BENCHMARKS)
    drawn = list(draw(found))
    assert [one.name for one in drawn] == [
        *("intervals-accuracy", "intervals-wer", "intervals-aas", "radar"),
        *("voices-confusion", "voices-reliability", "timed-word-times"),
    ]
    for one in drawn:
        assert one.png.startswith(b"\x89PNG\r\n\x1a\n") and one.png.endswith(b"IEND\xaeB`\x82")
        assert all(200 <= int.from_bytes(one.png[at : at + 4]) <= 1400 for at in (16, 20))
    assert next(draw(found)).png == drawn[0].png


def test_floors_are_in_no_figure_of_labels() -> None:
    floor = result(VOICES, "majority", confusion=Confusion(("female", "male"), ((4, 0, 0), (4, 0, 0))))
    assert [one.group for one in draw(Compared([floor], BENCHMARKS))] == ["results"]


def test_a_large_matrix_leaves_its_numbers_out_and_stays_small() -> None:
    labels = tuple(f"label {number}" for number in range(30))
    counts = tuple(tuple(int(a == b) for b in range(31)) for a in range(30))
    png = plots.confusion_matrices({"nano": Confusion(labels, counts)}, "thirty")
    assert int.from_bytes(png[16:20]) <= 1200


def test_characters_that_the_font_has_not_are_boxes() -> None:
    assert plots.drawable("female 女\n$x$") == "female □ $x$"


def test_the_radar_is_the_papers_figure_1() -> None:
    figures = [one for one in PUBLISHED if one.source.startswith("OSUM v2.0, table") and one.metric != "radar"]
    compared = [one for one in figures if one.model in ("OSUM v2.0", "Qwen2-Audio")]
    task = {"asr": "ASR", "esc50": "VED", "vocalsound": "VED", "meld": "SER", "mer2023": "SER", "air": "STTC"}
    tasks = {one.benchmark: _task(one.benchmark, task) for one in compared}
    declared = {name: benchmark(name=name, task=tasks[name]) for name in tasks}
    results = [
        BenchmarkResult(one.benchmark, one.model, one.metric, Score(one.metric, one.value, 1, 0, 0), "clip", 1, 0)
        for one in compared
    ]
    drawn = {axis.name: axis for axis in axes_of(Compared(results, declared))}
    paper = [one for one in PUBLISHED if one.source.startswith("OSUM v2.0, figure 1")]
    shown = {(one.benchmark.removeprefix("radar-").upper(), one.model): one.value for one in paper}
    # The figure calls the word times of Qwen-Audio those of Qwen2-Audio.
    del shown["SRWT", "Qwen2-Audio"]
    ours = {
        (name, model): axis.unit.factor * value for name, axis in drawn.items() for model, value in axis.values.items()
    }
    accuracies = {place: 100 - value if place[0] == "ASR" else value for place, value in ours.items()}
    assert accuracies == pytest.approx(shown, abs=0.006)


def _task(name: str, known: dict[str, str]) -> str:
    if name.startswith("internal-"):
        return name.split("-")[1].upper()
    if name.endswith("gender"):
        return "SGC"
    return "SAP" if name.endswith("age") else known.get(name.split("-", maxsplit=1)[0], "ASR")


# The worst errors


def test_wrong_labels_are_worse_the_surer_the_model_was() -> None:
    asked = [
        labelled("right", "male", 1.0),
        labelled("doubtful", "female", 0.6),
        labelled("sure", "female", 0.9),
        prediction("unreadable", answer=Recognition(raw="hm")),
        prediction("failed", answer=Recognition(error="no such file")),
        labelled("other prompt", "female", 1.0, prompt_index=1),
    ]
    found = worst(asked, "label", 3)
    assert [(one.prediction.id, one.answer, one.probability) for one in found] == [
        ("sure", "female", 0.9),
        ("doubtful", "female", 0.6),
        ("unreadable", "no label: hm", None),
    ]


def test_texts_are_worse_the_more_of_them_is_wrong() -> None:
    found = worst([written("a", "one two three"), written("b", "one"), written("c", "one two")], "text", 5)
    assert [(one.prediction.id, one.measure) for one in found] == [("b", "2 wrong of 3"), ("c", "1 wrong of 3")]


def test_word_times_are_worse_the_further_they_are_off() -> None:
    def timed(name: str, *words: Word) -> Prediction:
        return prediction(name, TIMED, truth=Truth(words=(Word("one", 0.0, 0.5),)), answer=Recognition(words=words))

    asked = [
        timed("exact", Word("one", 0.0, 0.5)),
        timed("off", Word("one", 0.25, 0.5)),
        timed("other", Word("x", 0, 1)),
    ]
    found = worst(asked, "words", 5)
    assert [(one.prediction.id, one.measure) for one in found] == [
        ("other", "none of 1 matched"),
        ("off", "125 ms off, 1 of 1 matched"),
    ]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s of a tone."""
    path = tmp_path_factory.mktemp("audio") / "tone.wav"
    seconds = np.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 300 * seconds), SAMPLE_RATE)
    return path


def test_clips_are_short_and_few(recording: Path) -> None:
    fields = {"path": str(recording), "duration": 20.0}
    asked = [
        labelled("whole", "female", 0.9, **fields),
        labelled("part", "female", 0.8, **fields, start=1.0, end=3.0),
        labelled("gone", "female", 0.7),
    ]
    mistakes = {("voices", "nano"): worst(asked, "label", 5)}
    found = clips(mistakes, 10**6)
    lengths = {name: len(load(io.BytesIO(sound))) / SAMPLE_RATE for name, sound in found.items()}
    assert lengths == {key(asked[0]): pytest.approx(CLIP_SECONDS, abs=0.2), key(asked[1]): pytest.approx(2, abs=0.2)}
    first = len(found[key(asked[0])])
    assert list(clips(mistakes, first)) == [key(asked[0])]
    assert clips({**mistakes, ("again", "nano"): mistakes["voices", "nano"]}, first) == {
        key(asked[0]): found[key(asked[0])]
    }


def test_clips_of_a_packed_file_and_of_one_channel_are_found_again_after_a_run(tmp_path: Path) -> None:
    tone = np.full(SAMPLE_RATE, 8000, np.int16)
    (tmp_path / "voices").mkdir()
    with PackedWriter(tmp_path / "voices" / "audio.i16") as packed:
        packed.append(tone[:100])
        place = packed.append(tone)
    soundfile.write(tmp_path / "voices" / "two.wav", np.stack([tone, 0 * tone], axis=1), SAMPLE_RATE)
    first = {**row(1), "path": "audio.i16", **place}
    go(write_list(tmp_path, [first, {**row(3), "path": "two.wav", "channel": 0}]), tmp_path / "out")
    mistakes = worst(Predictions(tmp_path / "out" / "echo", "voices").read(), "label", 5)
    found = clips({("voices", "echo"): mistakes}, 10**6)
    assert len(found) == 2
    for sound in found.values():
        heard = load(io.BytesIO(sound))
        assert len(heard) == pytest.approx(SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
        assert heard[4000:12000].mean() == pytest.approx(8000 / 32768, abs=0.02)


# The page


class Elements(HTMLParser):
    """Every element of a page with its attributes, and all its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def leave(out: Path, recording: Path, results: Iterable[BenchmarkResult]) -> Path:
    """A folder as `osum evaluate` leaves it, with a transcript that means harm."""
    heard = {"path": str(recording), "duration": 20.0, "start": 0.0, "end": 1.0}
    (out / "nano").mkdir(parents=True)
    spoken = [written(HOSTILE, HOSTILE, **heard), written("right", "one two three")]
    Predictions(out / "nano", SPOKEN.name).replace(spoken)
    Predictions(out / "nano", VOICES.name).replace([labelled("one", "female", 0.9)])
    write_report(out / REPORT, Report(tuple(results)))
    return out


@pytest.fixture
def out(tmp_path: Path, recording: Path) -> Path:
    """Two figures and nothing to draw but them."""
    return leave(tmp_path / "out", recording, [result(SPOKEN), result(VOICES)])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, recording: Path) -> str:
    """The page of a report that has everything."""
    folder = tmp_path_factory.mktemp("page")
    out = leave(folder / "out", recording, several())
    reported = write_pages(read_results([out], BENCHMARKS, ()), [out], folder / "report", 5, pytest.fail)
    assert (reported.num_errors, reported.num_clips) == (2, 1)
    assert reported.num_figures == len(list((folder / "report" / "figures").iterdir()))
    return reported.page.read_text("utf8")


def test_the_page_needs_no_network_and_shows_hostile_text_as_text(page: str) -> None:
    elements = Elements(page)
    assert "<script>alert(1)</script><img src=https://example.org/x onerror=alert(2)>" in elements.text
    assert [len(elements.of(tag)) for tag in ("script", "link", "iframe", "audio")] == [1, 0, 0, 1]
    loading = ("src", "href", "action", "data", "poster", "srcset")
    pairs = [pair for _, attributes in elements.found for pair in attributes.items()]
    loaded = {(address or "").split(":", maxsplit=1)[0] for name, address in pairs if name in loading}
    assert {scheme for scheme in loaded if not scheme.startswith("#")} == {"data"}
    assert not any(name.startswith("on") for name, _ in pairs)


def test_the_page_lets_only_its_own_script_and_style_work(page: str) -> None:
    policy = Elements(page).of("meta")[1]["content"] or ""
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "http" not in policy
    for tag in ("style", "script"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text[1].encode()).digest()).decode() if text else ""
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_page_can_be_read_without_eyes_and_without_a_mouse(page: str) -> None:
    elements = Elements(page)
    assert elements.of("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in elements.of("img")) and all(one["aria-label"] for one in elements.of("audio"))
    assert all(head.get("scope") for head in elements.of("th"))
    assert len(elements.of("caption")) == len(elements.of("table"))
    assert all(one.get("tabindex") == "0" and one.get("aria-label") for one in elements.of("div"))
    names = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(names) == len(set(names))
    assert {(link["href"] or "")[1:] for link in elements.of("a")} <= set(names)


def test_predictions_that_cannot_be_read_cost_the_page_their_errors_alone(out: Path, tmp_path: Path) -> None:
    (out / "nano" / "voices.jsonl").write_text("{}\n", "utf8")
    faults: list[OsumError] = []
    reported = write_pages(read_results([out], BENCHMARKS, ()), [out], tmp_path / "report", 5, faults.append)
    assert reported.num_errors == 1 and "voices.jsonl:1" in str(faults[0])


# The command


def test_the_command_writes_a_report(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, kept, readme = tmp_path / "report", tmp_path / "kept.json", tmp_path / "README.md"
    readme.write_text("<!-- results: spoken -->\n<!-- /results -->\n", "utf8")
    written_too = ("--keep", str(kept), "--readme", str(readme))
    assert main(["report", str(out), "-o", str(report), "--worst", "0", *written_too]) == 0
    assert str(report / "index.html") in capsys.readouterr().out
    assert {path.name for path in report.iterdir()} == {"index.html", "report.md", "tables.tex", "figures"}
    assert "| spoken | WER % ↓ | 4 | 50.0 [25.0, 75.0] |" in readme.read_text("utf8")
    assert main(["report", str(kept), "-o", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "report.md").read_bytes() == (report / "report.md").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "reported"),
    [
        (["{tmp}/none", "-o", "{tmp}/r"], 1, "none cannot be read"),
        (["{tmp}", "-o", "{tmp}/r"], 1, "report.json cannot be read"),
        (["{out}", "-o", "{tmp}/r", "--worst", "-1"], 2, "'-1' is no whole number from 0"),
        (["{out}", "-o", "{tmp}/r", "--keep", "{tmp}/kept.txt"], 1, "ends in .json"),
    ],
)
def test_the_command_says_what_is_wrong(
    words: list[str], code: int, reported: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *(word.format(tmp=tmp_path, out=out) for word in words)]) == code
    error = capsys.readouterr().err
    assert reported in error and error.count("\n") == 1
    assert not (tmp_path / "r").exists()
