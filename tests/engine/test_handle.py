"""Many threads, one model: each gets its own replies, the same as alone, and nobody is left waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from engine.test_engine import alone, ask, check_same, free, request
from engine.tiny_checkpoint import CLIPS, checkpoint_of
from osum.engine.engine import Budget, Engine
from osum.engine.handle import Handle
from osum.engine.options import GenerationOptions
from osum.engine.request import EngineReply, Event
from osum.errors import CancelledError
from osum.listening.recognizer import Recognizer

THREADS = 6


def in_threads(*works: Callable[[], object]) -> list[object]:
    """What each returns; all begin together."""
    gate = threading.Barrier(len(works))

    def begun(work: Callable[[], object]) -> object:
        gate.wait(10)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(60) for future in [pool.submit(begun, work) for work in works]]


def test_threads_that_wait_for_handles_get_their_own_replies() -> None:
    engine = Engine(checkpoint_of("speech_first"), Budget(clips=3))
    asks = [ask(engine, "ASR", 6), ask(engine, "SER", 6)]
    wanted = [[alone(engine, clip, asked) for asked in asks] for clip in range(4)]

    def by_result(clip: int) -> list[EngineReply]:
        return list(engine.submit(request(engine, clip, asks)).result().replies)

    def by_events(clip: int) -> list[EngineReply]:
        found: dict[int, EngineReply] = {}
        streams: dict[int, list[int]] = {0: [], 1: []}
        for event in engine.submit(request(engine, clip, asks)):
            streams[event.ask] += event.ids
            if event.reply is not None:
                found[event.ask] = event.reply
        assert all(tuple(streams[number]) == found[number].ids for number in found)
        return [found[0], found[1]]

    def by_run(_: int) -> list[EngineReply]:
        results = list(engine.run((request(engine, clip, asks, clip) for clip in range(4)), ahead=2))
        assert [result.id for result in results] == [0, 1, 2, 3]
        return [reply for result in results for reply in result.replies]

    ways = [(by_result, 0), (by_events, 1), (by_run, None), (by_result, 2), (by_events, 3), (by_run, None)]
    found = in_threads(*(lambda way=way, clip=clip: way(clip or 0) for way, clip in ways))
    for (_, clip), replies in zip(ways, found, strict=True):
        right = [reply for each in wanted for reply in each] if clip is None else wanted[clip]
        for one, other in zip(replies, right, strict=True):
            check_same(one, other)
    assert not engine.busy


def test_a_recognizer_called_from_threads_answers_as_from_one() -> None:
    recognizer = Recognizer(checkpoint_of("speech_first"))
    options = {"tasks": "ASR,VED,SGC", "generation": GenerationOptions(max_new_tokens=4)}

    def reported(clip: int) -> list[tuple[str | None, str | None]]:
        (segment,) = recognizer.label(CLIPS[clip % 4], **options).segments
        return [(answer.raw, answer.label) for answer in segment.labels.values()]

    one_by_one = [reported(clip) for clip in range(THREADS)]
    for _ in range(3):
        assert in_threads(*(lambda clip=clip: reported(clip) for clip in range(THREADS))) == one_by_one


def test_events_come_before_the_request_has_ended() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    handle = engine.submit(request(engine, 0, [free(engine, "what", 12)]))
    assert next(iter(handle)).ids and not handle.ended


def test_a_cancelled_request_wakes_the_thread_that_waits_for_it() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    handle = engine.submit(request(engine, 0, [free(engine, "what", 2_000)]))
    begun = threading.Event()

    def wait() -> str:
        with pytest.raises(CancelledError, match=r"request None was cancelled"):
            for _ in handle:
                begun.set()
        return "woken"

    def cancel() -> bool:
        begun.wait(30)
        return handle.cancel()

    assert in_threads(wait, cancel) == ["woken", True]
    assert not engine.busy and not handle.cancel()


def test_a_thread_that_gives_up_hands_the_steps_to_one_that_waits() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    asked = free(engine, "what", 9)
    short, long = (
        engine.submit(request(engine, clip, [free(engine, "what", limit)])) for clip, limit in ((0, 2), (1, 9))
    )
    waited = in_threads(short.result, long.result)
    check_same(waited[1].replies[0], alone(engine, 1, asked))


def test_behind_its_end_a_handle_takes_nothing() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    handle: Handle = engine.submit(request(engine, 0, [free(engine, "what", 2)]))
    first = handle.result()
    handle.put(Event(None, 0, (1,), EngineReply("other", (1,))))
    assert not handle.end(ValueError("late")) and handle.result() == first


def test_a_run_gives_the_news_of_its_requests_as_they_come() -> None:
    engine, seen = Engine(checkpoint_of("speech_first")), list[Event]()
    asks = [ask(engine, "ASR", 6)]
    results = engine.run((request(engine, clip, asks, clip) for clip in range(3)), 1, news=seen.append)
    for number, result in enumerate(results):
        assert {event.id for event in seen} == set(range(number + 1)), "window after window"
        assert tuple(chain(*(event.ids for event in seen if event.id == number))) == result.replies[0].ids


def test_a_run_that_nobody_wants_any_more_ends_behind_a_pass_and_leaves_nothing() -> None:
    engine, seen = Engine(checkpoint_of("speech_first")), list[Event]()
    asks = [ask(engine, "ASR", 200)]
    with pytest.raises(CancelledError):
        list(engine.run([request(engine, 0, asks)], stopped=lambda: len(seen) >= 2, news=seen.append))
    assert len(seen) == 2
    assert not engine.busy
