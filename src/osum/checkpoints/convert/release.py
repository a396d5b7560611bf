"""How the two releases differ: facts that their state dicts do not contain (specification 1.5; echat 1.5, 2.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from osum.errors import ConversionError
from osum.tasks import ECHAT as ECHAT_TASKS
from osum.tasks import RELEASE as OSUM_TASKS
from osum.tasks import TaskSet


@dataclass(frozen=True)
class Release:
    """One of the originals."""

    name: str
    mark: str
    """Key that this release alone has."""
    layout: str
    speech_output: bool
    answer_end_token_id: int
    encoder_rows: int
    """Rows of the encoder's position table, where the file leaves it out."""
    tokenizer: str
    """Hub name of the language model that brings the tokenizer."""
    tasks: TaskSet
    """What it answers."""
    system_prompt: str = ""
    """Put before questions that bring none; empty where the release has no system line."""


PAD_TOKEN_ID = 151_643
"""`<|endoftext|>` of every Qwen2 tokenizer."""
ADAPTOR_ROWS = 5000

OSUM = Release(
    name="osum",
    mark="speaker_head.weight",
    layout="prompt_first",
    speech_output=False,
    answer_end_token_id=151_643,
    encoder_rows=1500,
    tokenizer="Qwen/Qwen2-7B",
    tasks=OSUM_TASKS,
)
ECHAT = Release(
    name="echat",
    mark="speech_head.weight",
    layout="chatml",
    speech_output=True,
    answer_end_token_id=151_645,
    encoder_rows=30_000,
    tokenizer="Qwen/Qwen2.5-3B-Instruct",
    tasks=ECHAT_TASKS,
    system_prompt=(
        "You are OSUM-chat, an audio understanding assistant by ASLP Lab. You can transcribe speech accurately and "
        "analyze paralinguistic cues to provide precise text responses."
    ),
)
RELEASES = {release.name: release for release in (OSUM, ECHAT)}


def recognise(keys: Iterable[str]) -> Release:
    """The release that a state dict belongs to.

    Raises:
        ConversionError: neither or both marks are there.
    """
    held = set(keys)
    found = [release for release in RELEASES.values() if release.mark in held]
    if len(found) != 1:
        raise ConversionError(
            f"{'both' if found else 'neither'} of {OSUM.mark} and {ECHAT.mark} among {len(held)} keys: exactly one "
            "marks a state dict of OSUM or OSUM-EChat; give the original's infer.pt or osum_echat.pt"
        )
    return found[0]
