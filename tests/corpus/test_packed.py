"""PackedAudio gives back what PackedWriter was given."""

import numpy as np
import pytest

from osum.corpus.packed import PackedAudio, PackedWriter, to_int16
from osum.errors import AudioError
from osum.utterance import Utterance


def test_clips_come_back_from_their_places(tmp_path):
    clips = [np.array([0.5, -0.5], np.float32), np.array([0.25], np.float32)]
    with PackedWriter(tmp_path / "a.i16") as packed:
        rows = [Utterance(id="u", path="a.i16", extra=dict(packed.append(to_int16(clip)))) for clip in clips]
    audio = PackedAudio(tmp_path / "a.i16")
    assert [audio.read(row).tolist() for row in rows] == [clip.tolist() for clip in clips]


@pytest.mark.parametrize("place", [{}, {"offset": 1, "num_samples": 9}, {"offset": -1, "num_samples": 1}])
def test_a_row_outside_the_file_is_an_error(tmp_path, place):
    with PackedWriter(tmp_path / "a.i16") as packed:
        packed.append(np.zeros(4, np.int16))
    with pytest.raises(AudioError, match="u1"):
        PackedAudio(tmp_path / "a.i16").read(Utterance(id="u1", path="a.i16", extra=place))


def test_an_empty_or_missing_file_is_an_error(tmp_path):
    (tmp_path / "empty.i16").touch()
    for name in ("empty.i16", "absent.i16"):
        with pytest.raises(AudioError, match=name):
            PackedAudio(tmp_path / name)


def test_loud_samples_are_clipped():
    assert to_int16(np.array([2.0, -2.0])).tolist() == [32767, -32768]
