"""What Whisper reads: which clips, what a kill leaves, and a folder that holds no Whisper."""

import errno
import json

import numpy as np
import pytest
import soundfile
from transformers import Qwen2Config

from recipes.nano.recordings import read_rows
from recipes.nano.transcribe import BATCH, BEAMS, Clip, Reader, clips, grouped, transcribe


class Reads:
    def __init__(self, fail_after=99):
        self.batches, self.fail_after = [], fail_after

    def read(self, batch):
        if len(self.batches) == self.fail_after:
            raise KeyboardInterrupt
        self.batches.append([clip.id for clip in batch])
        return [f"text of {clip.id}" for clip in batch]


def some(count, language="en", twice=False):
    return [Clip(f"{language}{i}", None, language, twice) for i in range(count)]


def test_only_our_languages_without_text_are_read(tmp_path):
    rows = [
        {"id": "a/1", "language": "en", "source": "a", "duration_s": 2.0, "audio": "1.ogg"},
        {"id": "a/2", "language": "en", "source": "a", "duration_s": 2.0, "audio": "2.ogg", "text": "known"},
        {"id": "a/3", "language": "none", "source": "a", "duration_s": 2.0, "audio": "3.ogg"},
        {"id": "a/4", "language": "en", "source": "a", "duration_s": 40.0, "audio": "4.ogg"},
        {"id": "a/5", "language": "de", "source": "emodb", "duration_s": 2.0, "audio": "5.ogg"},
    ]
    (tmp_path / "real2" / "a").mkdir(parents=True)
    (tmp_path / "real2" / "a" / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert [clip.id for clip in clips(tmp_path, None)] == ["a/1"]


def test_a_batch_has_one_language_and_kind():
    batches = list(grouped([*some(BATCH + 1), *some(1, "zh"), *some(1, "zh", twice=True)]))
    assert [len(batch) for batch in batches] == [BATCH, 1, 1, 1]


def test_it_continues_where_it_was_stopped(tmp_path):
    out = tmp_path / "read.jsonl"
    with pytest.raises(KeyboardInterrupt):
        transcribe(Reads(fail_after=1), some(3 * BATCH), out)
    out.write_bytes(out.read_bytes() + b'{"id": "ha')
    again = Reads()
    transcribe(again, some(3 * BATCH), out)
    assert [row["id"] for row in read_rows(out)] == [clip.id for clip in some(3 * BATCH)]
    assert len(again.batches) == 2


def test_another_model_is_reported_in_one_line(tmp_path):
    Qwen2Config().save_pretrained(tmp_path)
    with pytest.raises(SystemExit, match="is a qwen2 model: give openai/whisper-base"):
        Reader(str(tmp_path))


def test_a_missing_folder_is_reported_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit, match="holds no model"):
        Reader(str(tmp_path / "none"))


class TwoDecodings(Reader):
    """A Whisper whose beam search sometimes disagrees; only what decodes is replaced."""

    def __init__(self):
        self.decoded = []

    def read_waves(self, waves, language, beams=1):
        self.decoded.append(beams)
        numbers = [int(wave[0] * 10) for wave in waves]
        return [f"Clip {n}." if beams == 1 else f"clip {n}{' other' * (n == 5)}!" for n in numbers]


def test_a_transcript_is_kept_where_two_decodings_agree(tmp_path):
    for number in (3, 5):
        soundfile.write(tmp_path / f"{number}.wav", np.full(1600, number / 10 + 0.01, np.float32), 16_000)
    batch = [Clip(str(number), tmp_path / f"{number}.wav", "en", True) for number in (3, 4, 5)]  # 4 is not there
    reader = TwoDecodings()
    assert reader.read(batch) == ["Clip 3.", None, None] and reader.decoded == [1, BEAMS]


def test_speech_whose_text_is_known_is_decoded_once(tmp_path):
    soundfile.write(tmp_path / "5.wav", np.full(1600, 0.51, np.float32), 16_000)
    reader = TwoDecodings()
    assert reader.read([Clip("5", tmp_path / "5.wav", "en", False)]) == ["Clip 5."] and reader.decoded == [1]


def test_a_full_disk_loses_no_line_that_was_written(tmp_path, monkeypatch):
    out = tmp_path / "read.jsonl"
    transcribe(Reads(), some(BATCH), out)
    before = out.read_bytes()

    class Full(Reads):
        def read(self, batch):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        transcribe(Full(), some(2 * BATCH), out)
    assert out.read_bytes() == before
