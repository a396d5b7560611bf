"""Answers in text and aloud through the engine: what stock `generate` says, alone and in any company."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from model.golden import echat_model, tensors
from model.golden_echat import GENERATIONS, plan_of, processor_of, prompt_of
from model.tiny import answer_end

from engine.tiny_checkpoint import CLIPS, checkpoint_of
from osum.checkpoints.checkpoint import Checkpoint
from osum.engine.engine import Engine
from osum.engine.options import GenerationOptions
from osum.engine.request import Ask, Request, Result
from osum.errors import InputError, LayoutError
from osum.model.answer_plan import AnswerPlan, CodesRepeat
from osum.tasks import OSUM

LIMIT = 40
FORMS = [{"speaks": True}, {"speaks": True, "in_turns": True}, {"writes": False, "speaks": True}, {}]


@pytest.fixture
def engine() -> Engine:
    return Engine(checkpoint_of("chatml"))


def plan(engine: Engine, **form: object) -> AnswerPlan:
    speech = engine.processor.speech_ids
    return AnswerPlan(speech, answer_end("chatml"), rules=(CodesRepeat(speech, silence=5),), **form)


def talk(engine: Engine, form: dict[str, object], options: GenerationOptions | None = None) -> Ask:
    """A question aloud, behind an earlier turn that was answered aloud."""
    said = [{"type": "text", "text": "hi"}, {"type": "speech", "codes": [1, 2]}]
    spoken = {"role": "user", "content": [{"type": "audio"}]}
    text = engine.processor.render(
        [{"role": "user", "content": "hello"}, {"role": "assistant", "content": said}, spoken]
    )
    runs = (engine.processor.speech_ids.of_codes([1, 2]),)
    return Ask(text, LIMIT, options=options or GenerationOptions(), plan=plan(engine, **form), runs=runs)


def request(engine: Engine, name: str, clip: int, *asks: Ask) -> Request:
    return Request(name, (engine.processor.log_mel(CLIPS[clip]),), asks)


def labels(engine: Engine) -> Sequence[Ask]:
    tasks = [task for task in OSUM.tasks if task.name in ("ASR", "SGC")]
    return [Ask(engine.processor.request("what is said"), 12, task) for task in tasks]


def stock(engine: Engine, ask: Ask, clip: int) -> list[int]:
    """What stock `generate` says; the id that ends it left out."""
    features = [engine.processor.log_mel(CLIPS[clip])]
    inputs = engine.processor.batch([ask.text], features, given=ask.runs)
    ids = engine.model.generate(**inputs, plan=ask.plan, max_new_tokens=LIMIT, do_sample=False)
    answer = ids[0, inputs["input_ids"].shape[1] :].tolist()
    assert ask.plan is not None
    progress = ask.plan.begin()
    for token in answer:
        progress = progress.after(token)
    return answer[:-1] if progress.over else answer


def same(one: Result, other: Result) -> bool:
    assert one.error is None and other.error is None
    return all(
        mine.ids == theirs.ids and mine.scores.keys() == theirs.scores.keys() and mine.ended == theirs.ended
        for mine, theirs in zip(one.replies, other.replies, strict=True)
    )


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("clip", [0, 1])
def test_the_engine_says_what_stock_generate_says(engine: Engine, form: dict[str, object], clip: int) -> None:
    ask = talk(engine, form)
    (reply,) = engine.submit(request(engine, "a", clip, ask)).result().replies
    assert list(reply.ids) == stock(engine, ask, clip)


def test_talks_and_labels_are_the_same_alone_and_together(engine: Engine) -> None:
    """Greedy and sampled talks of every form share the engine with a labelling run."""
    sampled = GenerationOptions(do_sample=True, seed=3, top_k=5)
    requests = [request(engine, f"talk {n}", n % 3, talk(engine, form)) for n, form in enumerate(FORMS)]
    requests += [request(engine, f"drawn {n}", n % 3, talk(engine, form, sampled)) for n, form in enumerate(FORMS)]
    requests += [request(engine, f"labels {n}", n, *labels(engine)) for n in range(3)]
    together = list(engine.run(requests))
    for item, result in zip(requests, together, strict=True):
        (alone,) = Engine(checkpoint_of("chatml")).run([item])
        assert same(result, alone)


@pytest.mark.parametrize("name", ["t2t", "tts"])
def test_the_engine_says_what_the_original_says(name: str) -> None:
    """The golden decodings whose prompts hold no clip, with the ids that were forced."""
    model, golden = echat_model(), tensors("echat")
    processor = processor_of(model)
    prompt = prompt_of(name, golden[f"generate_{name}_inputs_embeds"].shape[1], (), processor)
    engine = Engine(Checkpoint("tiny", "1", model, processor, OSUM))
    ask = Ask("<|ids|>", 60, plan=plan_of(name, processor), runs=(prompt[0].tolist(),))
    (reply,) = engine.submit(Request("a", (), (ask,))).result().replies
    said = [token - processor.speech_ids.first * (token >= processor.speech_ids.first) for token in reply.ids]
    assert said == golden[f"generate_{name}_ids"][0].tolist()[:-1]
    assert GENERATIONS[name][0].says in ("text", "speech")


def test_news_of_a_talk_arrives_id_by_id(engine: Engine) -> None:
    handle = engine.submit(request(engine, "a", 0, talk(engine, {"speaks": True})))
    events = list(handle)
    assert tuple(token for event in events for token in event.ids) == handle.result().replies[0].ids
    assert len(events) > 5


def test_a_model_without_a_speech_head_refuses_to_speak() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    ask = Ask(engine.processor.request("hello"), LIMIT, plan=AnswerPlan(engine.processor.speech_ids, 258, speaks=True))
    with pytest.raises(LayoutError, match="no speech head"):
        engine.submit(request(engine, "a", 0, ask))


def test_a_plan_takes_no_beams_and_no_task(engine: Engine) -> None:
    form = plan(engine, speaks=True)
    for more in ({"options": GenerationOptions(num_beams=2)}, {"task": OSUM.tasks[0]}):
        with pytest.raises(InputError, match="a plan together with"):
            Ask("hello", LIMIT, plan=form, **more)
