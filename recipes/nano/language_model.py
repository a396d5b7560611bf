"""The language model of `nano` before it hears: `python -m recipes.nano.language_model --data D --texts D --out D`.

A small Qwen2 with the data's tokenizer learns the training texts in two ways, in turn: to continue a sentence, and to
copy it out of a noisy row of its own embeddings. The second is what it does later with speech: the adaptor's output is
pulled to the rows of the same table (`token_weight`), some tokens wrong, missing or repeated, with blanks in between.
Stopped or killed, the same command continues from its last save.

1. A sentence `[5, 9, 7]` becomes `[5, _, 9, 9, _, 3, _]`: each token once or twice, blanks, some dropped or replaced.
2. Rows of the table stand for them, noise for the blanks, and noise is added to all.
3. `<|im_end|>` stands between that and the sentence; only the sentence and its end are scored.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from osum.corpus.manifest import read_manifest
from osum.files import atomic_file
from osum.model.configuration_osum import IGNORED, round_up
from recipes.nano import texts

SIZES = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 1152,
}
TOKENS = 1200  # of a batch, padded
MAX_TOKENS = 60  # of a sentence
RATE = 1.5e-3
WARM_UP = 100
SAVE_EVERY = 200
STATE = "state.pt"

log = logging.getLogger("language_model")


def corpus(data: Path, folder: Path, tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Ids of every training sentence, its end included."""
    written = [row.text for row in read_manifest(data / "train.jsonl") if row.text]
    for language in ("en", "zh"):
        written += [texts.transcript_of(text) for text in texts.sentences(folder, language, "train")]
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    found = tokenizer(list(dict.fromkeys(written)), add_special_tokens=False)["input_ids"]
    return [[*ids, end] for ids in found if 0 < len(ids) < MAX_TOKENS]


def batches(rows: Sequence[list[int]], seed: int) -> Iterator[list[list[int]]]:
    """Sentences of like length, at most `TOKENS` padded tokens of a copying batch; without end."""
    rng = random.Random(seed)
    while True:
        order = sorted(rows, key=lambda ids: len(ids) * math.exp(rng.gauss(0, 0.1)))
        made, batch = [], list[list[int]]()
        for ids in order:
            if batch and (len(batch) + 1) * max(map(len, (*batch, ids))) * 3 > TOKENS:
                made.append(batch)
                batch = []
            batch.append(ids)
        rng.shuffle(made)
        yield from made


def heard(ids: Sequence[int], vocabulary: int, rng: random.Random) -> list[int]:
    """What a bad ear makes of a sentence: ids, and -1 for a blank."""
    row: list[int] = []
    wrong = rng.uniform(0, 0.4)
    for token in ids:
        row += [-1] * rng.choice((0, 0, 1, 1, 2))
        if (draw := rng.random()) < wrong / 3:
            continue
        row += [rng.randrange(260, vocabulary) if draw < wrong else token] * rng.choice((1, 1, 2))
    return row or [-1]


def copying_loss(model: Qwen2ForCausalLM, batch: Sequence[list[int]], end: int, rng: random.Random) -> Tensor:
    """Mean loss of sentences behind what was heard of them."""
    rows = [heard(ids[:-1], model.config.vocab_size, rng) for ids in batch]
    width = round_up(max(len(row) + 1 + len(ids) for row, ids in zip(rows, batch, strict=True)), 8)
    inputs, labels = torch.zeros(len(batch), width, dtype=torch.long), torch.full((len(batch), width), IGNORED)
    noisy, mask = torch.zeros(len(batch), width, 1), torch.zeros(len(batch), width, dtype=torch.long)
    for number, (row, ids) in enumerate(zip(rows, batch, strict=True)):
        start = len(row) + 1
        inputs[number, : start + len(ids)] = torch.tensor([*row, end, *ids])
        labels[number, start : start + len(ids)] = torch.tensor(ids)
        noisy[number, : len(row)] = 1
        mask[number, : start + len(ids)] = 1
    embedded = model.model.embed_tokens(inputs.clamp(min=0)) * (inputs >= 0)[..., None]
    size = model.model.embed_tokens.weight.detach().std()
    embedded = embedded + noisy * torch.randn_like(embedded) * size * rng.uniform(0.2, 0.8)
    return _loss(model, model.model(inputs_embeds=embedded, attention_mask=mask).last_hidden_state, labels)


def continuing_loss(model: Qwen2ForCausalLM, batch: Sequence[list[int]], end: int) -> Tensor:
    """Mean loss of sentences by themselves."""
    width = round_up(max(map(len, batch)) + 1, 8)
    inputs, labels = torch.full((len(batch), width), end), torch.full((len(batch), width), IGNORED)
    for number, ids in enumerate(batch):
        inputs[number, 1 : len(ids) + 1] = labels[number, 1 : len(ids) + 1] = torch.tensor(ids)
    return _loss(model, model.model(inputs).last_hidden_state, labels)


def _loss(model: Qwen2ForCausalLM, hidden: Tensor, labels: Tensor) -> Tensor:
    kept = labels[:, 1:] != IGNORED
    logits = model.lm_head(hidden[:, :-1][kept]).float()
    return nn.functional.cross_entropy(logits, labels[:, 1:][kept])


def train(data: Path, folder: Path, out: Path, steps: int, seed: int) -> None:
    """Train to `steps` and write the model and its tokenizer as a Hugging Face folder."""
    tokenizer = AutoTokenizer.from_pretrained(data / "tokenizer")
    rows = corpus(data, folder, tokenizer)
    torch.manual_seed(seed)
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    config = Qwen2Config(
        **SIZES, vocab_size=round_up(len(tokenizer), 64), max_position_embeddings=2048, initializer_range=0.04,
        tie_word_embeddings=True, rope_parameters=rope, attn_implementation="eager",
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    inner = [p for name, p in model.named_parameters() if p.dim() == 2 and ".layers." in name]
    rest = [p for name, p in model.named_parameters() if not (p.dim() == 2 and ".layers." in name)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(inner, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    ]
    first = 0
    if (out / STATE).is_file():
        state = torch.load(out / STATE, weights_only=True)
        first = state["step"]
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    drawn = batches(rows, seed)
    begun, tokens = time.process_time(), 0
    for step, batch in zip(range(steps), drawn, strict=False):
        if step < first:
            continue
        rng = random.Random(f"{seed}/{step}")
        rate = RATE * min(1.0, (step + 1) / WARM_UP, 1.5 * (steps - step) / steps)
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            copies = step % 4 != 3
            loss = copying_loss(model, batch, end, rng) if copies else continuing_loss(model, batch, end)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        tokens += sum(map(len, batch))
        if step % 20 < 2 or step % 20 == 3:
            speed = tokens / max(time.process_time() - begun, 1e-6)
            log.info("step %d %s %.3f, %.0f tokens a second", step, "copy" if copies else "next", loss.item(), speed)
        if (step + 1) % SAVE_EVERY == 0:
            _save(out / STATE, step + 1, model, optimizers)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _save(path: Path, step: int, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    states = [optimizer.state_dict() for optimizer in optimizers]
    with atomic_file(path) as file:
        torch.save({"step": step, "model": model.state_dict(), "optimizers": states}, file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the language model of nano on texts.")
    parser.add_argument("--data", type=Path, required=True, help="folder that recipes.nano.build wrote")
    parser.add_argument("--texts", type=Path, required=True, help="the kit's text/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, or to continue")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(arguments.data, arguments.texts, arguments.out, arguments.steps, arguments.seed)


if __name__ == "__main__":
    main()
