"""Warm-up of the language model of `nano`: `python -m recipes.nano.language_model --data D --texts D --out D`.

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
import itertools
import logging
import math
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from osum.corpus.manifest import read_manifest
from osum.errors import InputError, OsumError
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
TOKENS = 2400  # of a batch, padded
MAX_TOKENS = 60  # of a sentence
LENGTH_STEP = 6  # lengths are padded to multiples: each new shape costs the compilation of a kernel
NOISY_COPIES = 3  # positions of a copying row for each token of its sentence: some two before, one after
RATE = 1.5e-3
WARM_UP = 100
SAVE_EVERY = 100
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
    """Sentences of similar length, as many as `num_rows` says; without end."""
    rng = random.Random(seed)
    while True:
        order = sorted(rows, key=lambda ids: len(ids) * math.exp(rng.gauss(0, 0.1)))
        made, batch = [], list[list[int]]()
        for ids in order:
            if batch and len(batch) + 1 > num_rows(padded_length((*batch, ids))):
                made.append(batch)
                batch = []
            batch.append(ids)
        made.append(batch)
        rng.shuffle(made)
        yield from made


def padded_length(batch: Sequence[list[int]]) -> int:
    """Length of the longest sentence, rounded up to `LENGTH_STEP`."""
    return round_up(max(map(len, batch)), LENGTH_STEP)


def num_rows(length: int) -> int:
    """Rows of a batch whose sentences have at most `length` tokens."""
    return max(1, TOKENS // (NOISY_COPIES * length))


def misheard(ids: Sequence[int], vocabulary: int, rng: random.Random) -> list[int]:
    """What a poor recogniser makes of a sentence: ids, and -1 for a blank."""
    row: list[int] = []
    wrong = rng.uniform(0, 0.4)
    for token in ids:
        row += [-1] * rng.choice((0, 0, 1, 1, 2))
        if (draw := rng.random()) < wrong / 3:
            continue
        row += [rng.randrange(260, vocabulary) if draw < wrong else token] * rng.choice((1, 1, 2))
    return row or [-1]


def copying_loss(model: Qwen2ForCausalLM, batch: Sequence[list[int]], end: int, rng: random.Random) -> Tensor:
    """Mean loss of sentences that follow their own noisy embeddings."""
    rows = [misheard(ids[:-1], model.config.vocab_size, rng) for ids in batch]
    length = padded_length(batch)
    size = num_rows(length)
    width = round_up(max(len(row) + 1 + len(ids) for row, ids in zip(rows, batch, strict=True)), 2 * length)
    inputs, labels = torch.zeros(size, width, dtype=torch.long), torch.full((size, width), IGNORED)  # (B, L)
    noisy, mask = torch.zeros(size, width, 1), torch.zeros(size, width, dtype=torch.long)
    mask[len(batch) :, 0] = 1  # rows that only fill the batch: softmax over nothing is not a number
    for number, (row, ids) in enumerate(zip(rows, batch, strict=True)):
        start = len(row) + 1
        inputs[number, : start + len(ids)] = torch.tensor([*row, end, *ids])
        labels[number, start : start + len(ids)] = torch.tensor(ids)
        noisy[number, : len(row)] = 1
        mask[number, : start + len(ids)] = 1
    embedded = model.model.embed_tokens(inputs.clamp(min=0)) * (inputs >= 0)[..., None]  # (B, L, D)
    spread = model.model.embed_tokens.weight.detach().std()
    embedded = embedded + noisy * torch.randn_like(embedded) * spread * rng.uniform(0.2, 0.8)
    return _loss(model, model.model(inputs_embeds=embedded, attention_mask=mask).last_hidden_state, labels)


def continuing_loss(model: Qwen2ForCausalLM, batch: Sequence[list[int]], end: int) -> Tensor:
    """Mean loss of sentences by themselves."""
    length = padded_length(batch)
    size, width = num_rows(length), length + 2
    inputs, labels = torch.full((size, width), end), torch.full((size, width), IGNORED)
    for number, ids in enumerate(batch):
        inputs[number, 1 : len(ids) + 1] = labels[number, 1 : len(ids) + 1] = torch.tensor(ids)
    return _loss(model, model.model(inputs).last_hidden_state, labels)


def _loss(model: Qwen2ForCausalLM, hidden: Tensor, labels: Tensor) -> Tensor:
    places = (labels[:, 1:] != IGNORED).flatten().nonzero()[:, 0]
    targets = labels[:, 1:].flatten()[places]
    fill = round_up(len(places), 128) - len(places)
    places, targets = nn.functional.pad(places, (0, fill)), nn.functional.pad(targets, (0, fill), value=IGNORED)
    logits = model.lm_head(hidden[:, :-1].flatten(0, 1)[places]).float()
    return nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED)


def new_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """With random weights, and the tokenizer's vocabulary."""
    return Qwen2ForCausalLM(
        Qwen2Config(
            **SIZES,
            vocab_size=round_up(len(tokenizer), 64),
            max_position_embeddings=2048,
            initializer_range=0.04,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            attn_implementation="eager",
        )
    )


def new_optimizers(model: nn.Module) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices of the layers, AdamW for the rest."""
    matrices = {name: p for name, p in model.named_parameters() if p.dim() == 2 and ".layers." in name}
    rest = [p for name, p in model.named_parameters() if name not in matrices]
    return (
        torch.optim.Muon(matrices.values(), weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    )


def check_built(data: Path) -> None:
    """Refuse a data folder that the builder has not finished, or of which something is gone.

    Raises:
        InputError: what is missing, and how to complete it.
    """
    for name in ("train.jsonl", "valid.jsonl", "tokenizer/tokenizer.json", "stats.json"):
        if not (data / name).is_file():
            raise InputError(f"{data} is half built, {name} is missing: run python -m recipes.nano.build again")


def check_tokenizer(tokenizer: PreTrainedTokenizerFast, data: Path) -> None:
    """Refuse a tokenizer that loses one of the languages.

    Raises:
        InputError: the text that does not come back.
    """
    for text in ("the old man and the sea", "今天天气很好"):
        back = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
        if back != text:
            raise InputError(
                f"the tokenizer of {data} makes {back!r} of {text!r}: build the data with texts of both languages"
            )


def train(data: Path, folder: Path, out: Path, steps: int, seed: int) -> None:
    """Train to `steps` and write the model and its tokenizer as a Hugging Face folder.

    Raises:
        InputError: the data folder is half built, or its tokenizer lacks a language.
    """
    check_built(data)
    tokenizer = AutoTokenizer.from_pretrained(data / "tokenizer")
    check_tokenizer(tokenizer, data)
    rows = corpus(data, folder, tokenizer)
    torch.manual_seed(seed)
    model = new_model(tokenizer)
    optimizers = new_optimizers(model)
    first = _restore(out / STATE, model, optimizers)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    begun, tokens = time.process_time(), 0
    for step, batch in enumerate(itertools.islice(batches(rows, seed), steps)):
        if step < first:
            continue
        torch.manual_seed(seed + step)  # of the noise: a resumed run draws what an uninterrupted one draws
        rng = random.Random(f"{seed}/{step}")
        copies = step % 4 != 3
        with torch.autocast("cpu", torch.bfloat16):
            loss = copying_loss(model, batch, end, rng) if copies else continuing_loss(model, batch, end)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        _update(optimizers, RATE * min(1.0, (step + 1) / WARM_UP, 1.5 * (steps - step) / steps))
        tokens += sum(map(len, batch))
        if step % 20 < 2 or step % 20 == 3:
            speed = tokens / max(time.process_time() - begun, 1e-6)
            log.info("step %d %s %.3f, %.0f tokens a second", step, "copy" if copies else "next", loss.item(), speed)
        if (step + 1) % SAVE_EVERY == 0:
            _save(out / STATE, step + 1, model, optimizers)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _update(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()


def _save(path: Path, step: int, model: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> None:
    states = [optimizer.state_dict() for optimizer in optimizers]
    with atomic_file(path) as file:
        torch.save({"step": step, "model": model.state_dict(), "optimizers": states}, file)


def _restore(path: Path, model: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> int:
    """Steps that are done."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the language model of nano on texts.")
    parser.add_argument("--data", type=Path, required=True, help="folder that recipes.nano.build wrote")
    parser.add_argument("--texts", type=Path, required=True, help="the kit's text/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, or to continue")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        train(arguments.data, arguments.texts, arguments.out, arguments.steps, arguments.seed)
    except OsumError as fault:
        raise SystemExit(f"error: {fault}") from fault


if __name__ == "__main__":
    main()
