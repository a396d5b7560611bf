"""The classical baseline beside `nano`: hand-made features and a linear or kernel classifier, on the same split.

    python benchmarks/classical.py --data DIR --out FILE.json [--ravdess DIR]

1. A clip becomes 187 numbers: mean and deviation over time, and the deviation of the deltas, of 40 log-mel
   bands, 20 MFCC, pitch and energy, and the voiced share. For words also a second form that keeps the order of
   sounds: the MFCC of its loud part resampled to 16 frames.
2. Standardised, then logistic regression or an RBF support vector machine; which one, and its C, is chosen on
   the validation split, or between training speakers where a source has no validation clips.
3. Fitted on the recordings of the training split (nothing synthetic), answered for every test clip.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from figures import (
    QUESTIONS,
    SOURCE,
    WORD_QUESTIONS,
    Labels,
    Question,
    is_recording,
    label_figures,
    label_tables,
    read_ravdess,
    read_split,
    source_only,
    write_json,
)
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from osum.audio import SAMPLE_RATE, load
from osum.data.packed import PackedAudio
from osum.utterance import Utterance

Floats = NDArray[np.float32]

HOP = SAMPLE_RATE // 100  # samples, 10 ms
WINDOW = SAMPLE_RATE // 40  # samples, 25 ms
PITCH_WINDOW = SAMPLE_RATE // 25  # samples, 40 ms: three periods of the lowest voice
FFT_SIZE = 512
NUM_BANDS, NUM_CEPSTRA = 40, 20
NUM_FRAMES, FRAME_CEPSTRA = 16, 13  # of the time-normalised form
LOWEST_PITCH, HIGHEST_PITCH = 70, 600  # Hz; infants cry up to there
VOICED = 0.45  # normalised autocorrelation from which a frame counts as voiced
OCTAVE_COST = 0.05  # taken off the autocorrelation per octave down, as every multiple of a period is a period too
LOUD = 20.0  # dB below the loudest frame; what is softer is trimmed off a word (30 reads 10 % fewer training words)
MIN_VALID = 20  # clips; fewer do not choose between models
FEATURES_VERSION = "1"

STATISTICS, FRAMES = "classical", "classical, time-normalised"


# Features


@dataclass(frozen=True, slots=True)
class Features:
    """Both forms of some clips."""

    ids: tuple[str, ...]
    statistics: Floats
    """(N, 187)"""
    frames: Floats
    """(N, 208)"""

    def of(self, name: str) -> Floats:
        """The form that a predictor uses."""
        return self.frames if name == FRAMES else self.statistics


def clip_features(samples: Floats) -> tuple[Floats, Floats]:
    """Statistics (187,) and time-normalised cepstra (208,) of a clip (S,)."""
    samples = np.pad(samples, (0, max(0, PITCH_WINDOW + 2 * HOP - samples.size)))
    energy = 10 * np.log10(np.maximum((framed(samples, WINDOW) ** 2).mean(axis=1), 1e-10))  # (F,) dB
    bands = log_mel(samples)  # (F, 40)
    cepstra = scipy.fft.dct(bands, axis=1, norm="ortho")[:, :NUM_CEPSTRA]  # (F, 20)
    pitch = pitch_track(samples)  # (F',) octaves above 1 Hz, 0 where unvoiced
    voiced = pitch[pitch > 0]
    parts = [_over_time(bands), _over_time(cepstra), _over_time(voiced[:, None]), _over_time(energy[:, None])]
    share = np.array([voiced.size / pitch.size])
    return np.concatenate([*parts, share]).astype(np.float32), time_normalised(cepstra[:, :FRAME_CEPSTRA], energy)


def framed(samples: Floats, width: int) -> Floats:
    """Overlapping frames (F, width), one each 10 ms."""
    return np.lib.stride_tricks.sliding_window_view(samples, width)[::HOP]


def log_mel(samples: Floats) -> Floats:
    """Log energies (F, 40) of mel bands."""
    spectrum = scipy.fft.rfft(framed(samples, WINDOW) * np.hanning(WINDOW).astype(np.float32), FFT_SIZE, axis=1)
    return np.log(np.maximum(np.abs(spectrum) ** 2 @ _mel_filters(), 1e-8))


@cache
def _mel_filters() -> Floats:
    """Triangles (257, 40), evenly spaced in mel from 20 Hz to the Nyquist rate."""
    lowest, highest = 2595 * np.log10(1 + np.array([20, SAMPLE_RATE / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(lowest, highest, NUM_BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def pitch_track(samples: Floats) -> Floats:
    """log2 of the pitch in Hz of each 40 ms frame (F,), 0 where it is unvoiced.

    The highest peak of the autocorrelation, normalised by that of the window, which falls with the lag too.
    """
    window = np.hanning(PITCH_WINDOW).astype(np.float32)
    frames = framed(samples, PITCH_WINDOW)
    correlation = _autocorrelation((frames - frames.mean(axis=1, keepdims=True)) * window)  # (F, lags)
    power = correlation[:, :1]
    shape = _autocorrelation(window[None])[0]
    normal = correlation / np.maximum(power, 1e-9) / (shape / shape[0])
    shortest, longest = SAMPLE_RATE // HIGHEST_PITCH, SAMPLE_RATE // LOWEST_PITCH
    lags = np.arange(shortest, longest + 1)
    best = shortest + (normal[:, lags] - OCTAVE_COST * np.log2(lags / shortest)).argmax(axis=1)
    peak = normal[np.arange(len(normal)), best]
    voiced = (peak > VOICED) & (power[:, 0] > 1e-3 * power.max())
    return np.where(voiced, np.log2(SAMPLE_RATE / best), 0).astype(np.float32)


def _autocorrelation(frames: Floats) -> Floats:
    longest = SAMPLE_RATE // LOWEST_PITCH
    size = scipy.fft.next_fast_len(PITCH_WINDOW + longest + 1, real=True)
    power = np.abs(scipy.fft.rfft(frames, size, axis=1)) ** 2
    return scipy.fft.irfft(power, size, axis=1)[:, : longest + 1]


def _over_time(track: Floats) -> Floats:
    """Mean, deviation, and deviation of the steps of a track (F, D): (3 D,), zeros where it is too short."""
    if len(track) < 2:
        return np.zeros(3 * track.shape[1], np.float32)
    return np.concatenate([track.mean(axis=0), track.std(axis=0), np.diff(track, axis=0).std(axis=0)])


def time_normalised(cepstra: Floats, energy: Floats) -> Floats:
    """The loud part's cepstra (F, 13) without their mean, read off at 16 even times: (208,)."""
    floor = max(energy.max() - LOUD, np.percentile(energy, 10) + 6)
    loud = np.flatnonzero(energy >= min(floor, energy.max()))
    part = cepstra[loud[0] : loud[-1] + 1]
    times = np.linspace(0, len(part) - 1, NUM_FRAMES)
    before = np.floor(times).astype(int)
    after = np.minimum(before + 1, len(part) - 1)
    weight = (times - before)[:, None]
    resampled = part[before] * (1 - weight) + part[after] * weight  # (16, 13)
    return (resampled - resampled.mean(axis=0)).ravel().astype(np.float32)


def features(rows: Sequence[Utterance], read: Callable[[Utterance], Floats], cached: Path) -> Features:
    """Features of every row, kept in a file that is made again when rows or features change."""
    key = signature(rows)
    if cached.exists():
        with np.load(cached) as stored:
            if str(stored["key"]) == key:
                return Features(tuple(row.id for row in rows), stored["statistics"], stored["frames"])
    clips = [clip_features(read(row)) for row in tqdm(rows, desc=cached.stem, unit="clip")]
    statistics, frames = (np.stack(form) for form in zip(*clips, strict=True))
    cached.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cached, key=np.array(key), statistics=statistics, frames=frames)
    return Features(tuple(row.id for row in rows), statistics, frames)


def signature(rows: Iterable[Utterance]) -> str:
    """Changes when clips, their labels or the features change."""
    digest = hashlib.sha256(FEATURES_VERSION.encode())
    for row in rows:
        digest.update(json.dumps(row.to_dict(), sort_keys=True).encode())
    return digest.hexdigest()


# Classifiers


@dataclass(frozen=True, slots=True)
class Examples:
    """What a classifier is fitted or chosen on."""

    inputs: Floats
    """(N, D)"""
    labels: NDArray[np.str_]
    """(N,)"""
    speakers: NDArray[np.str_]
    """(N,)"""

    def part(self, chosen: NDArray[np.int_]) -> Examples:
        """Some of the examples."""
        return Examples(self.inputs[chosen], self.labels[chosen], self.speakers[chosen])


def candidates() -> dict[str, Pipeline]:
    """Classifiers to choose from, by name."""
    models: dict[str, Any] = {f"logistic regression, C={c:g}": _logistic(c) for c in (0.003, 0.03, 0.3)}
    models |= {f"RBF SVM, C={c:g}": SVC(C=c, cache_size=500) for c in (1, 5, 25)}
    return {name: make_pipeline(StandardScaler(), model) for name, model in models.items()}


def _logistic(c: float) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=300, tol=1e-3)


def choose(train: Examples, valid: Examples) -> tuple[str, float]:
    """Name of the best candidate and its accuracy on `valid`, or on training speakers left out in turn."""
    if len(valid.labels) >= MIN_VALID and len(set(valid.labels)) > 1:
        folds = [(train, valid)]
    else:
        num_folds = min(4, len(set(train.speakers)))
        cut = GroupKFold(num_folds).split(train.inputs, groups=train.speakers)
        folds = [(train.part(fitted), train.part(left)) for fitted, left in cut]
    means = {name: float(np.mean([_accuracy(model, *fold) for fold in folds])) for name, model in candidates().items()}
    best = max(means, key=lambda name: means[name])
    return best, means[best]


def _accuracy(model: Pipeline, train: Examples, valid: Examples) -> float:
    return float(model.fit(train.inputs, train.labels).score(valid.inputs, valid.labels))


# Answers


@dataclass(frozen=True, slots=True)
class Splits:
    """The rows of all splits with their features; `ravdess` counts as test."""

    rows: Mapping[str, Sequence[Utterance]]
    features: Mapping[str, Features]

    def examples(self, split: str, question: Question, predictor: str) -> Examples:
        """The recordings of a split whose answer is known."""
        rows = self.rows[split]
        chosen = [i for i, row in enumerate(rows) if is_recording(row) and question.truth(row) is not None]
        labels = [question.truth(rows[i]) or "" for i in chosen]
        speakers = [rows[i].speaker or rows[i].id for i in chosen]
        return Examples(self.features[split].of(predictor)[chosen], np.array(labels, str), np.array(speakers, str))


def read_splits(data: Path, folder: Path, ravdess: Path | None = None) -> Splits:
    """Rows and features of all splits; features are kept in `folder`."""
    packed = PackedAudio(data / "audio.i16")
    rows = {split: read_split(data, split) for split in ("train", "valid", "test")}
    rows |= {split: [row for row in rows[split] if is_recording(row)] for split in ("train", "valid")}
    found = {split: features(part, packed.read, folder / f"features-{split}.npz") for split, part in rows.items()}
    if ravdess:
        rows["ravdess"] = read_ravdess(ravdess)
        cached = folder / "features-ravdess.npz"
        found["ravdess"] = features(rows["ravdess"], lambda row: load(row.path), cached)
    return Splits(rows, found)


def answer(splits: Splits, question: Question, predictor: str) -> tuple[Labels, dict[str, Any]]:
    """Labels of all test clips whose answer is known, and what answered them."""
    train, valid = (splits.examples(split, question, predictor) for split in ("train", "valid"))
    name, accuracy = choose(train, valid)
    model = candidates()[name].fit(train.inputs, train.labels)
    labels: dict[str, str | None] = {}
    for split in splits.rows.keys() & {"test", "ravdess"}:
        asked = [i for i, row in enumerate(splits.rows[split]) if question.truth(row) is not None]
        if asked:
            named = model.predict(splits.features[split].of(predictor)[asked])
            labels |= {splits.features[split].ids[i]: str(label) for i, label in zip(asked, named, strict=True)}
    chosen = {"question": question.name, "model": f"{predictor}: {name}", "chosen_at_accuracy": round(accuracy, 4)}
    return labels, {**chosen, "train": len(train.labels), "valid": len(valid.labels)}


def answers(data: Path, folder: Path, ravdess: Path | None = None) -> dict[str, Any]:
    """Both predictors' labels and their models, read from `folder` where they are of the same clips."""
    cached = folder / "classical-answers.json"
    splits = read_splits(data, folder, ravdess)
    key = hashlib.sha256("".join(signature(rows) for rows in splits.rows.values()).encode()).hexdigest()
    if cached.exists() and (stored := json.loads(cached.read_text(encoding="utf-8")))["key"] == key:
        return stored
    found: dict[str, Any] = {"key": key, "labels": {STATISTICS: {}, FRAMES: {}}, "models": []}
    asked = [(question, STATISTICS) for question in QUESTIONS] + [(question, FRAMES) for question in WORD_QUESTIONS]
    for question, predictor in tqdm(asked, desc="fitting"):
        found["labels"][predictor][question.name], model = answer(splits, question, predictor)
        found["models"].append(model)
    write_json(cached, found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of the classical baseline on the test split.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train, valid, test.jsonl and audio.i16")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write; features are kept beside it")
    parser.add_argument("--ravdess", type=Path, help="folder of RAVDESS (for measuring only)")
    arguments = parser.parse_args()
    started = time.monotonic()
    found = answers(arguments.data, arguments.out.parent, arguments.ravdess)
    test = read_split(arguments.data, "test") + (read_ravdess(arguments.ravdess) if arguments.ravdess else [])
    train = read_split(arguments.data, "train")
    predictors = {SOURCE: source_only(QUESTIONS, test, train), **found["labels"]}
    figures = label_figures(QUESTIONS, test, train, predictors)
    seconds = round(time.monotonic() - started, 1)
    write_json(arguments.out, {"models": found["models"], "figures": figures, "seconds": seconds})
    print(label_tables(figures, (SOURCE, FRAMES, STATISTICS)))
    print(f"\n{seconds} s; models: {json.dumps(found['models'], indent=1)}")


if __name__ == "__main__":
    main()
