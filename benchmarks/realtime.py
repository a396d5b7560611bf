"""How well and how quickly a live talk takes turns, on conversations that are scripted from real clips.

    python benchmarks/realtime.py [--data DIR] [--model NAME] [--end-of-turn FILE.onnx] [--rounds N] [--talks N]

1. A conversation is played in real time: clips of people as the user, the reply of the model as the other side. What
   comes over a reply comes 0.6 s behind its first sound.
2. Two systems are the same parts: `live` (speculation, speech clause by clause, a policy for what comes over a reply)
   and `cascade` (0.5 s of silence, the whole answer before speech, whatever is speech stops the reply).
3. Events and their times give the figures; `osum.scoring.duplex` has the formulas.

The nine scenarios of HumDial, in English and Mandarin, hold the four of Full-Duplex-Bench 1.5. What a reply means is
not judged: `respond` is a reply that stopped and answered, `resume` one that was not stopped. The voice is espeak-ng,
and each reply is lengthened by a fixed sentence, so that there is something to interrupt.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from label import machine
from realtime_talks import Outcome, Samples, Scenario, SimulatedClock, Stopwatch, in_real_time, simulated

import osum
from osum import audio
from osum.audio import SAMPLE_RATE
from osum.dialogue.live import Parts
from osum.dialogue.talk import TalkRules
from osum.dialogue.talker import Piece, Reply, TextPiece
from osum.dialogue.task_replies import TaskReplies
from osum.dialogue.turn_policy import EndOfTurn, Evidence, Judgement, Semantic, SilenceOnly, TurnPolicy
from osum.dialogue.turn_words import ByWords
from osum.dialogue.voiced import EspeakVoice, Synthesizer, Voiced
from osum.listening.vad import detector_named
from osum.scoring.duplex import INTERRUPTIONS, REJECTIONS, humdial
from osum.utterance import Word

ROOT = Path(__file__).parents[1]
MORE = {
    "en": ", and there is much more to say about that, if you have a moment",
    "zh": "，关于这个问题我们还可以再谈很多很多",
}
LISTENING, REFUSING, STOPPING = ("是", "是的", "就是", "明白", "不错"), ("不行", "不等", "不得"), ("停顿", "等候")
"""Mandarin words of the kit that serve as a backchannel, a negation, and a request to stop."""
FAR = 0.05
"""Of somebody in the background: 26 dB below the user."""


@dataclass(frozen=True)
class Clips:
    """Sounds of one language."""

    sentences: Sequence[Samples]
    words: Sequence[Samples]
    """Short ones, as people say them while they listen."""
    no: Sequence[Samples]
    stop: Sequence[Samples]


def scenarios(language: str, clips: Clips, noises: Sequence[Samples], rounds: int) -> Iterator[Scenario]:
    """Every scenario `rounds` times, each with other clips."""
    sentence, word, no, stop, noise = (
        cycle(each) for each in (clips.sentences, clips.words, clips.no, clips.stop, noises)
    )
    for _ in range(rounds):
        first = next(sentence)
        yield Scenario("turn", language, first)
        yield Scenario("follow-up", language, next(sentence), next(sentence), True, 2)
        yield Scenario("negation", language, next(sentence), joined(next(no), next(sentence)), True, 2)
        yield Scenario("repetition", language, first, first, True, 2)
        yield Scenario("topic switch", language, next(sentence), next(sentence), True, 2)
        yield Scenario("termination", language, next(sentence), next(stop), True)
        yield Scenario("backchannel", language, next(sentence), next(word))
        yield Scenario("pause", language, joined(*halves(next(sentence)), pause=0.8))
        yield Scenario("third-party", language, next(sentence), FAR * next(sentence))
        yield Scenario("speech to others", language, next(sentence), 4 * FAR * next(sentence))
        yield Scenario("noise", language, next(sentence), next(noise))


def joined(*clips: Samples, pause: float = 0.1) -> Samples:
    """Clips behind one another."""
    silence = np.zeros(round(pause * SAMPLE_RATE), np.float32)
    return np.concatenate([piece for clip in clips for piece in (clip, silence)][:-1])


def halves(clip: Samples) -> tuple[Samples, Samples]:
    """A clip cut at the quietest place of its middle third."""
    third = len(clip) // 3
    power = np.convolve(np.square(clip[third : 2 * third]), np.ones(800), "same")
    at = third + int(np.argmin(power))
    return clip[:at], clip[at:]


# Clips


def trimmed(clip: Samples) -> Samples:
    """From the first to the last speech, at a usual level."""
    power = np.sqrt(np.convolve(np.square(clip), np.ones(320) / 320, "same"))
    loud = np.flatnonzero(power > 0.06 * power.max())
    clip = clip[loud[0] : loud[-1] + 1]
    return (clip * (0.08 / np.sqrt(np.mean(np.square(clip))))).clip(-1, 1).astype(np.float32)


def of_data(data: Path, source: str, wanted: Callable[[dict[str, Any]], bool], count: int) -> list[Samples]:
    """Clips of one source of the kit, spread over its manifest."""
    folder = data / source
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text("utf8").splitlines()]
    found = [row for row in rows if wanted(row)]
    return [trimmed(audio.load(folder / row["audio"])) for row in found[:: max(1, len(found) // count)][:count]]


def length(low: float, high: float) -> Callable[[dict[str, Any]], bool]:
    return lambda row: low <= float(row["duration_s"]) <= high


def from_data(data: Path, count: int) -> tuple[dict[str, Clips], list[Samples]]:
    """Clips of the two kits."""

    def spoken(*texts: str) -> Callable[[dict[str, Any]], bool]:
        return lambda row: row["text"] in texts

    commands, words = "real2/speech-commands", "real/audio-cmn-words"
    english = Clips(
        of_data(data, "real/speechocean762", lambda row: int(row["age"]) > 17 and length(2.0, 4.0)(row), count),
        *(of_data(data, commands, spoken(*texts), count) for texts in (("yes", "right"), ("no",), ("stop",))),
    )
    mandarin = Clips(
        of_data(data, "real/aishell3", length(2.0, 6.0), count),
        *(of_data(data, words, spoken(*texts), count) for texts in (LISTENING, REFUSING, STOPPING)),
    )
    noises = of_data(data, "real2/covid19-cough", length(0.5, 2.0), count)
    noises += of_data(data, "real/emogator", lambda row: row["emotion"] == "amusement", count)
    noises += of_data(data, "real/esc10", lambda row: row.get("event") == "none", count)
    return {"en": english, "zh": mandarin}, [noise[: 2 * SAMPLE_RATE] for noise in noises]


def from_samples() -> tuple[dict[str, Clips], list[Samples]]:
    """The clips inside the repository; short answers are the first word of a clip."""

    def clips(*names: str) -> list[Samples]:
        return [trimmed(audio.load(ROOT / "samples" / f"{name}.flac")) for name in names]

    english = clips("en_adult_male_zh_accent", "en_child_girl", "en_adult_female_zh_accent")
    mandarin = clips("zh_sentence_2", "zh_sentence_3")
    word = [clips("en_word_times")[0][: SAMPLE_RATE // 2]]
    short = [mandarin[0][: SAMPLE_RATE // 2]]
    noises = [noise[: 2 * SAMPLE_RATE] for noise in clips("laugh_1", "sneeze", "no_voice_rain")]
    return {"en": Clips(english, word, word, word), "zh": Clips(mandarin, short, short, short)}, noises


# Systems


class Lengthened:
    """Replies with a fixed sentence behind them."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def stream_reply(self, conversation: Any, options: Any = None, /) -> Iterator[Piece]:
        text = ""
        for piece in self.writer.stream_reply(conversation, options):
            if not isinstance(piece, Reply):
                yield piece
            text += piece.text if isinstance(piece, TextPiece) else ""
        more = MORE["zh" if any("一" <= letter <= "鿿" for letter in text) else "en"]
        yield TextPiece(more)
        yield Reply(text + more)


class TimedPolicy:
    """A policy whose processor time is kept."""

    def __init__(self, policy: TurnPolicy, watch: Stopwatch) -> None:
        self.policy, self.watch = policy, watch
        self.after, self.instant = policy.after, policy.instant

    def judge(self, evidence: Evidence) -> Judgement:
        begun = time.thread_time()
        judgement = self.policy.judge(evidence)
        self.watch.add("policy", begun)
        return judgement


class TimedWriter:
    """A generator whose processor time until its first text is kept."""

    def __init__(self, writer: Any, watch: Stopwatch) -> None:
        self.writer, self.watch = writer, watch

    def stream_reply(self, conversation: Any, options: Any = None, /) -> Iterator[Piece]:
        begun, first = time.thread_time(), True
        for piece in self.writer.stream_reply(conversation, options):
            if first and isinstance(piece, TextPiece):
                self.watch.add("encode, prefill, first text", begun)
                first = False
            yield piece


class TimedVoice:
    """A synthesizer whose processor time is kept, clause by clause."""

    def __init__(self, voice: Synthesizer, watch: Stopwatch) -> None:
        self.voice, self.watch = voice, watch
        self.sampling_rate = voice.sampling_rate

    def speak(self, text: str) -> tuple[Samples, tuple[Word, ...]]:
        begun = time.thread_time()
        spoken = self.voice.speak(text)
        self.watch.add("speak a clause", begun)
        return spoken


def policy_named(name: str, model: Any, end_of_turn: str | None) -> TurnPolicy:
    """A turn policy as the command line names it."""
    if name == "network":
        return EndOfTurn(end_of_turn or "", over_reply=ByWords(model))
    return {"silence": SilenceOnly, "words": ByWords, "model": Semantic}[name](*([model] if name != "silence" else []))


def systems(model: Any, policy: TurnPolicy, watch: Stopwatch) -> dict[str, tuple[Parts, TalkRules]]:
    """What is compared, by name."""
    writer, detector = TimedWriter(Lengthened(TaskReplies(model)), watch), detector_named()
    voice = TimedVoice(EspeakVoice(), watch)
    live = TalkRules(judge_after=policy.after, speculate_after=0.15, judge_again=0.5)
    plain = SilenceOnly(interrupts_after=0.0)
    cascade = TalkRules(judge_after=plain.after, judge_over_reply=0.1)
    return {
        "live": (Parts(detector, TimedPolicy(policy, watch), Voiced(writer, voice)), live),
        "cascade": (Parts(detector, TimedPolicy(plain, watch), Voiced(writer, voice, whole=True)), cascade),
    }


# Figures


def percentile(values: Sequence[float], share: float) -> float | None:
    return round(float(np.percentile(values, share)), 3) if values else None


def figures(outcomes: Sequence[Outcome], watch: Stopwatch) -> dict[str, Any]:
    """The figures of one system."""
    first = [seconds for each in outcomes for seconds in each.first_sound]
    interrupted = [each for each in outcomes if each.scenario in INTERRUPTIONS and each.overlapped]
    rejected = {name: [each for each in outcomes if each.scenario == name] for name in (*REJECTIONS, "noise")}
    stops = [each.stop for each in interrupted if each.stop is not None]
    answered = [each.turns >= 2 or each.scenario == "termination" for each in interrupted]
    responds = [each.stopped and answer for each, answer in zip(interrupted, answered, strict=True)]
    resumes = {
        name: [
            each.turns == 1 if name == "pause" else not each.stopped
            for each in each_of
            if each.overlapped or name == "pause"
        ]
        for name, each_of in rejected.items()
    }
    shares = {name: round(float(np.mean(kept)), 3) if kept else None for name, kept in resumes.items()}
    over = [kept for name, each in resumes.items() if name != "pause" for kept in each]
    response = [each.first_sound[1] for each in interrupted if len(each.first_sound) > 1]
    totals = None
    if responds and stops and response and None not in [shares[name] for name in REJECTIONS]:
        rejects = [shares[name] or 0.0 for name in REJECTIONS]
        times = (float(np.mean(each)) for each in (stops, response, first))
        totals = asdict(humdial(float(np.mean(responds)), rejects, *times))
    stages = {
        name: [value for each in outcomes for value in getattr(each, name)]
        for name in ("waiting", "writing", "speaking")
    }
    return {
        "conversations": len(outcomes),
        "first_sound": {"n": len(first), "p50": percentile(first, 50), "p95": percentile(first, 95)},
        "stages_p50": {name: percentile(values, 50) for name, values in stages.items()},
        "processor": {
            name: {"n": len(each), "p50": percentile(each, 50), "p95": percentile(each, 95)}
            for name, each in sorted(watch.seconds.items())
        },
        "stop_from_onset": {"n": len(stops), "p50": percentile(stops, 50), "p95": percentile(stops, 95)},
        "missed_interruptions": f"{sum(not each.stopped for each in interrupted)}/{len(interrupted)}",
        "false_interruptions": f"{sum(not kept for kept in over)}/{len(over)}",
        "wrong_rejections": f"{sum(not each.turns for each in outcomes)}/{len(outcomes)}",
        "rejected": shares,
        "humdial": totals,
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Both systems in Markdown."""
    lines = ["| | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]

    def add(title: str, value: Callable[[dict[str, Any]], object]) -> None:
        lines.append(f"| {title} | " + " | ".join(str(value(row)) for row in rows.values()) + " |")

    add(
        "first sound after the end of speech, p50 / p95, s",
        lambda row: "{p50} / {p95} ({n})".format(**row["first_sound"]),
    )
    add("... until the turn is taken, p50", lambda row: row["stages_p50"]["waiting"])
    add("... until the first text, p50", lambda row: row["stages_p50"]["writing"])
    add("... until the first sound, p50", lambda row: row["stages_p50"]["speaking"])
    add(
        "stop after the onset of speech, p50 / p95, s",
        lambda row: "{p50} / {p95} ({n})".format(**row["stop_from_onset"]),
    )
    for name in ("missed_interruptions", "false_interruptions", "wrong_rejections"):
        add(name.replace("_", " "), lambda row, name=name: row[name])  # type: ignore[misc]
    parts = sorted({name for row in rows.values() for name in row["processor"]})
    for name in parts:
        add(
            f"processor: {name}, p50 / p95, s",
            lambda row, name=name: "{p50} / {p95}".format(**row["processor"][name]) if name in row["processor"] else "",  # type: ignore[misc]
        )
    add("rejected, by scenario", lambda row: ", ".join(f"{name} {share}" for name, share in row["rejected"].items()))
    return "\n".join(lines)


def load() -> float:
    """Processes that wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the kits `real` and `real2`; without it, samples/")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--policy", choices=("silence", "words", "model", "network"), default="words")
    parser.add_argument("--end-of-turn", metavar="FILE.onnx", help="the network of `--policy network`")
    parser.add_argument("--systems", nargs="+", choices=("live", "cascade"), default=("live", "cascade"))
    parser.add_argument("--scenarios", nargs="+", metavar="NAME", help="these alone")
    parser.add_argument("--rounds", type=int, default=1, help="conversations of each scenario and language (1)")
    parser.add_argument("--talks", type=int, default=1, help="talks at once (1)")
    parser.add_argument(
        "--simulated", action="store_true", help="by a simulated clock, in which work takes processor time"
    )
    parser.add_argument("--cores", type=int, default=1, help="cores of the simulated processor (1)")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    model = osum.load(arguments.model)
    policy = policy_named(arguments.policy, model, arguments.end_of_turn)
    clips, noises = from_data(arguments.data, 12) if arguments.data else from_samples()
    script = [one for language, each in clips.items() for one in scenarios(language, each, noises, arguments.rounds)]
    script = [one for one in script if not arguments.scenarios or one.name in arguments.scenarios]
    rows, found = {}, load()
    for name in arguments.systems:
        watch = Stopwatch()
        parts, rules = systems(model, policy, watch)[name]
        simulated(
            script[:1] + script[-1:], name, parts, rules, 1, SimulatedClock(1)
        )  # the first pass of a model or a voice is slower
        watch.seconds.clear()
        if arguments.simulated:
            outcomes = simulated(script, name, parts, rules, arguments.talks, SimulatedClock(arguments.cores))
        else:
            with ThreadPoolExecutor(arguments.talks) as pool:
                outcomes = list(pool.map(lambda one: in_real_time(one, name, parts, rules), script))  # noqa: B023
        rows[name] = figures(outcomes, watch)
        rows[name]["outcomes"] = [asdict(outcome) for outcome in outcomes]
    print(table(rows))
    clock = (
        f"simulated, {arguments.cores} cores" if arguments.simulated else f"real, load {found} before, {load()} after"
    )
    print(f"clock: {clock}; policy: {arguments.policy}; talks at once: {arguments.talks}")
    report = {"machine": machine(), "model": arguments.model, "policy": arguments.policy, "talks": arguments.talks,
              "clock": clock, "systems": rows}  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", "utf8")


if __name__ == "__main__":
    main()
