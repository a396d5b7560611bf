"""The catalogue is whole: names, metrics, labels, sources; and our own sets hold the clips that figures are about."""

import ctypes
import json
from pathlib import Path

import pytest

from docs.generate.benchmarks import markdown
from osum.corpus.synthesis import LIBRARY
from osum.errors import InputError
from osum.evaluation.sets import spoken
from osum.evaluation.sets.catalogue import BENCHMARKS, SUITES, TASKS
from osum.evaluation.sets.echat import ECHAT_SETS
from osum.evaluation.sets.own_sets import OWN_SETS
from osum.evaluation.sets.public_sets import PUBLIC_SETS
from osum.evaluation.sets.spoken_questions import SPOKEN_QUESTION_SETS
from osum.peers.recogniser import Recognition
from osum.scoring import METRICS, NORMALISERS

REPOSITORY = Path(__file__).parents[2]

each = pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=lambda benchmark: benchmark.name)


def test_no_name_stands_twice():
    assert len(BENCHMARKS) == len(PUBLIC_SETS) + len(ECHAT_SETS) + len(SPOKEN_QUESTION_SETS) + len(OWN_SETS)


@each
def test_a_benchmark_is_counted_by_what_there_is(benchmark):
    assert benchmark.metric in {*METRICS, "judge"}
    assert benchmark.normaliser in NORMALISERS
    assert benchmark.licence and benchmark.home and benchmark.title


@each
def test_its_labels_are_those_that_its_task_asks_for(benchmark):
    asked = {labels.name: set(labels.labels) for labels in TASKS[benchmark.task].label_sets}
    assert (benchmark.target == "label") == (benchmark.label_set is not None)
    assert set(benchmark.labels.values()) <= asked.get(benchmark.label_set, set())


@each
def test_a_layout_has_a_public_source_or_is_a_list_of_ours(benchmark):
    assert bool(benchmark.layout_source) != ("test.jsonl, rows of ours" in benchmark.layout)
    assert benchmark.layout_source or benchmark.note


@each
def test_a_folder_that_is_not_there_is_reported(benchmark, tmp_path):
    if benchmark.name.startswith("espeak"):
        pytest.skip("is made there")
    with pytest.raises(InputError, match=benchmark.name):
        benchmark.read(benchmark.place(tmp_path))


def test_suites_hold_benchmarks_that_there_are():
    assert {name for names in SUITES.values() for name in names} <= set(BENCHMARKS)


def test_the_page_is_up_to_date():
    page = (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python -m docs.generate.benchmarks > docs/benchmarks.md"


# Our own sets


def test_samples_are_those_of_the_repository():
    for name in SUITES["samples"]:
        benchmark = BENCHMARKS[name]
        clips = benchmark.read(benchmark.place(REPOSITORY))
        assert clips and all(Path(clip.path).is_file() for clip in clips)


def row(name, source="speechocean762", **fields):
    return {
        "id": name,
        "path": "audio.i16",
        "source": source,
        "evidence": "real",
        "offset": 0,
        "num_samples": 9,
    } | fields


ROWS = [
    row("adult", labels={"gender": "female", "age": "adult"}, text="go"),
    row("child", labels={"gender": "male", "age": "child"}, text="stop"),
    row("seen", labels={"gender": "male", "age": "adult"}, text="on", split_note="speaker seen"),
    row("digit", "fsdd", labels={"gender": "male", "age": "adult"}, text="two"),
    row("burst", "emogator", labels={"emotion": "happy", "event": "laugh"}, text=""),
    row("pain", "emogator", labels={"emotion": "other"}, text=""),
    row("rain", "esc10", labels={"event": "none"}, text=""),
    row("reader", "librispeech-train5", text="so it is", times="pocketsphinx",
        words=[{"text": "so", "start": 0, "end": 1}]),
    row("old", "commonvoice-en", labels={"age": "old", "event": "none"}, text="it is so"),
    row("phone", "covid19-cough", labels={"event": "cough"}, text=""),
    row("actor", "emodb", labels={"emotion": "angry"}),
    row("mixed", labels={"event": "cry"}, text="go", kind="event mixture", parts=["a"]),
    row("spoken", "espeak", evidence="synthetic", kind="sentence", language="en", text="go on", reply="why",
        words=[{"text": "go", "start": 0, "end": 1}]),
]  # fmt: skip
HELD = {
    "kit-gender": ["adult", "digit"],
    "kit-gender-both": ["adult"],
    "kit-age": ["adult", "child", "digit", "old"],
    "kit-asr": ["adult", "child"],
    "kit-digits": ["digit"],
    "kit-librispeech": ["reader"],
    "kit-commonvoice-en": ["old"],
    "kit-commonvoice-zh": [],
    "kit-times": ["reader"],
    "kit-age-old": ["adult", "digit", "old"],
    "kit-cough": ["phone"],
    "kit-event-none": ["old"],
    "kit-emotion-emodb": ["actor"],
    "kit-event": ["burst", "phone", "rain"],
    "kit-event-in-speech": ["mixed"],
    "kit-emotion": ["burst"],
    "synthetic-en": ["spoken"],
    "synthetic-times-en": ["spoken"],
    "synthetic-times-zh": [],
    "synthetic-reply": ["spoken"],
}


@pytest.fixture(scope="module")
def nano_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "nano"
    folder.mkdir()
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (folder / "audio.i16").write_bytes(bytes(18))
    return folder.parent


@pytest.mark.parametrize("name", HELD)
def test_a_set_of_the_test_split_holds_the_clips_of_its_figure(nano_root, name):
    benchmark = BENCHMARKS[name]
    clips = benchmark.read(benchmark.place(nano_root))
    assert [clip.id for clip in clips] == HELD[name]
    assert all((clip.path, clip.extra["offset"]) == (str(nano_root / "nano" / "audio.i16"), 0) for clip in clips)


def test_a_sound_without_a_voice_counts_as_another_event(nano_root):
    clips = BENCHMARKS["kit-event"].read(nano_root / "nano")
    assert {clip.id: clip.labels["event"] for clip in clips} == {"burst": "laugh", "rain": "other", "phone": "cough"}


@pytest.mark.parametrize("name", ["kit-event", "esc50"])
def test_no_event_counts_as_another_event_where_a_sound_without_a_voice_does(name):
    answer = Recognition(said="none", label="none", distribution={"none": 0.5, "other": 0.2, "cry": 0.3})
    counted = BENCHMARKS[name].counted(answer)
    assert (counted.said, counted.label) == ("other", "other")
    assert counted.distribution == pytest.approx({"other": 0.7, "cry": 0.3})
    assert BENCHMARKS["kit-event-in-speech"].counted(answer) == answer
    assert BENCHMARKS[name].counted(Recognition()) == Recognition()


def test_packed_audio_that_is_missing_is_reported(tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps(ROWS[0]))
    with pytest.raises(InputError, match=r"audio\.i16.*recipes.nano.build"):
        BENCHMARKS["kit-gender"].read(tmp_path)


def test_sentences_are_spoken_once_and_the_same_everywhere(tmp_path):
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        pytest.skip("espeak-ng is not installed")
    spoken_here, spoken_there = tmp_path / "a", tmp_path / "b"
    clips = [clip for language in ("en", "zh") for clip in BENCHMARKS[f"espeak-times-{language}"].read(spoken_here)]
    assert {clip.language for clip in clips} == {"en", "zh"} and len(clips) == 40
    assert all(clip.words and clip.words[-1].end <= clip.duration for clip in clips)
    stamps = {clip.path: Path(clip.path).stat().st_mtime_ns for clip in clips}
    assert len(BENCHMARKS["espeak-en"].read(spoken_here)) == 20
    assert stamps == {path: Path(path).stat().st_mtime_ns for path in stamps}
    again = spoken.spoken_clips(spoken_there)
    assert [Path(clip.path).read_bytes() for clip in again] == [
        (spoken_here / Path(clip.path).name).read_bytes() for clip in again
    ]
