"""Given transcripts: answers are those of the model that has decoded the same text, and rows say who wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from model.tiny import noise

import osum
from osum.audio import SAMPLE_RATE
from osum.engine.engine import EngineCounts
from osum.engine.options import LabelOptions
from osum.errors import InputError, TaskError
from osum.listening.asked import Asked
from osum.listening.recognizer import Recognizer
from osum.listening.run import asked_of
from osum.listening.transcripts import OwnText, Transcript, TranscriptWindow
from osum.tasks import ECHAT
from osum.utterance import Utterance, Word

SAMPLES = Path(__file__).parents[2] / "samples"
GIVEN = LabelOptions(transcript="given")


@dataclass
class Says:
    """Knows what is said in every window; fails for one."""

    text: str = "good morning"
    fails_for: str = ""
    name: str = "says"
    asked: list[list[TranscriptWindow]] = field(default_factory=list)

    def describe(self) -> Mapping[str, Any]:
        return {"revision": self.text}

    def __call__(self, windows: Sequence[TranscriptWindow]) -> list[Transcript]:
        self.asked.append(list(windows))
        return [Transcript(error="no") if one.row.id == self.fails_for else Transcript(self.text) for one in windows]


@pytest.fixture(scope="module")
def nano() -> Recognizer:
    return osum.load("nano", device="cpu", dtype="float32")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """2.5 s of noise."""
    soundfile.write(tmp_path / "a.wav", noise(5 * SAMPLE_RATE // 2), SAMPLE_RATE)
    return tmp_path / "a.wav"


def test_answers_behind_the_own_text_are_those_behind_the_decoded_one(nano: Recognizer) -> None:
    """Of all labels in one call: probabilities, label or none, and whether there is speech."""
    for name in ("en_child_boy.flac", "laugh_1.flac", "zh_sentence_2.flac", "no_voice_rain.flac"):
        decoded = nano.label(SAMPLES / name, tasks="ASR,VED,SER,SSR,SGC,SAP,LID")
        same = [key for key, one in decoded.segments[0].labels.items() if one.raw.startswith(decoded.text)]
        row = Utterance(name, str(SAMPLES / name), text=decoded.text)
        (scored,) = nano.label_files([row], GIVEN)
        (one,), (other,) = decoded.segments, scored.segments
        assert other.no_speech == one.no_speech
        assert other.no_speech_probability == pytest.approx(one.no_speech_probability, abs=1e-4)
        for key in {*same} - {"ASR"} if decoded.text else ():
            if nano.tasks[key].transcript_of(one.labels[key].raw) == decoded.text:
                assert scored.summary[key].label == decoded.summary[key].label
                assert scored.summary[key].distribution == pytest.approx(decoded.summary[key].distribution, abs=1e-3)


def test_all_is_scored_in_one_pass_and_nothing_is_decoded(nano: Recognizer) -> None:
    row = Utterance("a", str(SAMPLES / "en_child_boy.flac"), text="good morning")
    nano.engine.counts = EngineCounts()
    (found,) = nano.label_files([row], GIVEN)
    assert nano.engine.counts.passes == 1
    assert found.summary.keys() == {task.name for task in nano.tasks.main if task.label_sets}
    assert len(found.segments[0].confidences) == 2


def test_the_own_text_and_its_words_stay_as_they_were(nano: Recognizer) -> None:
    words = (Word("Good", 0.1, 0.3), Word("morning", 0.3, 0.6))
    row = Utterance(
        "a", str(SAMPLES / "en_child_boy.flac"), text="Good morning", words=words, labels={"gender": "male"}
    )
    (found,) = nano.label_files([row], GIVEN)
    assert (found.text, found.words, found.text_from) == ("Good morning", words, "given")
    assert found.segments[0].text == "good morning"
    assert found.extra["reference"] == {"labels": {"gender": "male"}}
    (again,) = nano.label_files([found.with_(text_from="whisper")], GIVEN)
    assert again.text_from == "whisper"


def test_a_decoded_text_says_which_model_wrote_it(nano: Recognizer) -> None:
    row = Utterance("a", str(SAMPLES / "en_child_boy.flac"), text="Good morning")
    (found,) = nano.label_files([row], LabelOptions(tasks="ASR"))
    assert found.text_from == "nano" and found.extra["reference"] == {"text": "Good morning"}
    assert Utterance.from_dict(found.to_dict()) == found
    assert nano.label(SAMPLES / "laugh_1.flac", tasks="VED-only").text_from is None


@pytest.mark.parametrize(
    ("text", "message"), [(None, "row 'b' has no text"), ("a<happy>", "the text of 'b' holds < or >")]
)
def test_a_row_without_a_usable_text_costs_the_others_nothing(
    nano: Recognizer, clip: Path, text: str | None, message: str
) -> None:
    rows = [Utterance(name, str(clip), text=said) for name, said in (("a", "yes"), ("b", text), ("c", ""))]
    first, second, third = nano.label_files(rows, LabelOptions(tasks="SGC", transcript="given"))
    assert first.error is None and message in (second.error or "") and third.error is None
    assert (third.text, third.segments[0].no_speech) == ("", True)


def test_the_text_of_several_windows_is_dealt_by_the_times_of_its_words(short: Recognizer, clip: Path) -> None:
    words = tuple(Word(f"w{number}", number / 4, number / 4 + 0.2) for number in range(10))
    row = Utterance("a", str(clip), text=" ".join(word.text for word in words), words=words)
    (found,) = short.label_files([row], LabelOptions(tasks="SGC-only,ASR", transcript="given", withhold=False))
    assert len(found.segments) > 2 and found.text == row.text
    assert " ".join(segment.text for segment in found.segments) == row.text
    (refused,) = short.label_files([row.with_(words=())], GIVEN)
    assert "its words have no times: align it first" in (refused.error or "")


def test_a_transcriber_is_asked_for_batches_of_windows_with_their_place_in_the_file(
    short: Recognizer, clip: Path
) -> None:
    says = Says(fails_for="b")
    rows = [Utterance(name, str(clip), text="own", start=start) for name, start in (("a", 0.5), ("b", None))]
    options = LabelOptions(tasks="ASR", batch_size=2, withhold=False)
    first, second = short.label_files(rows, options, transcriber=says)
    assert (first.text_from, first.error, second.error) == ("says", None, "no")
    assert [segment.text for segment in first.segments] == ["good morning"] * len(first.segments)
    assert first.extra["reference"] == {"text": "own"}
    assert max(map(len, says.asked)) == 2
    clips = [window.clip for batch in says.asked for window in batch if window.row.id == "a"]
    assert [(one.start, one.end) for one in clips] == [(each.start, each.end) for each in first.segments]


def test_loops_in_a_given_text_are_what_was_said(nano: Recognizer, clip: Path) -> None:
    (found,) = nano.label_files(
        [Utterance("a", str(clip), text="no " * 60)], LabelOptions(transcript="given", withhold=False)
    )
    assert found.segments[0].text == ("no " * 60).strip()


@pytest.mark.parametrize("tasks", ["SGC,SRWT", "SRWT"])
def test_word_times_of_a_given_text_are_those_of_align(nano: Recognizer, tasks: str) -> None:
    path, text = SAMPLES / "en_child_boy.flac", "Good morning to you"
    options = LabelOptions(tasks=tasks, transcript="given", withhold=False)
    (found,) = nano.label_files([Utterance("a", str(path), text=text)], options)
    times = [(word.start, word.end) for word in nano.align(path, text)]
    assert [(word.start, word.end) for word in found.words] == times and len(times) == 4
    assert (found.text, set(found.summary)) == (text, {"SGC"} if "SGC" in tasks else set())


def test_a_reply_is_not_searched_by_beams(nano: Recognizer, clip: Path) -> None:
    row = Utterance("a", str(clip), text="yes")
    beams = osum.GenerationOptions(num_beams=2)
    with pytest.raises(InputError, match="without beams"):
        list(nano.label_files([row], LabelOptions(tasks="STTC", transcript="given", generation=beams)))
    with pytest.raises(InputError, match="transcript is 'gvien': give decoded or given"):
        LabelOptions(transcript="gvien")


def test_a_given_text_is_no_answer_where_punctuation_is_asked_for() -> None:
    assert "PUNC" not in {task.name for task in Asked.of(ECHAT, GIVEN).tasks}
    with pytest.raises(TaskError, match="task PUNC decodes its own transcript"):
        Asked.of(ECHAT, replace(GIVEN, tasks="ASR,PUNC"))


def test_a_reply_is_given_where_it_is_asked_for_by_name(nano: Recognizer) -> None:
    row = Utterance("a", str(SAMPLES / "en_child_boy.flac"), text="good morning")
    (found,) = nano.label_files([row], LabelOptions(tasks="STTC", transcript="given", withhold=False))
    assert found.reply and found.segments[0].labels["STTC"].raw.startswith("good morning<开始回答>")


def test_runs_continue_only_with_the_same_transcripts(nano: Recognizer) -> None:
    decoded = asked_of(nano, LabelOptions())
    assert "transcript" not in decoded
    assert asked_of(nano, GIVEN)["transcript"] == {"from": "given"}
    assert asked_of(nano, LabelOptions(), Says())["transcript"] == {"from": "says", "revision": "good morning"}
    assert OwnText().name == "given"
