"""Time of scoring: word error rate of 100,000 pairs of 20 words, by ours and jiwer's; and all that `osum score` counts.

    python benchmarks/scoring.py [--pairs 100000] [--turns 3]

Every word of the hypotheses is replaced, left out or doubled with a chance of 5 % each. Ours normalises both sides and
draws the interval; jiwer's counts alone. `osum score` reads and checks a file of predictions, and counts word,
character and mixed errors with their intervals. They take turns; medians of wall and processor seconds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import jiwer

from osum.evaluation.run.prediction import Prediction, Truth
from osum.evaluation.run.predictions import AskedBenchmark, Predictions
from osum.evaluation.score.score import score
from osum.evaluation.sets.catalogue import BENCHMARKS
from osum.peers.recogniser import Recognition
from osum.scoring import wer

WORDS, VOCABULARY, CHANCE = 20, 5000, 0.05
BENCHMARK = BENCHMARKS["kit-asr"]


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


def keep(folder: Path, references: list[str], hypotheses: list[str]) -> Predictions:
    """A file of predictions."""
    store = Predictions(folder, BENCHMARK.name)
    store.begin(AskedBenchmark(BENCHMARK.name, "made up", BENCHMARK.task, "", len(references)))
    pairs = enumerate(zip(references, hypotheses, strict=True))
    lines = [
        Prediction(
            id=str(number),
            benchmark=BENCHMARK.name,
            model="made up",
            truth=Truth(reference),
            answer=Recognition(raw=hypothesis, text=hypothesis),
            path=f"{number}.wav",
        )
        for number, (reference, hypothesis) in pairs
    ]
    store.append(lines)
    return store


def main() -> None:
    """Make the sentences up and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    references, hypotheses = sentences(arguments.pairs)
    with TemporaryDirectory() as folder:
        store = keep(Path(folder), references, hypotheses)
        ways: dict[str, Callable[[], float]] = {
            "osum.scoring.wer": lambda: wer(references, hypotheses).value,
            "jiwer.wer": lambda: jiwer.wer(references, hypotheses),
            "osum score": lambda: score(BENCHMARK, store.asked(), list(store.read())).score.value,
        }
        compare(ways, arguments.pairs, arguments.turns)


def compare(ways: dict[str, Callable[[], float]], num_pairs: int, num_turns: int) -> None:
    """Run them turn by turn, and print a Markdown table."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    rates = {}
    for _ in range(num_turns):
        for name, way in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            rates[name] = way()
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    print(f"{num_pairs} pairs of {WORDS} words, median of {num_turns} turns\n")
    print("| | wall s | processor s | WER |\n|---|---|---|---|")
    for name, turns in times.items():
        wall, processor = map(statistics.median, zip(*turns, strict=True))
        print(f"| `{name}` | {wall:.1f} | {processor:.1f} | {rates[name]:.6f} |")


if __name__ == "__main__":
    main()
