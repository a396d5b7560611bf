"""What of a benchmark can be asked: clips with their truths, what is wrong with others, whether the list changed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from osum.errors import InputError
from osum.evaluation.run.prediction import Truth
from osum.evaluation.sets.benchmark import Benchmark
from osum.files import atomic_file, locked
from osum.records import to_row
from osum.utterance import Utterance

LISTS = "lists.json"
"""File in the folder of results: the hash of each benchmark's list when it was first read."""
NO_TRUTH, TWICE = "no truth", "id stands twice"


@dataclass(frozen=True, slots=True)
class Clips:
    """The clips that can be asked, each with its truth, in the order of the list."""

    pairs: tuple[tuple[Utterance, Truth], ...]
    faulty: Mapping[str, tuple[str, ...]]
    """What is wrong with others, and their ids."""
    left_out: Mapping[str, int]
    """Labels of the set that have no place among ours, and how many clips each of them cost."""
    list_hash: str
    """SHA-256 of ids, stretches and truths of all clips, those that are not asked too."""


def read_clips(benchmark: Benchmark, root: Path) -> Clips:
    """Read a benchmark's clips under the data root.

    Raises:
        InputError: a file is missing, or nothing can be asked; the message says which, and where it should be.
    """
    folder = benchmark.place(root)
    pairs: dict[str, tuple[Utterance, Truth]] = {}
    faulty: dict[str, list[str]] = {}
    left_out: Counter[str] = Counter()
    digest = hashlib.sha256()
    for clip in benchmark.read(folder):
        truth = truth_of(benchmark, clip)
        digest.update(json.dumps([clip.id, clip.channel, clip.start, clip.end, to_row(truth)]).encode() + b"\n")
        if clip.id in pairs:
            faulty.setdefault(TWICE, []).append(clip.id)
        elif is_known(benchmark, truth):
            pairs[clip.id] = clip, truth
        elif theirs := clip.extra.get("told"):
            left_out[str(theirs)] += 1
        else:
            faulty.setdefault(NO_TRUTH, []).append(clip.id)
    if not pairs:
        raise InputError(f"{benchmark.name}: no clip in {str(folder)!r} has a truth: it must hold {benchmark.layout}")
    return Clips(
        pairs=tuple(pairs.values()),
        faulty={why: tuple(ids) for why, ids in faulty.items()},
        left_out=dict(sorted(left_out.items())),
        list_hash=f"sha256:{digest.hexdigest()}",
    )


def truth_of(benchmark: Benchmark, clip: Utterance) -> Truth:
    """All that is known of a clip."""
    name = benchmark.label_set
    label = clip.labels.get(name) if name else None
    return Truth(clip.text, label, clip.words, clip.reply)


def is_known(benchmark: Benchmark, truth: Truth) -> bool:
    """Whether a truth holds what the benchmark asks for; a text of spaces is none. A judge needs no reference."""
    if benchmark.metric == "judge":
        return True
    value = getattr(truth, benchmark.target)
    return bool(value.strip() if isinstance(value, str) else value)


def check_list(out: Path, benchmark: str, now: str) -> None:
    """Keep the hash of a list at its first reading; later ones must have the same.

    Raises:
        InputError: the list has changed since, or what was kept cannot be read.
    """
    path = out / LISTS
    with locked(out / f".{LISTS}.lock"):
        known = _known(path)
        first = known.setdefault(benchmark, now)
        if first != now:
            raise InputError(
                f"the list of {benchmark} has changed: {path} knows it as {first[:15]}..., and now it is "
                f"{now[:15]}...; put the first files back, or give another -o"
            )
        with atomic_file(path) as file:
            file.write(json.dumps(dict(sorted(known.items())), indent=1).encode() + b"\n")


def _known(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text("utf8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as fault:
        raise InputError(f"{path}, which knows the lists, cannot be read ({fault}): repair or remove it") from fault
