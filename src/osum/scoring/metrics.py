"""How good answers are: error rates, BLEU and label scores, each with counts and a 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from osum.errors import InputError, MissingExtraError
from osum.scoring.normalize import mixed_units, normalize
from osum.scoring.resampling import Counts, Floats, Metric, check_pairs, divide
from osum.scoring.spoken_answers import choice, instructions, named_choice, refusal
from osum.scoring.word_times import aas, levenshtein
from osum.text import is_chinese

_BLEU_ORDERS = 4  # longest n-gram


@Metric[str, str]
def wer(references: Sequence[str], hypotheses: Sequence[str], normalizer: Callable[[str], str] = normalize) -> Counts:
    """Word error rate; words are what spaces part."""
    return _errors("wer", (references, hypotheses), lambda text: normalizer(text).split())


@Metric[str, str]
def cer(references: Sequence[str], hypotheses: Sequence[str], normalizer: Callable[[str], str] = normalize) -> Counts:
    """Character error rate; the spaces that are left after normalising count, as in jiwer."""
    return _errors("cer", (references, hypotheses), normalizer)


@Metric[str, str]
def mer(references: Sequence[str], hypotheses: Sequence[str], normalizer: Callable[[str], str] = normalize) -> Counts:
    """Mixed error rate: Chinese by character, other words whole, as the papers of OSUM count."""
    return _errors("mer", (references, hypotheses), lambda text: mixed_units(normalizer(text)))


@Metric[str, str]
def bleu(
    references: Sequence[str],
    hypotheses: Sequence[str],
    normalizer: Callable[[str], str] = str,
    tokenize: str | None = None,
) -> Counts:
    """Corpus BLEU of sacrebleu as a fraction, case and punctuation counted, as papers print it.

    Args:
        references: (N,) translations that are right, one each.
        hypotheses: (N,) translations that were answered.
        normalizer: untouched text by default, as sacrebleu's tokenizer is part of the figure.
        tokenize: of sacrebleu; None takes `bleu_tokenizer`.
    """
    check_pairs(references, hypotheses)
    scorer = _sacrebleu(tokenize or bleu_tokenizer(references))
    found = [
        scorer.corpus_score([normalizer(hypothesis)], [[normalizer(reference)]])
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
    rows = np.array([(*one.counts, *one.totals, one.sys_len, one.ref_len) for one in found], dtype=np.float64)

    def scores(sums: Floats) -> Floats:
        return np.array([_bleu_of(scorer, row) for row in sums.astype(int).tolist()])

    detail = dict(zip(("system_length", "reference_length"), rows.sum(axis=0)[-2:].tolist(), strict=True))
    return Counts("bleu", rows, scores, detail)


def bleu_tokenizer(references: Sequence[str]) -> str:
    """What sacrebleu tokenizes with by default: `zh` where the references hold Chinese characters, else `13a`."""
    return "zh" if any(map(is_chinese, chain.from_iterable(references))) else "13a"


def bleu_signature(tokenize: str) -> str:
    """sacrebleu's own account of how it counted, for a report: cases, tokenizer, smoothing, version."""
    scorer = _sacrebleu(tokenize)
    scorer.corpus_score(["a"], [["a"]])  # the number of references is part of it
    return str(scorer.get_signature())


@Metric[str, str | None]
def accuracy(references: Sequence[str], hypotheses: Sequence[str | None]) -> Counts:
    """Share of right labels; None, an answer without a label, is wrong."""
    check_pairs(references, hypotheses)
    right = [reference == hypothesis for reference, hypothesis in zip(references, hypotheses, strict=True)]
    rows = np.column_stack([np.array(right, dtype=np.float64), np.ones(len(right))])
    unlabelled = sum(hypothesis is None for hypothesis in hypotheses)
    detail = {"right": float(sum(right)), "unlabelled": float(unlabelled)}
    return Counts("accuracy", rows, lambda sums: divide(sums[:, 0], sums[:, 1]), detail)


@Metric[str, str | None]
def macro_f1(references: Sequence[str], hypotheses: Sequence[str | None]) -> Counts:
    """Mean F1 over the labels that occur in the references; `detail` holds each label's."""

    def f1(right: Floats, named: Floats, true: Floats) -> Floats:
        return np.where(true > 0, divide(2 * right, named + true), np.nan)

    return _per_label("macro_f1", (references, hypotheses), f1)


@Metric[str, str | None]
def unweighted_recall(references: Sequence[str], hypotheses: Sequence[str | None]) -> Counts:
    """Mean recall over the labels that occur in the references (balanced accuracy)."""

    def recall(right: Floats, named: Floats, true: Floats) -> Floats:  # noqa: ARG001
        return divide(right, true)

    return _per_label("unweighted_recall", (references, hypotheses), recall)


METRICS: Mapping[str, Metric[Any, Any]] = {
    metric.__name__: metric
    for metric in (
        *(wer, cer, mer, bleu, aas, accuracy, macro_f1, unweighted_recall),
        *(choice, named_choice, refusal, instructions),
    )
}
"""Every metric by the name that a `Task` lists."""
ERROR_RATES: Mapping[str, Metric[str, str]] = {"en": wer, "zh": cer}
"""Language to the error rate that is usual for it."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of true (rows) and named (columns) labels; the last column counts answers without a label."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """(L, L + 1)."""


def confusion(references: Sequence[str], hypotheses: Sequence[str | None], labels: Sequence[str]) -> Confusion:
    """Which label was taken for which.

    Args:
        references: (N,) true labels, of `labels`.
        hypotheses: (N,) named labels; None and what is none of `labels` count as no label.
        labels: (L,) of both, in the order of the table.

    Raises:
        InputError: a true label that is none of `labels`.
    """
    check_pairs(references, hypotheses)
    column = {label: index for index, label in enumerate(labels)}
    if unknown := set(references) - set(column):
        raise InputError(f"true label {min(unknown)!r} is none of {', '.join(labels)}: add it or leave the clip out")
    table = np.zeros((len(column), len(column) + 1), dtype=int)
    named = [len(column) if label is None else column.get(label, len(column)) for label in hypotheses]
    np.add.at(table, ([column[label] for label in references], named), 1)
    return Confusion(tuple(labels), tuple(map(tuple, table.tolist())))


# Counts


def _errors(name: str, pairs: tuple[Sequence[str], Sequence[str]], units_of: Callable[[str], Sequence[str]]) -> Counts:
    check_pairs(*pairs)
    editops = levenshtein().editops
    counts = []
    for reference, hypothesis in zip(*pairs, strict=True):
        units = units_of(reference)
        kinds = [edit.tag for edit in editops(units, units_of(hypothesis))]
        counts.append((kinds.count("replace"), kinds.count("delete"), kinds.count("insert"), len(units)))
    rows = np.array(counts, dtype=np.float64)
    sums = rows.sum(axis=0)
    if sums[3] == 0:
        raise InputError(f"{name} of {len(rows)} utterances: no reference holds a word; leave out silent clips")
    detail = dict(zip(("substitutions", "deletions", "insertions", "units"), sums.tolist(), strict=True))
    return Counts(name, rows, lambda sums: divide(sums[:, :3].sum(axis=1), sums[:, 3]), detail)


def _per_label(
    name: str,
    pairs: tuple[Sequence[str], Sequence[str | None]],
    score_of: Callable[[Floats, Floats, Floats], Floats],
) -> Counts:
    """Mean of a per-label score; a row holds, for each label, whether it was right, named and true."""
    check_pairs(*pairs)
    labels = sorted(set(pairs[0]))
    true, named = ([[label == one for label in labels] for one in side] for side in pairs)
    both = np.array([true, named], dtype=np.float64)
    rows = np.concatenate([both[0] * both[1], both[1], both[0]], axis=1)

    def scores(sums: Floats) -> Floats:
        right, named, true = np.split(sums, 3, axis=1)
        return score_of(right, named, true)

    detail = dict(zip(labels, scores(rows.sum(axis=0, keepdims=True))[0].tolist(), strict=True))
    return Counts(name, rows, lambda sums: _mean_of_defined(scores(sums)), detail)


def _mean_of_defined(scores: Floats) -> Floats:
    defined = np.isfinite(scores)
    return divide(np.where(defined, scores, 0).sum(axis=1), defined.sum(axis=1))


def _bleu_of(scorer: Any, row: Sequence[int]) -> float:
    """BLEU of summed counts, by sacrebleu's own formula; nan where there is no reference."""
    matches, totals, (system, reference) = row[:_BLEU_ORDERS], row[_BLEU_ORDERS:-2], row[-2:]
    if not reference:
        return float("nan")
    return float(scorer.compute_bleu(matches, totals, system, reference, scorer.smooth_method).score) / 100


def _sacrebleu(tokenize: str) -> Any:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError as missing:
        raise MissingExtraError("sacrebleu", "eval") from missing
    return BLEU(tokenize=tokenize, max_ngram_order=_BLEU_ORDERS)
