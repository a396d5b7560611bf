"""What the engine answers about a clip is the same alone and in any company, and is what the model says."""

from __future__ import annotations

import pytest
import torch
from model.tiny import LAYOUTS, VOCAB_SIZE, answer_end, byte_tokenizer, tiny_config

from inference.conftest import CLIPS, checkpoint_of
from osum.inference import engine as module
from osum.inference.checkpoint import Checkpoint
from osum.inference.engine import Engine, Request
from osum.inference.options import GenerationOptions
from osum.model import OsumProcessor
from osum.tasks import OSUM

GREEDY = GenerationOptions()
BEAMS = GenerationOptions(num_beams=3)
SAMPLES = GenerationOptions(do_sample=True, top_k=20, temperature=2.0, seed=3)
REQUESTS = [
    Request(clip, prompt, limit)
    for clip, prompt, limit in ((0, "what", 9), (1, "say it all", 4), (2, "x", 12), (3, "what", 7), (0, "who", 9))
]
MOODS = ("<sad>", "<sadder>", "<anger>", "<happy>")
"""Two of them share all but their ends."""


def alone(engine: Engine, request: Request, options: GenerationOptions) -> str:
    return engine.answer(
        engine.encode([CLIPS[request.clip]]), [Request(0, request.prompt, request.max_new_tokens)], options
    )[0]


@pytest.mark.parametrize("options", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_an_answer_is_the_same_alone_and_in_any_batch(engine: Engine, options: GenerationOptions) -> None:
    together = engine.answer(engine.encode(CLIPS), REQUESTS, options)
    assert together == [alone(engine, request, options) for request in REQUESTS]
    assert len(set(together)) > 2


def test_the_order_of_requests_changes_nothing(engine: Engine) -> None:
    encoded = engine.encode(CLIPS)
    forth, back = (engine.answer(encoded, requests, GREEDY) for requests in (REQUESTS, REQUESTS[::-1]))
    assert forth == back[::-1]


def test_the_size_of_a_pass_changes_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, prefixes = engine.encode(CLIPS), [(clip, "how", "hi") for clip in range(4)]
    answers, scores = engine.answer(encoded, REQUESTS, GREEDY), engine.choose(encoded, prefixes, [MOODS] * 4)
    monkeypatch.setattr(module, "ROWS_PER_PASS", 2)
    monkeypatch.setattr(module, "OPTIONS_PER_PASS", 3)
    assert engine.answer(encoded, REQUESTS, GREEDY) == answers
    for one, other in zip(engine.choose(encoded, prefixes, [MOODS] * 4), scores, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_longer_limit_goes_on_where_a_shorter_one_stopped(engine: Engine) -> None:
    encoded = engine.encode(CLIPS[:1])
    few, many = engine.answer(encoded, [Request(0, "what", 3), Request(0, "what", 12)], GREEDY)
    assert few == engine.answer(encoded, [Request(0, "what", 3)], GREEDY)[0]
    assert len(few) < len(many)


def test_the_limit_grows_with_the_audio_and_the_task(engine: Engine) -> None:
    limits = [engine.token_limit(OSUM[name], 10.0, GREEDY) for name in ("SGC-only", "ASR", "STTC", "SRWT")]
    assert limits == [40, 160, 280, 940]
    assert engine.token_limit(OSUM["SRWT"], 10.0, GenerationOptions(max_new_tokens=5)) == 5


@pytest.mark.parametrize("options", [SAMPLES, GenerationOptions.release(5)], ids=["sampling", "release"])
def test_a_seed_makes_sampling_repeat_itself(engine: Engine, options: GenerationOptions) -> None:
    encoded = engine.encode(CLIPS[:2])
    once, again = (engine.answer(encoded, REQUESTS[:2], options) for _ in range(2))
    assert once == again


def test_another_seed_samples_another_answer() -> None:
    engine = Engine(checkpoint_of("speech_first"))
    encoded = engine.encode(CLIPS[:1])
    options = [GenerationOptions(do_sample=True, temperature=3.0, seed=seed) for seed in range(3)]
    assert len({engine.answer(encoded, REQUESTS[:1], each)[0] for each in options}) > 1


@torch.no_grad()
def full_log_p(engine: Engine, clip: int, prompt: str, answer: str) -> float:
    """Log-probability of a whole answer without its end, by one plain forward pass."""
    processor = engine.processor
    inputs = processor(text=[processor.request(prompt)], audio=[CLIPS[clip]], answers=[answer])
    labels = inputs.pop("labels")[0, 1:]
    log_probs = engine.model(**inputs).logits[0, :-1, :VOCAB_SIZE].double().log_softmax(-1)
    kept = torch.nonzero(labels != -100).flatten()[:-1]
    return log_probs[kept, labels[kept]].sum().item()


def check_choose(engine: Engine, rows: list[tuple[int, str, str]], options: tuple[str, ...]) -> None:
    """Scores of one prefix may all be off by what the options share, so differences are compared."""
    scores = torch.tensor(engine.choose(engine.encode(CLIPS), rows, [options] * len(rows)))
    brute = torch.tensor([[full_log_p(engine, *row[:2], row[2] + text) for text in options] for row in rows])
    torch.testing.assert_close(scores - scores[:, :1], brute - brute[:, :1], atol=1e-3, rtol=0)
    torch.testing.assert_close(scores.softmax(1), brute.softmax(1), atol=1e-4, rtol=0)


def test_options_are_scored_as_by_one_full_pass_each(engine: Engine) -> None:
    check_choose(engine, [(0, "how", "hello"), (1, "what is it", ""), (2, "how", "新年")], MOODS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tag_may_melt_into_the_token_before_it(layout: str) -> None:
    tokenizer = byte_tokenizer(words={"l<": 259, "d>": 260})
    processor = OsumProcessor.for_config(tiny_config(layout), tokenizer, answer_end(layout))
    assert processor.text_ids("l<sad>") == [259, *b"sa", 260]
    engine = Engine(Checkpoint("melting", "1", checkpoint_of(layout).model, processor, OSUM))
    check_choose(engine, [(0, "how", "hell"), (2, "how", "")], MOODS)


def test_one_option_and_options_of_one_token_are_scored(engine: Engine) -> None:
    encoded = engine.encode(CLIPS[:1])
    ((single,),) = engine.choose(encoded, [(0, "how", "hi")], [["<sad>"]])
    pair = engine.choose(encoded, [(0, "how", "hi")], [["a", "b"]])[0]
    assert single <= 0 and max(pair) < 0


def test_nothing_asked_is_nothing_scored(engine: Engine) -> None:
    encoded = engine.encode(CLIPS[:1])
    assert engine.choose(encoded, [], []) == [] and engine.answer(encoded, [], GREEDY) == []


@torch.no_grad()
def test_the_probability_of_silence_is_that_of_the_end_in_the_first_place(engine: Engine) -> None:
    found = engine.empty_probability(engine.encode(CLIPS), range(4), "what")
    for clip, value in enumerate(found):
        inputs = engine.processor(text=[engine.processor.request("what")], audio=[CLIPS[clip]])
        text = engine.model(**inputs).logits[0, -1, :VOCAB_SIZE].softmax(-1)
        assert value == pytest.approx(text[engine.processor.answer_end_token_id].item(), abs=1e-5)


def test_a_clip_is_encoded_the_same_alone_and_in_any_batch(engine: Engine) -> None:
    for clip, found in zip(CLIPS, engine.encode(CLIPS).audio, strict=True):
        torch.testing.assert_close(found, engine.encode([clip]).audio[0], atol=1e-4, rtol=0)
