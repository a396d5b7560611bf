"""Answers during training: a few validation clips, asked as a user would ask, and scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from osum.audio import SAMPLE_RATE
from osum.checkpoints.checkpoint import Checkpoint
from osum.corpus.packed import Float32
from osum.listening.recognizer import Recognizer
from osum.scoring import ERROR_RATES, normalize
from osum.utterance import Utterance


def answered(
    checkpoint: Checkpoint, rows: Sequence[Utterance], read: Callable[[Utterance], Float32]
) -> dict[str, float]:
    """Error rate (`wer`, `cer`) of transcripts and accuracy of each label, over the rows that know them.

    What no row contains is left out. Each clip is asked for its transcript and every single label.
    """
    asked = [task for task in checkpoint.tasks.values() if task.transcript == "plain" and not task.reply]
    asked = [task for task in asked if len(task.label_sets) <= 1]
    answers = Recognizer(checkpoint).label(
        [(read(row), SAMPLE_RATE) for row in rows], tasks=[task.name for task in asked]
    )
    pairs = list(zip(rows, answers, strict=True))
    scores: dict[str, float] = {}
    for language, rate in ERROR_RATES.items():
        texts = [(row.text, answer.text or "") for row, answer in pairs if row.text and row.language == language]
        if texts:
            known, answered = ([normalize(text) for text in column] for column in zip(*texts, strict=True))
            scores[rate.__name__] = rate(known, answered).value
    for task in asked:
        for labels in task.label_sets:
            hits = [
                answer.summary[task.name].label == labels.canonical(truth)
                for row, answer in pairs
                if (truth := row.labels.get(labels.name)) and task.name in answer.summary
            ]
            if hits:
                scores[task.name] = sum(hits) / len(hits)
    return scores
