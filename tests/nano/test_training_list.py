import json

import numpy as np
import pytest

from osum.corpus.manifest import write_manifest
from osum.corpus.packed import PackedWriter
from osum.errors import InputError
from osum.utterance import Utterance
from recipes.nano.training_list import HASH_DIGITS, clip_hash, training_list, write_training_list


@pytest.fixture
def data(tmp_path):
    """A real clip, the same speaker's second one in valid, a synthetic clip, and a clip made of the first."""
    (tmp_path / "audio.i16").write_bytes(b"")
    with PackedWriter(tmp_path / "audio.i16") as packed:

        def row(name, source, speaker, **extra):
            samples = np.full(80, len(name), np.int16)
            return Utterance(
                id=name, path="audio.i16", source=source, speaker=speaker, extra={**extra, **packed.append(samples)}
            )

        real = row("a", "fsdd", "s1", evidence="real")
        said = row("bb", "espeak", "v1", evidence="synthetic")
        made = row("ccc", "fsdd", "s1", evidence="real", parts=["a"])
        write_manifest(tmp_path / "train.jsonl", [real, said, made])
        write_manifest(tmp_path / "valid.jsonl", [row("dddd", "fsdd", "s2", evidence="real")])
    return tmp_path


def test_only_recordings_are_listed_of_train_and_valid_alike(data):
    hashes = sorted(clip_hash(np.full(80, value, np.int16)) for value in (1, 4))
    assert training_list(data) == {"fsdd": {"speakers": ["s1", "s2"], "sha256": hashes}}


def test_the_file_holds_the_list(data, tmp_path):
    write_training_list(data, tmp_path / "out" / "list.json")
    assert json.loads((tmp_path / "out" / "list.json").read_text()) == training_list(data)


def test_a_made_clip_of_an_unlisted_recording_is_reported(data):
    write_manifest(data / "valid.jsonl", [Utterance(id="e", path="audio.i16", extra={"parts": ["gone"]})])
    with pytest.raises(InputError, match="'gone' is part of a made clip"):
        training_list(data)


def test_a_hash_depends_on_the_samples_alone():
    assert clip_hash(np.arange(5, dtype=np.int16)) == clip_hash(np.arange(5, dtype=">i2"))
    assert len(clip_hash(np.zeros(0, np.int16))) == HASH_DIGITS
