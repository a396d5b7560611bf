"""Whatever fails, and wherever: every request ends exactly once, and those that are not to blame are answered.

The model, the processor and the memory of a real engine are made to fail; the engine itself is as it ships.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import answer_end, byte_tokenizer, tiny_config, tiny_model
from torch import Tensor

from engine.test_engine import BEAMS, SAMPLES, alone, ask, check_same, free, request
from engine.tiny_checkpoint import checkpoint_of
from osum.checkpoints.checkpoint import Checkpoint
from osum.engine.engine import Budget, Engine
from osum.engine.handle import Handle
from osum.engine.request import EngineReply, Event, Request
from osum.errors import CancelledError
from osum.model import OsumProcessor
from osum.tasks import OSUM

PLACES = ("encoder", "layer", "head", "beams", "decode", "tokenise", "memory")
FAULTS = (torch.OutOfMemoryError("out of memory"), RuntimeError("shapes"), KeyError("bug"), KeyboardInterrupt())
LAYOUT = "speech_first"


class Broken(OsumProcessor):
    """A processor that may fail where the engine reads or writes text."""

    fail: Callable[[str], None]

    def text_ids(self, text: str) -> list[int]:
        self.fail("tokenise")
        return super().text_ids(text)

    def decode(self, ids: Any, **kwargs: Any) -> str:
        self.fail("decode")
        return super().decode(ids, **kwargs)


@dataclass
class Trouble:
    """Raises `fault` at one place, from its call `first` on, so many times."""

    place: str
    first: int
    times: int
    fault: BaseException
    armed: bool = False
    calls: int = 0
    raised: int = field(default=0)

    def __call__(self, place: str) -> None:
        if not self.armed or place != self.place:
            return
        self.calls += 1
        if self.calls > self.first and self.raised < self.times:
            self.raised += 1
            raise self.fault


def troubled(trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose model, processor and memory fail as `trouble` says."""
    model = tiny_model(LAYOUT)
    for module, place in ((model.model.audio_tower, "encoder"), (model.lm_head, "head")):
        module.register_forward_pre_hook(lambda *_, place=place: trouble(place))
    model.model.language_model.layers[1].mlp.register_forward_pre_hook(lambda *_: trouble("layer"))
    generate, new_zeros = model.generate, Tensor.new_zeros

    def searched(*arguments: Any, **options: Any) -> Any:
        trouble("beams")
        return generate(*arguments, **options)

    def grown(*arguments: Any, **options: Any) -> Tensor:
        trouble("memory")
        return new_zeros(*arguments, **options)

    model.generate = searched
    monkeypatch.setattr(Tensor, "new_zeros", grown)
    processor = Broken.for_config(tiny_config(LAYOUT), byte_tokenizer(), answer_end(LAYOUT))
    processor.fail = trouble
    return Engine(Checkpoint("tiny", "1", model, processor, OSUM), Budget(clips=3))


def mixed(engine: Engine) -> list[Request]:
    """Drafts and labels, a free question, drawing, beams, no clip."""
    return [
        request(engine, 0, [ask(engine, "ASR", 6), ask(engine, "SER", 6)], 0),
        request(engine, 1, [free(engine, "what", 5)], 1),
        request(engine, 2, [ask(engine, "SGC", 4, SAMPLES)], 2),
        request(engine, 3, [ask(engine, "SER", 3, BEAMS)], 3),
        request(engine, 1, [ask(engine, "SAP+SGC-only", 5)], 4),
    ]


KNOWN: dict[object, list[EngineReply]] = {}


def known() -> dict[object, list[EngineReply]]:
    """What the requests are answered where nothing fails, found once."""
    if not KNOWN:
        engine = Engine(checkpoint_of(LAYOUT))
        for each in mixed(engine):
            KNOWN[each.id] = [alone(engine, (0, 1, 2, 3, 1)[int(str(each.id))], asked) for asked in each.asks]
    return KNOWN


def ending(handle: Handle) -> tuple[list[EngineReply], BaseException | None]:
    """How a handle ends, seen twice: by its events and by its result."""
    events: list[Event] = []
    fault: BaseException | None = None
    try:
        events.extend(handle)
    except Exception as caught:
        fault = caught
    replies = {event.ask: event.reply for event in events if event.reply is not None}
    assert len(replies) == sum(event.reply is not None for event in events), "a reply was given twice"
    assert handle.ended and not handle.cancel()
    if fault is not None:
        with pytest.raises(type(fault)):
            handle.result()
        return [], fault
    assert handle.result().replies == tuple(replies[ask] for ask in range(len(handle.request.asks)))
    return list(handle.result().replies), None


def check_answered(handle: Handle, replies: list[EngineReply]) -> None:
    for found, right in zip(replies, known()[handle.id], strict=True):
        check_same(found, right)


@settings(max_examples=15)
@given(
    place=st.sampled_from(PLACES),
    first=st.integers(0, 12),
    times=st.sampled_from([1, 2, 1_000]),
    fault=st.sampled_from(FAULTS),
)
def test_every_request_ends_once_wherever_something_fails(
    place: str, first: int, times: int, fault: BaseException
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        trouble = Trouble(place, first, times, fault)
        engine = troubled(trouble, patch)
        handles = [engine.submit(each) for each in mixed(engine)]
        trouble.armed = True
        while engine.busy:
            try:
                engine.step()
            except KeyboardInterrupt:
                assert fault is FAULTS[3]
        trouble.armed = False
        for handle in handles:
            replies, caught = ending(handle)
            if caught is None:
                check_answered(handle, replies)
            else:
                assert trouble.raised and (caught is fault or isinstance(caught, CancelledError))
        again = engine.submit(mixed(engine)[0])
        check_answered(again, ending(again)[0])


@pytest.mark.parametrize("place", ["encoder", "layer", "head"])
@pytest.mark.parametrize("fault", FAULTS[:2], ids=["memory", "bug"])
def test_a_fault_that_comes_once_for_many_costs_no_answer(
    place: str, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again for each half."""
    trouble = Trouble(place, 0, 1, fault, armed=True)
    engine = troubled(trouble, monkeypatch)
    handles = [engine.submit(each) for each in mixed(engine)[:3]]
    for handle in handles:
        check_answered(handle, ending(handle)[0])
    assert trouble.raised == 1 and engine.counts.memory_faults == (fault is FAULTS[0])


def test_a_request_that_the_encoder_breaks_on_costs_no_other() -> None:
    model = tiny_model(LAYOUT)
    engine = Engine(Checkpoint("tiny", "1", model, checkpoint_of(LAYOUT).processor, OSUM))

    def refuse(_: object, inputs: tuple[Tensor, ...]) -> None:
        if 73 in inputs[1]:
            raise ValueError("cannot encode this")

    model.model.audio_tower.register_forward_pre_hook(refuse)
    asked = free(engine, "what", 4)
    handles = [engine.submit(request(engine, clip, [asked], clip)) for clip in range(4)]
    endings = [ending(handle) for handle in handles]
    assert [type(fault) for _, fault in endings] == [type(None), type(None), ValueError, type(None)]
    for clip in (0, 1, 3):
        check_same(endings[clip][0][0], alone(engine, clip, asked))


@pytest.mark.parametrize("fatal", range(4))
def test_where_memory_ends_while_the_cache_grows_later_answers_are_right(
    fatal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and values of both layers: four tensors to grow."""
    trouble = Trouble("memory", fatal, 1_000, FAULTS[0])
    engine = troubled(trouble, monkeypatch)
    pair = [request(engine, clip, [ask(engine, "ASR")]) for clip in (0, 1)]
    before = [engine.submit(each).result().replies[0] for each in pair]
    trouble.armed = True
    long = [engine.submit(request(engine, clip, [ask(engine, "ASR", 200)])) for clip in range(4)]
    with pytest.raises(torch.OutOfMemoryError):
        [handle.result() for handle in long]
    trouble.armed = False
    for one, each in zip(before, pair, strict=True):
        check_same(one, engine.submit(each).result().replies[0])


def test_a_request_whose_step_failed_may_be_submitted_again(engine: Engine) -> None:
    asked = ask(engine, "ASR")
    fail = True

    def refuse(*_: object) -> None:
        if fail:
            raise torch.OutOfMemoryError("out of memory")

    hook = engine.model.model.audio_tower.register_forward_pre_hook(refuse)
    handles = [engine.submit(request(engine, clip, [asked], clip)) for clip in (0, 1)]
    for handle in handles:
        with pytest.raises(torch.OutOfMemoryError):
            handle.result()
    fail = False
    for clip in (0, 1):
        check_same(engine.submit(request(engine, clip, [asked])).result().replies[0], alone(engine, clip, asked))
    hook.remove()


def test_a_reader_that_fails_ends_its_own_run_alone() -> None:
    engine = Engine(checkpoint_of(LAYOUT))
    other = engine.submit(mixed(engine)[0])

    def requests() -> Iterator[Request]:
        yield from mixed(engine)[:2]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(engine.run(requests(), ahead=2))
    check_answered(other, ending(other)[0])
    assert not engine.busy


def test_a_listener_that_fails_cancels_its_own_request_alone() -> None:
    engine = Engine(checkpoint_of(LAYOUT))
    first, other = (engine.submit(each) for each in mixed(engine)[:2])
    with pytest.raises(ZeroDivisionError), first as events:
        for _ in events:
            1 / 0  # noqa: B018
    assert isinstance(ending(first)[1], CancelledError)
    check_answered(other, ending(other)[0])
    assert not engine.busy
