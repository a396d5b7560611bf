"""ExportOptions: how a corpus is written. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportOptions:
    """How a corpus is written."""

    task: str = "ASR"
    """Of the original's forms: whose answer `txt` is."""
    url: str = ""
    """Of label-studio: what stands before the names of sound files, such as /data/local-files/?d=corpus/."""
