"""Time of scoring: word error rate of 100,000 pairs of 20 words, ours beside jiwer's.

    python benchmarks/scoring.py [--pairs 100000] [--turns 3]

Every word of the hypotheses is replaced, left out or doubled with a chance of 5 % each. Ours normalises both sides and
draws the interval; jiwer's counts alone. The two take turns; medians of wall and processor seconds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import jiwer

from osum.scoring import wer

WORDS, VOCABULARY, CHANCE = 20, 5000, 0.05


def sentences(count: int) -> tuple[list[str], list[str]]:
    """Made-up references and hypotheses."""
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(VOCABULARY)]

    def misheard(word: str) -> list[str]:
        kind = int(chance.random() / CHANCE)
        return {0: [chance.choice(words)], 1: [], 2: [word, word]}.get(kind, [word])

    references = [chance.choices(words, k=WORDS) for _ in range(count)]
    hypotheses = [[heard for word in sentence for heard in misheard(word)] for sentence in references]
    return list(map(" ".join, references)), list(map(" ".join, hypotheses))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    references, hypotheses = sentences(arguments.pairs)
    ways: dict[str, Callable[[], float]] = {
        "osum.scoring.wer": lambda: wer(references, hypotheses).value,
        "jiwer.wer": lambda: jiwer.wer(references, hypotheses),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    rates = {}
    for _ in range(arguments.turns):
        for name, way in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            rates[name] = way()
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    print(f"{arguments.pairs} pairs of {WORDS} words, median of {arguments.turns} turns\n")
    print("| | wall s | processor s | WER |\n|---|---|---|---|")
    for name, turns in times.items():
        wall, processor = map(statistics.median, zip(*turns, strict=True))
        print(f"| `{name}` | {wall:.1f} | {processor:.1f} | {rates[name]:.6f} |")


if __name__ == "__main__":
    main()
