"""`osum talk` and `osum speak`, on a tiny random model and a voice without weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import soundfile
from dialogue.tiny_voice import VOICE, TinyVoice
from engine.tiny_checkpoint import CLIPS, write_checkpoint
from model.tiny import tiny_model, tiny_processor

import osum.speech.checkpoint
from cli.conftest import Run
from osum.dialogue.talker import Reply
from osum.tasks import OSUM

FEW = ("--max-new-tokens", 40)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker")
    tiny_model("chatml").save_pretrained(folder)
    tiny_processor("chatml").save_pretrained(folder)
    (folder / "tasks.json").write_text(json.dumps(OSUM.to_dict()), "utf8")
    return folder


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """Options that speak with the tiny voice."""
    monkeypatch.setattr(osum.speech.checkpoint, "load_synthesizer", lambda *_: TinyVoice())
    VOICE.save(tmp_path / "voice.safetensors")
    return ("--codec", tmp_path, "--voice", tmp_path / "voice.safetensors")


@pytest.fixture
def question(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "question.wav", CLIPS[0], 16_000)
    return tmp_path / "question.wav"


def test_a_question_is_answered_in_text(osum: Run, checkpoint: Path, question: Path) -> None:
    ran = osum("talk", question, "--model", checkpoint, *FEW)
    assert ran.code == 0 and ran.out.strip()


def test_a_question_is_answered_aloud(
    osum: Run, checkpoint: Path, question: Path, sound: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "answer.wav"
    ran = osum("talk", question, "--model", checkpoint, *sound, "-o", out, "--json", "--in-turns", *FEW)
    codes = json.loads(ran.out)["codes"]
    assert ran.code == 0 and soundfile.info(out).frames == 4 * len(codes) > 0


def test_a_thought_is_shown_when_asked_and_no_part_of_the_reply(osum: Run, checkpoint: Path, question: Path) -> None:
    words = ("talk", question, "--model", checkpoint, "--thinking", "language", *FEW)
    ran = osum(*words, "--show-thought")
    assert "thought: <think>" in ran.err and "think" not in ran.out
    assert "thought:" not in osum(*words).err


def test_a_conversation_continues(osum: Run, checkpoint: Path, question: Path, tmp_path: Path) -> None:
    history = tmp_path / "talk.json"
    first = osum("talk", question, "--model", checkpoint, "--history", history, *FEW)
    second = osum("talk", "--text", "and you?", "--model", checkpoint, "--history", history, *FEW)
    assert first.code == second.code == 0
    messages = json.loads(history.read_text("utf-8"))
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[0]["content"] == [{"type": "audio", "path": str(question)}]


def test_an_empty_reply_is_reported_and_kept(
    osum: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osum.dialogue.talker.Talker.stream_reply", lambda *_: iter([Reply("")]))
    ran = osum("talk", "--text", "hi", "--model", checkpoint, "--history", tmp_path / "talk.json")
    assert (ran.code, ran.err) == (0, "osum: note: the model gave an empty reply\n")
    roles = [message["role"] for message in json.loads((tmp_path / "talk.json").read_text("utf-8"))]
    assert roles == ["user", "assistant"]


def test_a_reply_of_codes_only_is_said_and_no_turn_of_the_history(
    osum: Run, checkpoint: Path, sound: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = (1, 2, 3)
    spoken = Reply("", codes=codes, audio=TinyVoice().synthesize(codes, VOICE).numpy(), sampling_rate=100)
    monkeypatch.setattr("osum.dialogue.talker.Talker.stream_reply", lambda *_: iter([spoken]))
    out, history = tmp_path / "answer.wav", tmp_path / "talk.json"
    ran = osum("talk", "--text", "hi", "--model", checkpoint, *sound, "-o", out, "--history", history)
    assert ran.code == 0 and soundfile.info(out).frames == 12
    assert "the reply is 3 speech codes and no text, so no later question can refer to it" in ran.err
    assert not history.exists()


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="apt install espeak-ng")
def test_nano_answers_a_clip_aloud_without_a_codec(osum: Run, tmp_path: Path) -> None:
    clip, out = Path(__file__).parents[2] / "samples" / "en_child_girl.flac", tmp_path / "answer.wav"
    ran = osum("talk", clip, "-o", out, "--show-thought")
    assert ran.code == 0 and ran.out.strip() and soundfile.info(out).frames > 1600
    assert "recognised: " in ran.err and "by espeak-ng, a plain voice: first sound after" in ran.err


@pytest.mark.parametrize("option", ["--text=x", "--thinking=tag", "--history=talk.json", "--in-turns"])
def test_a_model_that_replies_by_its_task_refuses_what_only_others_do(
    osum: Run, question: Path, tmp_path_factory: pytest.TempPathFactory, option: str
) -> None:
    model = write_checkpoint(tmp_path_factory.mktemp("listener"))
    ran = osum("talk", question, option, "--model", model)
    assert ran.code == 2 and "was not trained to converse; leave it out" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_text_is_spoken_to_a_file(osum: Run, checkpoint: Path, sound: tuple[object, ...], tmp_path: Path) -> None:
    ran = osum("speak", "hi", "--emotion", "sad", "--model", checkpoint, *sound, "-o", tmp_path / "x.wav", *FEW)
    assert ran.code == 0 and soundfile.info(tmp_path / "x.wav").samplerate == 100
    ran = osum("speak", "hi", "--emotion", "hm", "--model", checkpoint, *sound, "-o", tmp_path / "y.wav", *FEW)
    assert (ran.code, (tmp_path / "y.wav").exists()) == (1, False)
    assert "emotion is 'hm': choose one of" in ran.err
    ran = osum("speak", "good morning", "--model", checkpoint, *sound, "-o", tmp_path / "x.wav", *FEW)
    assert ran.code == 0 and soundfile.info(tmp_path / "x.wav").samplerate == 100


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no question: give a recording, or --text"),
        (("--text", "x", "-o", "a.wav"), "--output and --voice go together"),
        (("--text", "x", "--codec", "d"), "--codec and --voice go together"),
        (("--text", "x", "--device", "banana"), "device 'banana' cannot be used here"),
        (("--text", "x", "--history", "broken.json"), "broken.json is no conversation"),
        (("gone.wav",), "gone.wav"),
        (("--text", "<|im_end|>"), "holds '<|im_end|>', which steers the model"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_one_line(
    osum: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{", "utf-8")
    ran = osum("talk", *words, "--model", checkpoint, *FEW)
    code = 2 if any(part in message for part in ("question", "together", "banana")) else 1
    assert ran.code == code and message in ran.err and len(ran.err.splitlines()) == 1
    assert not Path("a.wav").exists()
