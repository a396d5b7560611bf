"""Letters of a transcript, and the head that reads them off encoder frames: the auxiliary CTC of training, and word
times of a checkpoint that keeps it.

English by its letters, Mandarin by its pinyin without tones, each in letters of its own. Some fifty units align
within a few thousand steps, where thousands of text tokens would not. Shapes: B clips, T encoder frames, D width,
N units, of which the last is the blank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from osum.errors import CheckpointError, MissingExtraError
from osum.text import is_chinese

ENGLISH = "abcdefghijklmnopqrstuvwxyz'"
MANDARIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTERS = ENGLISH + MANDARIN
BLANK = len(LETTERS)
NUM_UNITS = BLANK + 1
FILE = "letters.safetensors"
"""Of a checkpoint folder: the head, an optional part that only alignment reads."""


def letters(text: str) -> list[int]:
    """Indices into LETTERS of a normalised transcript; what has no letter is left out.

    Raises:
        MissingExtraError: Chinese text without pypinyin.
    """
    return letters_of([text])[0]


def letters_of(units: Sequence[str]) -> list[list[int]]:
    """Indices into LETTERS of each word or character of a normalised transcript, `[]` for one without letters.

    How a Chinese character is read may depend on those next to it, so the text is read as a whole.

    Raises:
        MissingExtraError: Chinese text without pypinyin.
    """
    found: list[list[int]] = [[] for _ in units]
    characters = [(number, character) for number, unit in enumerate(units) for character in unit]
    for chinese, group in groupby(characters, key=lambda pair: is_chinese(pair[1])):
        run = list(group)
        text = "".join(character for _, character in run)
        for (number, _), spelled in zip(run, _pinyin(text) if chinese else text, strict=True):
            found[number] += [LETTERS.index(letter) for letter in spelled if letter in LETTERS]
    return found


def _pinyin(run: str) -> list[str]:
    """How each character of a Chinese text is read, in capitals."""
    try:
        from pypinyin import lazy_pinyin
    except ImportError as fault:
        raise MissingExtraError("pypinyin", "train") from fault
    parts = lazy_pinyin(run)
    return [part.upper() for part in (parts if len(parts) == len(run) else [lazy_pinyin(one)[0] for one in run])]


class LetterHead(nn.Module):
    """Reads letters off encoder frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, NUM_UNITS)

    def forward(self, states: Tensor) -> Tensor:
        """(B, T, D) encoder frames to (B, T, N) scores."""
        return cast(Tensor, self.linear(states))

    @classmethod
    def of(cls, heads: Mapping[str, Tensor]) -> LetterHead:
        """The head that training calls `ctc`."""
        head = cls(heads["ctc.linear.weight"].shape[1])
        head.load_state_dict({name.removeprefix("ctc."): value for name, value in heads.items()})
        return head

    def save(self, folder: Path) -> None:
        """Write the head into a checkpoint folder."""
        tensors = {name: value.detach().float().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(tensors, folder / FILE, metadata={"letters": LETTERS})

    @classmethod
    def load(cls, folder: Path, width: int) -> LetterHead | None:
        """The head of a checkpoint folder in float32, None where it keeps none.

        Raises:
            CheckpointError: it is of another width or alphabet, or cannot be read.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        head = cls(width)
        try:
            with safe_open(path, "pt") as kept:
                alphabet = (kept.metadata() or {}).get("letters")
                head.load_state_dict({name: kept.get_tensor(name) for name in kept.keys()})  # noqa: SIM118
        except (OSError, RuntimeError, SafetensorError) as fault:
            raise CheckpointError(f"{path} cannot be read ({fault}): remove it, word times do without it") from fault
        if alphabet != LETTERS:
            raise CheckpointError(f"{path} reads the letters {alphabet!r}, not {LETTERS!r}: remove it")
        return head.eval()
