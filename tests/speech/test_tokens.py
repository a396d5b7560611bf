"""The S3 tokenizer gives the original's codes (golden), and a clip the same ones in any batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from osum.speech.tokens import SpeechTokenizer, TokenizerConfig

from .golden import arrays, far, full_shapes, shapes_of, tokenizer


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return arrays("s3tok")


def padded(*mels: Tensor) -> Tensor:
    """(M, F) clips to (B, M, F), filled with what is not zero."""
    longest = max(mel.shape[1] for mel in mels)
    return torch.stack([torch.nn.functional.pad(mel, (0, longest - mel.shape[1]), value=7.0) for mel in mels])


def test_hidden_states_and_codes_are_the_originals(golden: dict[str, Tensor]) -> None:
    hidden, lengths = tokenizer().encoder(golden["a_mel"], golden["a_mel_len"])
    assert far(hidden, golden["a_hidden"]) < 1e-4
    assert lengths.tolist() == golden["a_hidden_len"].tolist()
    assert torch.equal(tokenizer()(golden["a_mel"], golden["a_mel_len"])[0], golden["a_code"])


def test_codes_in_a_batch_are_the_originals(golden: dict[str, Tensor]) -> None:
    mels = padded(arrays("features")["logmel128_16k"], arrays("features")["logmel_short_16k"])
    codes, lengths = tokenizer()(mels, golden["b_mel_len"])
    assert lengths.tolist() == golden["b_code_len"].tolist()
    for row, length in enumerate(lengths):
        assert torch.equal(codes[row, :length], golden["b_code"][row, :length])


@pytest.mark.parametrize("frames", [1, 2, 3, 45, 46, 47, 48])
def test_a_clip_of_any_length_is_the_same_alone_and_in_a_batch(frames: int) -> None:
    mel = arrays("features")["logmel128_16k"]
    short = mel[:, 30 : 30 + frames]
    alone, lengths = tokenizer().encoder(short[None], torch.tensor([frames]))
    together, _ = tokenizer().encoder(padded(mel, short), torch.tensor([mel.shape[1], frames]))
    assert lengths.item() == (frames + 3) // 4
    assert far(together[1:, : lengths.item()], alone) < 2e-5


def test_the_full_size_has_the_released_keys_and_shapes() -> None:
    with torch.device("meta"):
        assert shapes_of(SpeechTokenizer(TokenizerConfig())) == full_shapes("s3tokenizer")
