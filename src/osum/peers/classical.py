"""The classical baseline: hand-made features and a linear or kernel classifier, fitted on a manifest.

1. One classifier for each label set, on the statistics of a clip; for transcripts one over the texts that are said
   often, on the features that keep the order of sounds. A closed vocabulary: it never says anything else.
2. Standardised, then logistic regression or an RBF support vector machine; which one, and its C, is chosen on the
   validation clips, or between training speakers where there are too few.

Everything is deterministic. Knows nothing of what it is asked about but the clip's sound.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osum.corpus.clips import ClipAudio
from osum.errors import InputError, MissingExtraError
from osum.peers.clips import LoadedClip, in_batches
from osum.peers.facts import check_no_prompt, check_on_cpu, check_question, versions
from osum.peers.features import FEATURES_VERSION, FRAMES_SIZE, STATISTICS_SIZE, Floats, clip_features
from osum.peers.lessons import TRANSCRIBE, of_labels, recordings, subject, truths
from osum.peers.recogniser import Options, Question, Recognition
from osum.tasks import OSUM, TaskSet
from osum.utterance import Utterance

try:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC
except ImportError as fault:
    raise MissingExtraError("scikit-learn", "eval") from fault

MIN_VALID = 20  # clips; fewer do not choose between models


# Features of many clips


@dataclass(frozen=True, slots=True)
class Features:
    """Both forms of some clips."""

    ids: tuple[str, ...]
    statistics: Floats
    """(N, 187)"""
    frames: Floats
    """(N, 208)"""


def features(rows: Sequence[Utterance], read: Callable[[Utterance], Floats], cached: Path | None = None) -> Features:
    """Features of every row, kept in a file that is made again when rows or features change.

    Raises:
        AudioError: a row cannot be read.
    """
    key = signature(rows)
    if cached is not None and cached.exists():
        with np.load(cached) as stored:
            if str(stored["key"]) == key:
                return Features(tuple(row.id for row in rows), stored["statistics"], stored["frames"])
    clips = [clip_features(read(row)) for row in rows]
    statistics = np.array([clip[0] for clip in clips], np.float32).reshape(-1, STATISTICS_SIZE)
    frames = np.array([clip[1] for clip in clips], np.float32).reshape(-1, FRAMES_SIZE)
    if cached is not None:
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


@dataclass(frozen=True, slots=True)
class FittedClassifier:
    """A classifier and how it was chosen."""

    model: Pipeline
    name: str
    accuracy: float
    """On what it was chosen by."""

    def distributions(self, inputs: Floats, labels: Sequence[str]) -> list[dict[str, float]] | None:
        """Probability of each of `labels` for each row (N, D), 0 for one that was never seen; None for a machine
        that has none.
        """
        if not hasattr(self.model, "predict_proba"):
            return None
        order = [str(label) for label in self.model.classes_]
        rows = (dict(zip(order, map(float, row), strict=True)) for row in self.model.predict_proba(inputs))
        return [{label: row.get(label, 0.0) for label in labels} for row in rows]


def fit(train: Examples, valid: Examples) -> FittedClassifier:
    """The best candidate, fitted on all of `train`."""
    name, accuracy = choose(train, valid)
    return FittedClassifier(candidates()[name].fit(train.inputs, train.labels), name, accuracy)


# The recogniser


class Classical:
    """Labels and texts of a closed vocabulary, learned from the recordings of a manifest.

    Args:
        train: rows to learn from; see `osum.peers.lessons` for what they teach.
        valid: rows to choose between classifiers with.
        cache: folder in which features are kept.
        tasks: what can be asked.

    Raises:
        InputError: `train` has no two labels or texts.
    """

    name = "classical"

    def __init__(
        self,
        train: Sequence[Utterance],
        valid: Sequence[Utterance] = (),
        cache: Path | None = None,
        tasks: TaskSet = OSUM,
    ) -> None:
        self._rows = {"train": train, "valid": valid}
        self._cache = cache
        self._features: dict[str, Features] = {}
        self._fitted: dict[str, FittedClassifier] = {}
        self._known = tasks
        self._truths = truths(train, tasks)
        self.tasks = frozenset(self._truths)
        if not self.tasks:
            raise InputError("classical finds no two labels or texts in its training manifest that differ: add rows")

    @classmethod
    def open(cls, name: str, options: Options) -> Classical:
        """Read the manifests that `extra` names: `train`, perhaps `valid`, and perhaps `cache`, a folder.

        Raises:
            InputError: `train` is missing, a manifest cannot be read, or another setting is given.
        """
        check_on_cpu(name, options)
        valid = recordings(name, options, "valid") if "valid" in options.extra else []
        cache = Path(options.extra["cache"]) if "cache" in options.extra else None
        return cls(recordings(name, options, "train"), valid, cache, options.tasks)

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """See `Recogniser`. The first question of a task fits its classifier."""
        check_question(self, question)
        check_no_prompt(self, question)
        return in_batches(clips, 1, lambda batch: self._answers(batch, question.task))

    def prompts(self, task: str) -> tuple[str, ...]:  # noqa: ARG002  (it takes none)
        """See `Recogniser`."""
        return ()

    def describe(self) -> Mapping[str, Any]:
        """See `Recogniser`; the classifiers follow from the manifests, and are described by their signatures alone:
        a run continues where the description is what it was before anything was fitted.
        """
        return {
            "device": "cpu",
            **{
                split: {"clips": len(rows), "signature": signature(rows)[:12]}
                for split, rows in self._rows.items()
                if rows
            },
            "versions": versions("osum", "scikit-learn", "scipy", "numpy"),
        }

    def _answers(self, batch: Sequence[LoadedClip], task: str) -> list[Recognition]:
        forms = [clip_features(loaded.samples) for loaded in batch]
        inputs = np.stack([form[task == TRANSCRIBE] for form in forms])
        fitted = self._fitted_on(task)
        named = [str(label) for label in fitted.model.predict(inputs)]
        if task == TRANSCRIBE:
            return [Recognition(raw=text, text=text) for text in named]
        found = fitted.distributions(inputs, of_labels(self._known[task]))
        if found is None:
            return [Recognition(raw=label, said=label) for label in named]
        return [
            Recognition(raw=label, said=label, label=label, distribution=distribution)
            for label, distribution in zip(named, found, strict=True)
        ]

    def _fitted_on(self, task: str) -> FittedClassifier:
        about = subject(self._known[task])
        if about not in self._fitted:
            self._fitted[about] = fit(self._examples("train", task), self._examples("valid", task))
        return self._fitted[about]

    def _examples(self, split: str, task: str) -> Examples:
        rows, truth = self._rows[split], self._truths[task]
        chosen = [index for index, row in enumerate(rows) if truth(row) is not None]
        labels = [truth(rows[index]) or "" for index in chosen]
        speakers = [rows[index].speaker or rows[index].id for index in chosen]
        return Examples(self._inputs(split, task)[chosen], np.array(labels, str), np.array(speakers, str))

    def _inputs(self, split: str, task: str) -> Floats:
        """(N, D) of all rows of a split."""
        if split not in self._features:
            cached = self._cache / f"features-{split}.npz" if self._cache else None
            self._features[split] = features(self._rows[split], ClipAudio().read, cached)
        return self._features[split].frames if task == TRANSCRIBE else self._features[split].statistics
