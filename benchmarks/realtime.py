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
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from label import machine

import osum
from osum import audio
from osum.audio import SAMPLE_RATE
from osum.dialogue.live import LiveTalk, Parts
from osum.dialogue.news import CutOff, Event, ReplyStarted, Said, TurnTaken
from osum.dialogue.talk import TalkRules
from osum.dialogue.talker import AudioPiece, Piece, Reply, TextPiece
from osum.dialogue.task_replies import TaskReplies
from osum.dialogue.turn_policy import TURN, EndOfTurn, Evidence, Judgement, Semantic, SilenceOnly, TurnPolicy
from osum.dialogue.voiced import EspeakVoice, Voiced
from osum.listening.vad import FRAME, detector_named
from osum.scoring.duplex import INTERRUPTIONS, REJECTIONS, humdial

ROOT = Path(__file__).parents[1]
OVER = 0.6
"""Seconds from the first sound of a reply to what comes over it."""
LISTENS_ON = 3.0
"""Seconds behind the last sound of the user in which an answer may begin."""
MORE = {
    "en": ", and there is much more to say about that, if you have a moment",
    "zh": "，关于这个问题我们还可以再谈很多很多",
}
FAR = 0.05
"""Of somebody in the background: 26 dB below the user."""
Samples = Any


@dataclass(frozen=True)
class Clips:
    """Sounds of one language."""

    sentences: Sequence[Samples]
    words: Sequence[Samples]
    """Short ones, as people say them while they listen."""
    no: Sequence[Samples]
    stop: Sequence[Samples]


@dataclass(frozen=True)
class Scenario:
    """One conversation: a turn of the user, and what comes over the reply to it or in the middle of it."""

    name: str
    language: str
    first: Samples
    over: Samples | None = None
    must_stop: bool = False
    """Whether the reply must stop for it."""
    num_turns: int = 1
    """Turns that must be answered."""


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
    short = of_data(data, words, lambda row: len(row["text"]) <= 2, count)
    mandarin = Clips(of_data(data, "real/aishell3", length(2.0, 6.0), count), short, short, short)
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


class Timed:
    """A policy that keeps how long it took."""

    def __init__(self, policy: TurnPolicy) -> None:
        self.policy, self.seconds = policy, list[float]()
        self.after, self.instant = policy.after, policy.instant

    def judge(self, evidence: Evidence) -> Judgement:
        begun = time.monotonic()
        judgement = self.policy.judge(evidence)
        self.seconds.append(time.monotonic() - begun)
        return judgement


def systems(model: Any, end_of_turn: str | None) -> dict[str, tuple[Parts, TalkRules]]:
    """What is compared, by name."""
    writer, voice, detector = Lengthened(TaskReplies(model)), EspeakVoice(), detector_named()
    policy: TurnPolicy = SilenceOnly()
    if end_of_turn:
        policy = EndOfTurn(end_of_turn)
    elif TURN in model.tasks:
        policy = Semantic(model)
    live = TalkRules(judge_after=policy.after, speculate_after=0.15)
    plain = SilenceOnly(interrupts_after=0.0)
    cascade = TalkRules(judge_after=plain.after, judge_over_reply=0.1)
    return {
        "live": (Parts(detector, Timed(policy), Voiced(writer, voice)), live),
        "cascade": (Parts(detector, Timed(plain), Voiced(writer, voice, whole=True)), cascade),
    }


# One conversation


@dataclass
class Outcome:
    """What happened in one conversation; times in seconds."""

    scenario: str
    language: str
    system: str
    first_sound: list[float] = field(default_factory=list)
    """From the end of the user's speech."""
    waiting: list[float] = field(default_factory=list)
    """... of which until the turn was taken,"""
    writing: list[float] = field(default_factory=list)
    """... from there to the first text (less than nothing where it was speculated),"""
    speaking: list[float] = field(default_factory=list)
    """... and from there to the first sound."""
    stop: float | None = None
    """From the onset of what came over the reply to the end of the reply."""
    stopped: bool = False
    overlapped: bool = False
    """Whether something came while the reply played."""
    turns: int = 0


class Recording:
    """The events of a talk with their times."""

    def __init__(self) -> None:
        self.events: list[tuple[float, Event]] = []
        self.sounds = threading.Event()

    def __call__(self, event: Event, _: float) -> None:
        self.events.append((time.monotonic(), event))
        if isinstance(event, Said) and isinstance(event.piece, AudioPiece):
            self.sounds.set()

    def times(self, kind: type, piece: type | None = None) -> list[tuple[float, Any]]:
        return [
            (at, event)
            for at, event in self.events
            if isinstance(event, kind) and (piece is None or isinstance(getattr(event, "piece", None), piece))
        ]


def play(talk: LiveTalk, samples: Samples, until: threading.Event | None = None) -> float:
    """Send sound as it would be spoken; when the last of it was. `until` ends it early."""
    begun = time.monotonic()
    for number, at in enumerate(range(0, len(samples), FRAME), 1):
        talk.hear(samples[at : at + FRAME])
        time.sleep(max(0.0, begun + number * FRAME / SAMPLE_RATE - time.monotonic()))
        if until is not None and until.is_set():
            break
    return time.monotonic()


def converse(scenario: Scenario, system: str, parts: Parts, rules: TalkRules) -> Outcome:
    """Play one conversation through one system."""
    recording, found = Recording(), Outcome(scenario.name, scenario.language, system)
    silence = np.zeros(round(LISTENS_ON * SAMPLE_RATE), np.float32)
    with LiveTalk(parts, rules, recording) as talk:
        play(talk, silence[: SAMPLE_RATE // 2])
        ends = [play(talk, scenario.first)]
        play(talk, silence, until=recording.sounds)
        if scenario.over is not None:
            play(talk, silence[: round(OVER * SAMPLE_RATE)])
            answer = talk.talk.answer
            found.overlapped = answer is not None and answer.playback.plays(time.monotonic())
            onset = time.monotonic()
            ends.append(play(talk, scenario.over))
            cuts = [at for at, _ in recording.times(CutOff) if at >= onset]
            play(talk, silence)
            cuts = [at for at, _ in recording.times(CutOff) if at >= onset]
            found.stopped = bool(cuts)
            found.stop = cuts[0] - onset if cuts else None
        else:
            play(talk, silence)
    measure(found, recording, ends[: scenario.num_turns])
    return found


def measure(found: Outcome, recording: Recording, ends: Sequence[float]) -> None:
    """Times of each turn that was answered."""
    taken = [at for at, _ in recording.times(TurnTaken)]
    found.turns = len(recording.times(ReplyStarted))
    for end in ends:
        sounds = [(at, said.reply) for at, said in recording.times(Said, AudioPiece) if at > end]
        turn = next((at for at in taken if at > end), None)
        if not sounds or turn is None:
            continue
        first, reply = sounds[0]
        text = next(at for at, said in recording.times(Said, TextPiece) if said.reply == reply)
        found.first_sound.append(first - end)
        found.waiting.append(turn - end)
        found.writing.append(text - turn)
        found.speaking.append(first - text)


# Figures


def percentile(values: Sequence[float], share: float) -> float | None:
    return round(float(np.percentile(values, share)), 3) if values else None


def figures(outcomes: Sequence[Outcome], policy_seconds: Sequence[float]) -> dict[str, Any]:
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
        "policy_p50": percentile(policy_seconds, 50),
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
    add("rejected, by scenario", lambda row: ", ".join(f"{name} {share}" for name, share in row["rejected"].items()))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the kits `real` and `real2`; without it, samples/")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--end-of-turn", metavar="FILE.onnx", help="a network that detects ends of turns")
    parser.add_argument("--rounds", type=int, default=1, help="conversations of each scenario and language (1)")
    parser.add_argument("--talks", type=int, default=1, help="talks at once (1)")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    model = osum.load(arguments.model)
    clips, noises = from_data(arguments.data, 12) if arguments.data else from_samples()
    script = [one for language, each in clips.items() for one in scenarios(language, each, noises, arguments.rounds)]
    rows = {}
    for name, (parts, rules) in systems(model, arguments.end_of_turn).items():
        converse(script[0], name, parts, rules)  # the first pass of a model is slower
        with ThreadPoolExecutor(arguments.talks) as pool:
            outcomes = list(pool.map(lambda one: converse(one, name, parts, rules), script))  # noqa: B023
        rows[name] = figures(outcomes, parts.policy.seconds)  # type: ignore[attr-defined]
        rows[name]["outcomes"] = [asdict(outcome) for outcome in outcomes]
    print(table(rows))
    report = {"machine": machine(), "model": arguments.model, "talks": arguments.talks, "systems": rows}
    if arguments.out:
        arguments.out.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", "utf8")


if __name__ == "__main__":
    main()
