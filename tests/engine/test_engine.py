"""What the engine answers is the same alone and in any company, by draft or without, and is what the model says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import LAYOUTS, VOCAB_SIZE, answer_end, byte_tokenizer, tiny_config, tiny_model
from torch import Tensor

from engine.tiny_checkpoint import CLIPS, checkpoint_of
from osum.checkpoints.checkpoint import Checkpoint
from osum.engine.engine import Budget, Engine
from osum.engine.handle import Handle
from osum.engine.options import GenerationOptions
from osum.engine.request import Ask, EngineReply, Event, Request
from osum.errors import CancelledError, LayoutError
from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.tasks import OSUM, LabelSet, Task

GREEDY = GenerationOptions()
BEAMS = GenerationOptions(num_beams=3)
PENALTY = GenerationOptions(repetition_penalty=1.3)
SAMPLES = GenerationOptions(do_sample=True, top_k=20, top_p=0.95, temperature=2.0, repetition_penalty=1.1, seed=3)
TASKS = ("ASR", "VED", "SER", "SAP+SGC", "STTC", "SRWT", "VED-only", "SAP+SGC-only")
"""With a draft, with two label sets, with a reply, and those that no transcript helps."""


def features(engine: Engine, *clips: int) -> tuple[Tensor, ...]:
    return tuple(engine.processor.log_mel(CLIPS[clip]) for clip in clips)


def ask(engine: Engine, name: str, limit: int = 8, options: GenerationOptions = GREEDY) -> Ask:
    task = OSUM[name]
    return Ask(engine.processor.request(OSUM.prompt(task, "en")), limit, task, options)


def free(engine: Engine, prompt: str, limit: int, options: GenerationOptions = GREEDY) -> Ask:
    return Ask(engine.processor.request(prompt), limit, options=options)


def request(engine: Engine, clip: int, asks: Iterable[Ask], name: object = None) -> Request:
    return Request(name, features(engine, clip), tuple(asks))


def replies(engine: Engine, *requests: Request) -> list[tuple[EngineReply, ...]]:
    """What a run answers; what the model breaks on is raised."""
    results = list(engine.run(requests))
    for result in results:
        if result.fault is not None:
            raise result.fault
    return [result.replies for result in results]


def alone(engine: Engine, clip: int, asked: Ask) -> EngineReply:
    return replies(engine, request(engine, clip, [asked]))[0][0]


def check_same(one: EngineReply, other: EngineReply) -> None:
    """Equal ids, and equal numbers up to the order in which float32 sums are made."""
    assert (one.ids, one.text, one.ended) == (other.ids, other.text, other.ended)
    assert one.log_probs == pytest.approx(other.log_probs, abs=1e-3)
    assert one.scores.keys() == other.scores.keys()
    for name, values in one.scores.items():
        assert values == pytest.approx(other.scores[name], abs=1e-3)


# One pass is what each question alone gives


@pytest.mark.parametrize("options", [GREEDY, SAMPLES], ids=["greedy", "sampling"])
def test_every_task_is_answered_as_if_it_were_alone(engine: Engine, options: GenerationOptions) -> None:
    asks = [ask(engine, name, options=options) for name in TASKS]
    together = replies(engine, *(request(engine, clip, asks) for clip in range(3)))
    for asked, found in zip(asks, together[1], strict=True):
        check_same(found, alone(engine, 1, asked))
    assert len({found.ids for each in together for found in each}) > 10


@torch.no_grad()
def generated(engine: Engine, clip: int, asked: Ask) -> list[int]:
    """The stock greedy loop."""
    inputs = engine.processor.batch([asked.text], features(engine, clip))
    end = engine.processor.answer_end_token_id
    ids = engine.model.generate(
        **inputs,
        max_new_tokens=asked.max_new_tokens,
        repetition_penalty=asked.options.repetition_penalty,
        eos_token_id=end,
        pad_token_id=end,
        suppress_tokens=list(range(VOCAB_SIZE, engine.model.config.vocab_size)) or None,
    )[0, inputs["input_ids"].shape[1] :].tolist()
    return ids[: ids.index(end)] if end in ids else ids


@pytest.mark.parametrize("options", [GREEDY, PENALTY], ids=["greedy", "penalty"])
def test_the_own_loop_says_what_the_stock_loop_says(engine: Engine, options: GenerationOptions) -> None:
    asks = [ask(engine, name, 16, options) for name in ("ASR", "SER")]
    for clip, found in enumerate(replies(engine, *(request(engine, clip, asks) for clip in range(2)))):
        assert [list(reply.ids) for reply in found] == [generated(engine, clip, asked) for asked in asks]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_drafts_are_used_and_departed_from(layout: str) -> None:
    """A task with the very prompt of the leader accepts its whole draft, one with another departs."""
    engine = Engine(checkpoint_of(layout))
    leader = ask(engine, "ASR")
    follower = replace(leader, task=OSUM["SER"])
    other = ask(engine, "SGC")
    first, same, apart = replies(engine, request(engine, 0, [leader, follower, other]))[0]
    assert same.ids == first.ids and same.accepted == same.drafted
    # In the lead's row the first id is reported with the question; in a row of its own a question waits for the draft.
    assert same.drafted == len(first.ids) - (layout == "speech_first") > 1
    assert apart.ids[:8] != first.ids and apart.drafted <= same.drafted
    check_same(apart, alone(engine, 0, other))
    assert engine.counts.accepted >= same.accepted


def test_a_draft_saves_steps() -> None:
    def steps(*names: str) -> int:
        engine = Engine(checkpoint_of("speech_first"))
        prompt = ask(engine, "ASR").text
        replies(engine, request(engine, 0, [replace(ask(engine, name), text=prompt) for name in names]))
        return engine.counts.passes

    assert 5 < steps("ASR", "SER", "SGC", "VED") <= steps("ASR") + 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clips_are_encoded_once_whatever_is_asked(layout: str) -> None:
    engine = Engine(checkpoint_of(layout))
    replies(engine, *(request(engine, clip, [ask(engine, name, 3) for name in TASKS]) for clip in (0, 1)))
    assert engine.counts.clips == 2


def test_speech_before_the_question_is_read_once() -> None:
    """Each further question costs its own ids, not the clip's."""
    engine = Engine(checkpoint_of("speech_first"))
    first, other = ask(engine, "ASR", 1), ask(engine, "VED-only", 1)
    replies(engine, request(engine, 2, [first]))
    one = engine.counts.tokens
    replies(engine, request(engine, 2, [first, other]))
    ids = engine.processor.text_ids
    assert engine.counts.tokens - 2 * one < len(ids(other.text)) + sum(
        len(ids(tag)) for tag in OSUM["VED"].label_sets[0].tags
    )


# Company, order, budgets, interruptions


@pytest.mark.parametrize("options", [GREEDY, BEAMS, SAMPLES], ids=["greedy", "beams", "sampling"])
def test_an_answer_is_the_same_alone_and_in_any_batch(engine: Engine, options: GenerationOptions) -> None:
    asked = [(0, "what", 9), (1, "say it all", 4), (2, "x", 12), (3, "what", 7), (0, "who", 9)]
    asks = [(clip, free(engine, prompt, limit, options)) for clip, prompt, limit in asked]
    together = replies(engine, *(request(engine, clip, [each]) for clip, each in asks))
    assert [found[0].ids for found in together] == [alone(engine, clip, each).ids for clip, each in asks]
    assert len({found[0].ids for found in together}) > 2


def test_budgets_change_no_answer() -> None:
    engine, narrow = (
        Engine(checkpoint_of("speech_first"), budget) for budget in (Budget(), Budget(clips=2, frames=100, tokens=10))
    )
    requests = [request(engine, clip, [ask(engine, name, 4) for name in TASKS]) for clip in range(3)]
    for one, other in zip(replies(engine, *requests), replies(narrow, *requests[::-1])[::-1], strict=True):
        for left, right in zip(one, other, strict=True):
            check_same(left, right)


SLOT_BYTES = 2 * 2 * 2 * 8 * 4
"""Of the tiny model: keys and values, two layers, two heads of width 8, float32."""


@pytest.mark.parametrize(("layout", "num_slots", "limit"), [("speech_first", 1_536, 120), ("prompt_first", 1_024, 50)])
def test_a_narrow_cache_changes_no_answer(layout: str, num_slots: int, limit: int) -> None:
    """Rows lose their place on the way, some more than once, and are fed again."""
    wide = Engine(checkpoint_of(layout))
    narrow = Engine(checkpoint_of(layout), Budget(cache_bytes=num_slots * SLOT_BYTES))
    asks = [ask(wide, "ASR", limit), ask(wide, "SER", limit + 10), ask(wide, "SAP+SGC", limit, SAMPLES)]
    requests = [request(wide, clip, asks) for clip in range(3)]
    for one, other in zip(replies(wide, *requests), replies(narrow, *requests), strict=True):
        for left, right in zip(one, other, strict=True):
            check_same(left, right)
    assert narrow.counts.tokens > wide.counts.tokens
    assert narrow._cache.num_slots == wide._cache.num_slots == 0


def test_what_cannot_fit_into_the_cache_is_refused_in_one_line_and_costs_no_other() -> None:
    engine = Engine(checkpoint_of("speech_first"), Budget(cache_bytes=256 * SLOT_BYTES))
    fits = free(engine, "what", 4)
    grows = request(engine, 0, [free(engine, "what", 2_000)], "grows")
    many = request(engine, 0, [free(engine, f"{place} " * 40, 4) for place in "abc"], "many")
    long = request(engine, 0, [free(engine, "what " * 80, 4)], "long")
    results = list(engine.run([grows, many, long, request(engine, 0, [fits], "fits")]))
    for result in results[:3]:
        assert "the cache has room for" in (result.error or "") and "\n" not in (result.error or "")
    check_same(results[3].replies[0], alone(Engine(checkpoint_of("speech_first")), 0, fits))
    assert not engine.busy


class Positions:
    """Watches the positions that a model is run at, whoever runs it."""

    def __init__(self, model: OsumForConditionalGeneration) -> None:
        self.last = 0
        rotary = model.model.language_model.rotary_emb
        self.hook = rotary.register_forward_pre_hook(self._watch, with_kwargs=True)

    def _watch(self, _: object, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        positions = named["position_ids"] if "position_ids" in named else given[1]
        self.last = max(self.last, int(positions.max()))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", [GREEDY, SAMPLES, BEAMS], ids=["greedy", "sampling", "beams"])
def test_no_answer_runs_past_the_last_position(layout: str, options: GenerationOptions) -> None:
    """Drafts, tags and beams included; at the last position an answer is cut, and its labels are still scored."""
    known = checkpoint_of(layout)
    probe = Engine(known)
    asks = [ask(probe, name, 2_000, options) for name in ("ASR", "SGC-only")]
    asks.append(Ask(asks[0].text, 2_000, OSUM["SAP+SGC"], options))
    longest = max(len(probe.processor.joint_ids(asked.text, [13])) for asked in asks)
    model = tiny_model(layout)
    model.config.text_config.max_position_embeddings = last = longest + 32
    engine, positions = Engine(replace(known, model=model)), Positions(model)
    (found,) = replies(engine, request(engine, 0, asks))
    assert positions.last < last
    assert positions.last >= last - 20 and not all(reply.ended for reply in found)
    for asked, reply in zip(asks, found, strict=True):
        assert asked.task is not None and reply.scores.keys() == {labels.name for labels in asked.task.label_sets}


def test_a_conversation_without_room_for_an_answer_is_refused(engine: Engine) -> None:
    asked = ask(engine, "SAP+SGC")
    engine._max_positions = len(engine.processor.joint_ids(asked.text, [7])) + 2
    with pytest.raises(LayoutError, match="this model takes less than"):
        engine.submit(request(engine, 1, [asked]))


def test_a_clip_that_is_too_long_is_refused(engine: Engine) -> None:
    clip = torch.zeros(engine.processor.feature_extractor.feature_size, engine.processor.max_frames + 1)
    with pytest.raises(LayoutError, match="this model takes at most 3000 at once"):
        engine.submit(Request(0, (clip,), (free(engine, "what", 2),)))


ACTS = st.lists(st.sampled_from(["submit", "step", "step", "cancel"]), max_size=24)


@settings(max_examples=8)
@given(acts=ACTS, layout=st.sampled_from(["prompt_first", "speech_first"]))
def test_requests_may_come_and_go_at_any_time(acts: Sequence[str], layout: str) -> None:
    engine = Engine(checkpoint_of(layout), Budget(clips=3))
    asks = [ask(engine, name, 5) for name in ("ASR", "SER", "VED-only")]
    handles: dict[int, Handle] = {}
    gone: set[int] = set()
    for number, act in enumerate(acts):
        if act == "submit":
            handles[number] = engine.submit(request(engine, number % 4, asks, number))
        elif act == "step":
            engine.step()
        elif left := [name for name in handles if name not in gone]:
            name = left[number % len(left)]
            answered = handles[name].ended
            assert handles[name].cancel() != answered
            gone |= set() if answered else {name}
    while engine.busy:
        engine.step()
    for name, handle in handles.items():
        events: list[Event] = []
        with pytest.raises(CancelledError, match=f"request {name} ") if name in gone else nullcontext():
            events.extend(handle)
        if name in gone:
            continue
        for number, asked in enumerate(asks):
            mine = [event for event in events if event.ask == number]
            (reply,) = [event.reply for event in mine if event.reply is not None]
            check_same(reply, expected(layout, name % 4, number, asked))
            assert tuple(token for event in mine for token in event.ids) == reply.ids
            assert handle.result().replies[number] is reply


KNOWN: dict[tuple[str, int, int], EngineReply] = {}


def expected(layout: str, clip: int, number: int, asked: Ask) -> EngineReply:
    """What a question alone is answered, found once."""
    if (layout, clip, number) not in KNOWN:
        KNOWN[layout, clip, number] = alone(Engine(checkpoint_of(layout)), clip, asked)
    return KNOWN[layout, clip, number]


def test_two_runs_may_be_read_in_turn() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    asks = [free(engine, "what", 5)]
    runs = [engine.run([request(engine, clip, asks, clip) for clip in order]) for order in ((0, 1, 2), (2, 1, 0))]
    turns = [[next(run).id for run in runs] for _ in range(3)]
    assert turns == [[0, 2], [1, 1], [2, 0]] and not engine.busy


def test_a_run_given_up_leaves_nothing_behind() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    run = engine.run(request(engine, clip, [free(engine, "what", 3 + 20 * clip)]) for clip in range(4))
    next(run)
    assert engine.busy
    run.close()
    assert not engine.busy


def test_results_are_in_order_with_errors_in_their_place() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    good = request(engine, 0, [free(engine, "what", 4)], "good")
    nothing = Request("nothing", good.features, ())
    long = request(engine, 0, [free(engine, "what " * 9_000, 4)], "long")
    lost = Request("lost", (), good.asks)
    results = list(engine.run([nothing, good, long, lost, good]))
    assert [result.id for result in results] == ["nothing", "good", "long", "lost", "good"]
    errors = [result.error or "" for result in results]
    for error, words in zip(errors, ("asks nothing", "", "less than 32768", "1 clips, 0 were given", ""), strict=True):
        assert words in error and bool(words) == bool(error)
    assert results[1].replies[0].ids == results[4].replies[0].ids


def test_two_requests_of_one_id_are_answered_each_by_its_own_handle(engine: Engine) -> None:
    asked = free(engine, "what", 4)
    handles = [engine.submit(request(engine, clip, [asked], "a")) for clip in (0, 1)]
    for clip, handle in enumerate(handles):
        check_same(handle.result().replies[0], alone(engine, clip, asked))


def test_results_come_before_more_is_read() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    taken: list[int] = []

    def requests() -> Iterable[Request]:
        for clip in range(4):
            taken.append(clip)
            yield request(engine, clip, [free(engine, "what", 3)])

    next(engine.run(requests(), ahead=1))
    assert taken == [0]


# Conversations


def test_a_conversation_may_hold_several_clips_and_none() -> None:
    engine = Engine(checkpoint_of("chatml"))
    turn = {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "and"}, {"type": "audio"}]}
    two = Ask(engine.processor.render([turn]), 6)
    none = Ask(engine.processor.render([{"role": "user", "content": "hello"}]), 6)
    found = replies(engine, Request("two", features(engine, 0, 1), (two,)), Request("none", (), (none,)))
    inputs = engine.processor.batch([two.text], features(engine, 0, 1))
    with torch.no_grad():
        logits = engine.model(**inputs).logits[0, -1, :VOCAB_SIZE]
    assert found[0][0].ids[0] == logits.argmax() and found[0][0].ids != found[1][0].ids
    assert found[0][0].log_probs[0] == pytest.approx(logits.log_softmax(-1).max().item(), abs=1e-4)


# Limits, seeds


def test_a_longer_limit_continues_where_a_shorter_one_stopped(engine: Engine) -> None:
    few, many = replies(engine, request(engine, 0, [free(engine, "what", 3), free(engine, "what", 12)]))[0]
    assert many.ids[:3] == few.ids and len(few.ids) == 3 < len(many.ids)
    assert not few.ended


def test_the_limit_grows_with_the_audio_and_the_task(engine: Engine) -> None:
    limits = [engine.token_limit(OSUM[name], 10.0, GREEDY) for name in ("SGC-only", "ASR", "STTC", "SRWT")]
    assert limits == [40, 160, 280, 940]
    assert engine.token_limit(OSUM["SRWT"], 10.0, GenerationOptions(max_new_tokens=5)) == 5


@pytest.mark.parametrize("options", [SAMPLES, GenerationOptions.release(5)], ids=["sampling", "release"])
def test_a_seed_makes_sampling_repeat_itself_in_any_company(engine: Engine, options: GenerationOptions) -> None:
    options = replace(options, max_new_tokens=8)
    asks = [free(engine, "what", 8, options), free(engine, "who", 8, options)]
    state = torch.random.get_rng_state()
    together = replies(engine, request(engine, 0, asks), request(engine, 1, asks))
    assert [alone(engine, 1, asked).ids for asked in asks] == [found.ids for found in together[1]]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_another_seed_samples_another_answer() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    options = [GenerationOptions(do_sample=True, temperature=3.0, seed=seed) for seed in (0, 1, None, None)]
    assert len({alone(engine, 0, free(engine, "what", 9, each)).ids for each in options}) == 4


# Scores of labels

MOODS = Task("MOOD", "<TRANSCRIBE> <MOOD>", "mood", label_sets=(LabelSet("mood", ("sad", "sadder", "anger", "happy")),))
"""Two of them share all but their ends."""


@torch.no_grad()
def full_log_p(engine: Engine, clip: int, text: str, answer: str) -> float:
    """Log-probability of a whole answer without its end, by one plain forward pass."""
    inputs = engine.processor.batch([text], features(engine, clip), answers=[answer])
    labels = inputs.pop("labels")[0, 1:]
    log_probs = engine.model(**inputs).logits[0, :-1, :VOCAB_SIZE].double().log_softmax(-1)
    kept = torch.nonzero(labels != -100).flatten()[:-1]
    return log_probs[kept, labels[kept]].sum().item()


def check_scores(engine: Engine, clip: int, asked: Ask, reply: EngineReply) -> None:
    """Scores of one set may all be off by what its tags share, so differences are compared."""
    task = asked.task
    assert task is not None
    before = task.transcript_of(reply.text)
    for labels in task.label_sets:
        scores = torch.tensor(reply.scores[labels.name])
        brute = torch.tensor([full_log_p(engine, clip, asked.text, before + tag) for tag in labels.tags])
        torch.testing.assert_close(scores - scores[0], brute - brute[0], atol=1e-3, rtol=0)
        said = task.parse(reply.text).labels[labels.name]
        before += f"<{said or labels.labels[0]}>"


def test_labels_are_scored_as_by_one_full_pass_each(engine: Engine) -> None:
    """Behind the own transcript of each, whether it kept to the draft, departed from it, or had none."""
    prompt = ask(engine, "ASR", 6).text
    asks = [ask(engine, "ASR", 6), ask(engine, "SAP+SGC", 6), Ask(prompt, 6, MOODS), ask(engine, "SAP+SGC-only", 6)]
    (found,) = replies(engine, request(engine, 2, asks))
    for asked, reply in zip(asks, found, strict=True):
        check_scores(engine, 2, asked, reply)
        assert (asked.task == OSUM["ASR"]) == (not reply.scores)


def test_beams_are_scored_likewise(engine: Engine) -> None:
    asks = [ask(engine, "ASR", 5, BEAMS), ask(engine, "SER", 5, BEAMS)]
    (found,) = replies(engine, request(engine, 1, asks))
    check_scores(engine, 1, asks[1], found[1])
    assert found[0].log_probs == () and found[0].empty is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tag_may_melt_into_the_token_before_it(layout: str) -> None:
    """Drafts and scores hold where letters merge with the brackets next to them."""
    config = tiny_config(layout)
    config.text_config.vocab_size = VOCAB_SIZE
    melting = {"a<": 259, "b<": 260, "c<": 261, "d>": 262}
    processor = OsumProcessor.for_config(config, byte_tokenizer(words=melting), answer_end(layout))
    assert processor.text_ids("ab<sad>") == [97, 260, *b"sa", 262]
    engine = Engine(Checkpoint("melting", "1", checkpoint_of(layout).model, processor, OSUM))
    asks = [ask(engine, "ASR", 5), Ask(ask(engine, "ASR").text, 5, MOODS), ask(engine, "SER", 5)]
    (found,) = replies(engine, request(engine, 0, asks))
    for asked, reply in zip(asks, found, strict=True):
        check_scores(engine, 0, asked, reply)
        check_same(reply, alone(engine, 0, asked))


@torch.no_grad()
def test_the_probability_of_silence_is_that_of_the_end_in_the_first_place(engine: Engine) -> None:
    asked = free(engine, "what", 3)
    for clip, (reply,) in enumerate(replies(engine, *(request(engine, clip, [asked]) for clip in range(4)))):
        inputs = engine.processor.batch([asked.text], features(engine, clip))
        text = engine.model(**inputs).logits[0, -1, :VOCAB_SIZE].softmax(-1)
        assert reply.empty == pytest.approx(text[engine.processor.answer_end_token_id].item(), abs=1e-5)
