"""A recogniser as the one who writes the transcripts behind which labels are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from osum.errors import OsumError, TaskError
from osum.listening.transcripts import Transcript, TranscriptWindow
from osum.peers.recogniser import Question, Recogniser
from osum.scoring import normalize

TASK = "ASR"


class ByRecogniser:
    """Transcripts of any recogniser; see `osum.listening.transcripts.Transcriber`.

    Raises:
        TaskError: it writes none.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        if TASK not in recogniser.tasks:
            raise TaskError(
                f"{recogniser.name} writes no transcripts: it answers {', '.join(sorted(recogniser.tasks))}"
            )
        self.name = recogniser.name
        self._recogniser = recogniser

    def describe(self) -> Mapping[str, Any]:
        """Revision, device, versions ..."""
        return self._recogniser.describe()

    def __call__(self, windows: Sequence[TranscriptWindow]) -> list[Transcript]:
        """The transcript of each window; where a batch breaks the model, each is asked alone."""
        try:
            answers = list(self._recogniser.recognise([window.clip for window in windows], Question(TASK)))
        except OsumError:
            raise
        except Exception as fault:
            if len(windows) > 1:
                return [found for window in windows for found in self([window])]
            said = " ".join(f"{type(fault).__name__}: {fault}".split())
            return [Transcript(error=f"{windows[0].row.path}: could not be transcribed by {self.name} ({said})")]
        # As training texts are written: lower case, no punctuation, none of the brackets that mark tags.
        return [Transcript(normalize(answer.text or ""), answer.error) for answer in answers]
