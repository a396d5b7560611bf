import json
import pickle
from pathlib import Path

import pytest
import torch

from osum.checkpoints.convert.source import Hints, read_hints, read_state_dict
from osum.errors import ConversionError


class Payload:
    """Anything but a tensor."""


def test_tensors_are_mapped_from_the_file_and_not_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt")
    assert torch.equal(read_state_dict(tmp_path / "x.pt")["a"], torch.ones(2))


def test_a_pickle_that_could_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"a": Payload()}, tmp_path / "x.pt")
    with pytest.raises(ConversionError, match="cannot be read as a torch state dict"):
        read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps([1])])
@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_a_file_that_is_no_checkpoint_is_one_line_of_error(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConversionError, match="cannot be read as") as fault:
        read_state_dict(tmp_path / name)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("held", [[torch.ones(1)], {}, {"a": 1}])
def test_something_else_than_names_to_tensors_is_refused(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "x.pt")
    with pytest.raises(ConversionError, match="holds no state dict"):
        read_state_dict(tmp_path / "x.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"gone\.pt is not a file"):
        read_state_dict(tmp_path / "gone.pt")


def test_hints_of_the_caller_stand_over_those_of_files() -> None:
    assert Hints(llm_heads=2).over(Hints(llm_heads=4, llm_kv_heads=1)) == Hints(llm_heads=2, llm_kv_heads=1)


def test_sizes_are_read_from_the_json_next_to_it(tmp_path: Path) -> None:
    config = {"enc": {"attention_heads": 4}, "llm": {"num_attention_heads": 2, "rms_norm_eps": 1e-06}}
    (tmp_path / "x.json").write_text(json.dumps({"config": config}))
    assert read_hints(tmp_path / "x.pt") == Hints(encoder_heads=4, llm_heads=2, rms_norm_eps=1e-6)


def test_the_originals_yaml_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("encoder_conf: {attention_heads: 16}\nlora_alpha: 16\nlora_dropout: 5e-2\n")
    assert read_hints(tmp_path / "x.pt") == Hints(encoder_heads=16, lora_alpha=16.0, lora_dropout=0.05)


@pytest.mark.parametrize("content", ["{", "- 1", "a: [", "a: !!python/object:os.system {}"])
def test_a_damaged_note_next_to_the_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(ConversionError, match=r"x\.yaml next to the checkpoint"):
        read_hints(tmp_path / "x.pt")


def test_a_tokenizer_next_to_the_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert read_hints(tmp_path / "x.pt").tokenizer == str(tmp_path)
