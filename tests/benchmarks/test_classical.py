"""The benchmark asks the package's classifiers what `figures` asks."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from classical import FRAMES, STATISTICS, Splits, answer
from figures import QUESTIONS

from osum.peers.classical import Features, fit
from osum.utterance import Utterance

GENDER = QUESTIONS[0]


def rows_of(split):
    """Forty recordings of four speakers and a synthetic one, which teaches nothing."""
    made = [Utterance("made", "", labels={"gender": "male"}, extra={"evidence": "synthetic"})]
    return made + [
        Utterance(f"{split}{i}", "", labels={"gender": ("male", "female")[i % 2]}, speaker=f"s{i // 10}",
                  extra={"evidence": "real"})
        for i in range(40)
    ]  # fmt: skip


def features_of(rows, seed):
    """Statistics that tell the gender; frames that tell nothing."""
    noise = np.random.default_rng(seed).standard_normal((2, len(rows), 5)).astype(np.float32)
    told = np.array([3.0 * (row.labels["gender"] == "male") for row in rows], np.float32)
    return Features(tuple(row.id for row in rows), noise[0] + told[:, None], noise[1])


def test_clips_are_answered_by_the_chosen_classifier_of_the_package():
    rows = {split: rows_of(split) for split in ("train", "valid", "test")}
    splits = Splits(rows, {split: features_of(part, seed) for seed, (split, part) in enumerate(rows.items())})
    labels, model = answer(splits, GENDER, STATISTICS)
    fitted = fit(splits.examples("train", GENDER, STATISTICS), splits.examples("valid", GENDER, STATISTICS))
    named = fitted.model.predict(splits.inputs("test", STATISTICS))
    assert list(labels.items()) == list(zip((row.id for row in rows["test"]), named, strict=True))
    assert model == {
        "question": "SGC",
        "model": f"classical: {fitted.name}",
        "chosen_at_accuracy": round(fitted.accuracy, 4),
        "train": 40,
        "valid": 40,
    }
    assert fitted.accuracy > 0.9 > answer(splits, GENDER, FRAMES)[1]["chosen_at_accuracy"]
