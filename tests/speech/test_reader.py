"""The speech head reads texts: their letters to phonemes, how long they last, and what is said then."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import osum
from osum import audio
from osum.dialogue.talker import Reply, TextPiece
from osum.dialogue.task_replies import TaskReplies
from osum.dialogue.voiced import ReadAloud, Voiced
from osum.errors import CheckpointError, InputError
from osum.speech.checkpoint import load_reader, weights_file, write_config
from osum.speech.mel_decoder import MelDecoderConfig
from osum.speech.reader import LONGEST, PHONEME_RATE, SHORTEST, Reader, ReaderConfig
from osum.speech.small_voice import MEL, SmallVoice, SmallVoiceConfig
from osum.speech.source_filter import SourceFilterConfig
from osum.speech.voice import Voice

READER = ReaderConfig(num_codes=16, width=16, dilations=(1,))
DECODER = MelDecoderConfig(num_codes=16, embedding=8, width=16, dilations=(1,), code_dilations=(1,))
CONFIG = SmallVoiceConfig("tiny", MEL, DECODER, SourceFilterConfig(width=16, dilations=(1,)), READER)
VOICE = Voice("tiny", torch.empty(0, dtype=torch.long), torch.empty(80, 0), torch.tensor([0.0, 1.0]))


@cache
def reader() -> Reader:
    torch.manual_seed(0)
    made = Reader(READER)
    with torch.no_grad():
        made.duration.bias.fill_(0.5)
    return made.eval()


@cache
def speech() -> SmallVoice:
    torch.manual_seed(0)
    return SmallVoice(CONFIG).eval()


def test_a_text_is_as_many_codes_as_its_phonemes_last() -> None:
    text = "Well, how are you?"
    codes = reader().codes_of(text, VOICE.embedding)
    with torch.inference_mode():
        phonemes = torch.tensor([Reader._spelled(reader().spell(torch.tensor([reader().letters_of(text)]))[0])])
        _, logarithms = reader().time(phonemes, VOICE.embedding[None])
    frames = logarithms.exp().clamp(SHORTEST, LONGEST)
    assert len(codes) == round(float(frames.sum()) / PHONEME_RATE * 25)
    assert all(0 <= code < 16 for code in codes)


def test_repeats_are_one_phoneme_and_empty_places_none() -> None:
    logits = torch.nn.functional.one_hot(torch.tensor([0, 3, 3, 0, 3, 5, 5, 0]), 6).float()
    assert Reader._spelled(logits) == [0, 3, 3, 5, 0]


def test_letters_are_of_any_case_and_what_is_no_letter_is_left_out() -> None:
    assert reader().letters_of("It’s  10 O'CLOCK ☺") == reader().letters_of("it's o'clock")


@pytest.mark.parametrize("text", ["", "  ", "你好", "42!"])
def test_a_text_without_letters_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="reads English letters, and there are none"):
        reader().codes_of(text, VOICE.embedding)


def test_each_code_is_of_the_phoneme_that_lasts_at_its_middle() -> None:
    known = torch.eye(3, 16)[None]
    frames = torch.tensor([[3.2, 1.6, 3.2]])  # 80, 40 and 80 ms: two codes, one, two
    seen: list[torch.Tensor] = []
    one = reader()
    handle = one.place.register_forward_hook(lambda *_: torch.zeros(1, 5, 16))
    other = one.saying.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        one.say(known, frames, 5)
    handle.remove()
    other.remove()
    assert seen[0][0, :5].argmax(1).tolist() == [0, 0, 1, 2, 2]


def test_nano_answers_the_same_to_the_bit_with_a_voice_and_without() -> None:
    model = osum.load("nano")
    before = {name: value.clone() for name, value in model.engine.model.state_dict().items()}
    clip = audio.load(Path(__file__).parents[2] / "samples" / "en_child_girl.flac")
    question = [{"role": "user", "content": [{"type": "audio", "audio": clip}]}]
    *written, silent = TaskReplies(model).stream_reply(question)
    *pieces, spoken = Voiced(TaskReplies(model), ReadAloud(reader(), speech(), VOICE)).stream_reply(question)
    assert isinstance(silent, Reply) and isinstance(spoken, Reply)
    assert spoken.text == silent.text and spoken.audio is not None and spoken.sampling_rate == 16_000
    assert [piece for piece in pieces if isinstance(piece, TextPiece)] == written
    after = model.engine.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_a_voice_of_another_model_cannot_read() -> None:
    with pytest.raises(CheckpointError, match="a voice of 'other'"):
        ReadAloud(reader(), speech(), Voice("other", VOICE.codes, VOICE.mel, VOICE.embedding))
    with pytest.raises(CheckpointError, match="the speech head says 8 codes, tiny speaks 16"):
        ReadAloud(Reader(ReaderConfig(num_codes=8, width=16, dilations=(1,))), speech(), VOICE)


def test_a_folder_gives_its_reader_or_says_that_it_has_none(tmp_path: Path) -> None:
    write_config(CONFIG, tmp_path)
    with pytest.raises(CheckpointError, match=r"no speech head that reads texts \(reader\.safetensors\)"):
        load_reader(tmp_path)
    save_file(reader().state_dict(), tmp_path / weights_file("reader"))
    opened = load_reader(tmp_path)
    assert opened.codes_of("good morning", VOICE.embedding) == reader().codes_of("good morning", VOICE.embedding)
    assert np.isfinite(ReadAloud(opened, speech(), VOICE).speak("good morning")[0]).all()
