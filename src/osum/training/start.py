"""What a run begins with: its checkpoint or a new model, its processor and its tasks. Knows nothing of the loop."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoTokenizer

from osum.checkpoints.base import Base, model_of, processor_of, tensors_in
from osum.checkpoints.locate import TASKS_FILE, locate
from osum.errors import RecipeError
from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor
from osum.model.configuration_osum import PRESETS, round_up
from osum.model.encoder import attend_nearby
from osum.records import unknown
from osum.tasks import OSUM, TaskSet
from osum.tasks.prompt_bank import packaged_sets
from osum.training import checkpoint
from osum.training.config import TrainConfig
from osum.training.learn import parts_of, quantization

log = logging.getLogger(__name__)
NEW = "preset:"
"""Before the name of a preset: a new model of that size."""


def task_set(config: TrainConfig, source: Path | None) -> TaskSet:
    """The tasks of the recipe, each marked with what it is learned from.

    Args:
        config: names them; and a file of one's own, or a set of prompts.
        source: the checkpoint that the run starts from, whose own tasks are taken where no file is named.

    Raises:
        RecipeError: there is no such set of prompts.
    """
    if config.prompt_set and config.prompt_set not in packaged_sets():
        hint = unknown(config.prompt_set, packaged_sets(), "sets")
        raise RecipeError(f"prompt_set is {config.prompt_set!r}: there is none of this name; {hint}")
    if config.tasks_file:
        tasks = TaskSet.load(Path(config.tasks_file))
    elif source is not None and (source / TASKS_FILE).is_file():
        tasks = TaskSet.load(source / TASKS_FILE)
    else:
        first = (config.prompt_set,) if config.prompt_set else ()
        tasks = replace(OSUM, prompt_sets=(*first, *OSUM.prompt_sets))
    tasks = tasks.keep(tuple(config.tasks or tasks))
    for name, evidence in config.evidence.items():
        tasks = tasks.with_task(replace(tasks.find(name), evidence=evidence))
    for task in tasks.values():  # temperatures fit the weights that they were fitted to, and no others
        tasks = tasks.with_task(replace(task, temperature=None))
    return tasks


def find(config: TrainConfig) -> Path | None:
    """The checkpoint to begin with: the run's last, or what the recipe names; None for a new model."""
    if found := checkpoint.steps(Path(config.out)):
        return found[-1]
    if config.model.startswith(NEW):
        return None
    return locate(config.model, offline=False, notice=log.info)


def start(config: TrainConfig, source: Path | None) -> tuple[OsumForConditionalGeneration, OsumProcessor]:
    """The model of a checkpoint, or a new one of a preset with the data's tokenizer."""
    options = quantization(config, source)
    if source is not None and (base := Base.read(source)) is not None:
        language_model = base.find(source, config.base, offline=False, notice=log.info)
        # A language model that stays as it is never needs its weights in float32, which would be most of the memory.
        held = torch.float32 if "llm" in parts_of(config.learn) else getattr(torch, config.dtype)
        with checkpoint.opening(source):
            model = model_of(source, base, language_model, dtype=held)
            own = {name: value.float() for name, value in tensors_in(source).items()}
            model.load_state_dict(own, strict=False, assign=True)
            return model, processor_of(source, base, language_model, model.config)
    if source is not None:
        # A checkpoint in half precision learns in float32 all the same: small updates would round to nothing.
        with checkpoint.opening(source):
            model = OsumForConditionalGeneration.from_pretrained(source, dtype=torch.float32, **options)
            if options:
                model.hf_quantizer.remove_quantization_config(model)  # a checkpoint of the run holds plain weights
            return model, OsumProcessor.from_pretrained(source)
    if (preset := config.model.removeprefix(NEW)) not in PRESETS:
        raise RecipeError(f"model {config.model!r}: no such preset, give one of {NEW}{f', {NEW}'.join(PRESETS)}")
    if not (folder := Path(config.data) / "tokenizer").is_dir():
        raise RecipeError(f"{folder} is not there: a new model takes its tokenizer from the data; put one there")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    architecture = OsumConfig.preset(preset)
    # Rounded up to a multiple of 64: matrix products like it, and a few ids stay free.
    architecture.text_config.vocab_size = round_up(len(tokenizer), 64)
    model = OsumForConditionalGeneration(architecture)
    attend_nearby(model.model.audio_tower)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, OsumProcessor.for_config(architecture, tokenizer, answer_end_token_id=end)


def with_speech(
    model: OsumForConditionalGeneration, processor: OsumProcessor, num_codes: int
) -> tuple[OsumForConditionalGeneration, OsumProcessor]:
    """The model with a head and a table for so many speech codes; as it is with 0, or where it speaks as many already.

    The rows around input audio keep their values and move behind the codes.

    Raises:
        RecipeError: the model speaks another number of codes, or its layout has no conversations.
    """
    config = model.config
    if not num_codes or (config.speech_output and config.num_speech_ids == num_codes + 1):
        return model, processor
    if config.speech_output or config.layout == "prompt_first":
        has = f"{config.num_speech_ids - 1} codes" if config.speech_output else f"the {config.layout} layout"
        raise RecipeError(
            f"dialogue.num_codes is {num_codes}, the model has {has}: begin with a model of a chat layout that does "
            "not speak, or leave it out"
        )
    around = model.model.speech_embedding.weight.detach()[config.num_speech_ids :]  # begin and end of input audio
    changed = OsumConfig(**{**config.to_dict(), "num_speech_ids": num_codes + 1, "speech_output": True})
    speaks = OsumForConditionalGeneration(changed)
    kept = {name: value for name, value in model.state_dict().items() if "speech_embedding" not in name}
    speaks.load_state_dict(kept, strict=False)
    with torch.no_grad():
        speaks.model.speech_embedding.weight[-len(around) :] = around
    speaks.generation_config = model.generation_config
    end, prompt = processor.answer_end_token_id, processor.system_prompt
    made = OsumProcessor.for_config(changed, processor.tokenizer, end, prompt)
    made.unknown_token_id = processor.unknown_token_id
    return speaks, made
