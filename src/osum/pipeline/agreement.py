"""How far the votes of a finished run agree, and how often what they agree on is right. Reads what the run stored."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from osum.corpus.readers import Manifest
from osum.corpus.transcript import transcript
from osum.errors import InputError
from osum.pipeline.folder import RunFolder
from osum.pipeline.page import step_options
from osum.pipeline.row import Row, Vote
from osum.pipeline.run import read_summary, units_of
from osum.pipeline.voting import Threshold, alike, kappa, rover, thresholds
from osum.scoring import aas, word_times
from osum.utterance import Utterance


def agreement(out: Path, field: str, truth: Path | None = None) -> Iterator[str]:
    """Lines of a Markdown table for each pair of voters (the truth is one) and, with a truth, for each threshold.

    Args:
        out: the run's folder.
        field: `text`, `language`, a label set, or `words` for what the step `align` timed.
        truth: a manifest with rows of the same ids.

    Raises:
        InputError: no row of the run has votes on the field, or no true times are known for `words`.
    """
    known = {} if truth is None else {line.utterance.id: line.utterance for line in Manifest(truth) if line.utterance}
    if field == "words":
        yield from _timed(out, known)
        return
    voted = list(_voted(out, field))
    if not voted:
        raise InputError(f"{out} has no votes on {field!r}: name a field that a step ask or ask_text votes on")
    yield f"| voters on {field} | rows | {'likeness' if field == 'text' else 'agree'} | kappa |"
    yield "|---|---:|---:|---:|"
    yield from _pairs([(name, [*votes, *_true(field, known.get(name))]) for name, votes in voted], field)
    if truth is not None:
        yield from _judged(field, voted, known)


def _true(field: str, row: Utterance | None) -> list[Vote]:
    right = None if row is None else Row(row).value(field)
    return [] if right is None else [Vote("truth", right)]


def _judged(field: str, voted: list[tuple[str, list[Vote]]], known: Mapping[str, Utterance]) -> Iterator[str]:
    """For each threshold how much is kept and how much of that is right; how alike texts are to the true ones."""
    judged: list[tuple[float, bool]] = []
    likeness: list[tuple[float, float]] = []
    for name, votes in voted:
        for right in _true(field, known.get(name)):
            value, score = _agreed(field, votes)
            judged.append((score, _is_right(field, value, right.value)))
            likeness.append((score, alike(value, right.value)))
    more, rule = (" likeness |", "---:|") if field == "text" else ("", "")
    yield ""
    yield f"| agreement from | kept of {len(judged)} | precision |{more}"
    yield f"|---:|---:|---:|{rule}"
    for found in _in_tenths(thresholds(judged)):
        line = f"| {found.agreement:.2f} | {found.rows} ({100 * found.kept:.0f} %) | {100 * found.precision:.1f} % |"
        kept = [share for score, share in likeness if score >= found.agreement]
        yield f"{line} {100 * sum(kept) / len(kept):.1f} % |" if field == "text" else line


def _in_tenths(found: list[Threshold]) -> Iterator[Threshold]:
    """Of thresholds in one tenth the lowest; full agreement is one of its own."""
    for at, one in enumerate(found):
        following = found[at + 1].agreement if at + 1 < len(found) else -1.0
        if one.agreement == 1 or math.floor(10 * following) < math.floor(10 * one.agreement):
            yield one


TIMES = (20.0, 50.0, 100.0, 150.0, 300.0, math.inf)  # ms
"""How far two aligners may be apart in a table of `words`."""


def _timed(out: Path, known: Mapping[str, Utterance]) -> Iterator[str]:
    """At each limit of how far two aligners are apart: how many rows stay, and how far those are from true times."""
    placed = [
        (1000 * float(row.extra.get("aligners_apart", 0.0)), known[row.id].words, row.utterance.words)
        for row in _rows(out, read_summary(out).steps[-1][0])
        if row.utterance.words and row.id in known and known[row.id].words
    ]
    if not placed:
        raise InputError(f"{out} has no row with words whose times --truth knows: run a plan with align on such rows")
    yield f"| aligners apart up to | kept of {len(placed)} | AAS | starts and ends within 50 ms |"
    yield "|---:|---:|---:|---:|"
    for limit in TIMES:
        kept = [(true, found) for apart, true, found in placed if apart <= limit]
        if kept:
            true, found = map(list, zip(*kept, strict=True))
            told = "any" if limit == math.inf else f"{limit:.0f} ms"
            near = word_times(true, found).within[50]
            yield f"| {told} | {len(kept)} | {aas(true, found).value:.0f} ms | {100 * near:.1f} % |"


def _voted(out: Path, field: str) -> Iterator[tuple[str, list[Vote]]]:
    """Id and votes of every row that came into the first step `vote` on the field, or of the last step without one."""
    summary = read_summary(out)
    named = [step_options(step) for step in summary.plan["steps"]]
    ends = [at for at, (name, noted) in enumerate(named) if name == "vote" and noted.get("of", "text") == field]
    before, _ = summary.steps[ends[0] if ends else -1]  # the input is the first of these
    for row in _rows(out, before):
        if votes := [vote for vote in row.votes(field) if vote.value is not None]:
            yield row.id, votes


def _rows(out: Path, step: str) -> Iterator[Row]:
    folder = RunFolder(out)
    return (row for unit in units_of(folder, step) for row in folder.rows(unit))


def _pairs(voted: list[tuple[str, list[Vote]]], field: str) -> Iterator[str]:
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    for name, votes in voted:
        for vote in votes:
            answers[vote.by][name] = str(vote.value)
    for one, other in combinations(answers, 2):
        both = [name for name in answers[one] if name in answers[other]]
        pairs = [(answers[one][name], answers[other][name]) for name in both]
        if not pairs:
            continue
        if field == "text":
            mean = sum(alike(a, b) for a, b in pairs) / len(pairs)
            yield f"| {one}, {other} | {len(pairs)} | {100 * mean:.1f} % | |"
        else:
            equal = sum(a == b for a, b in pairs) / len(pairs)
            ours, theirs = map(list, zip(*pairs, strict=True))
            yield f"| {one}, {other} | {len(pairs)} | {100 * equal:.1f} % | {kappa(ours, theirs):.2f} |"


def _agreed(field: str, votes: list[Vote]) -> tuple[str, float]:
    if field == "text":
        return rover([str(vote.value) for vote in votes])
    (value, count), *_ = Counter(str(vote.value) for vote in votes).most_common()
    if len(votes) == 1 and votes[0].score is not None:
        return value, votes[0].score
    return value, count / len(votes)


def _is_right(field: str, value: str, truth: str) -> bool:
    return transcript(value) == transcript(truth) if field == "text" else value == truth
