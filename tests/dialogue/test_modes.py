"""The modes of OSUM-EChat."""

import pytest
from model.tiny import tiny_processor

from osum.dialogue.modes import MODES, RELEASED, Mode
from osum.model.templates import CHATML


def test_modes_are_found_by_their_names() -> None:
    assert all(mode.name == name for modes in (MODES, RELEASED) for name, mode in modes.items())


def test_each_mode_has_a_system_prompt_of_its_own() -> None:
    assert len({mode.system_prompt for mode in MODES.values()}) == len(MODES)


@pytest.mark.parametrize("mode", MODES.values(), ids=lambda mode: mode.name)
def test_our_modes_write_plain_chatml(mode: Mode) -> None:
    assert mode.template == CHATML


def test_the_slips_of_the_release_are_in_its_own_modes_alone() -> None:
    assert {name for name in MODES if MODES[name] != RELEASED[name]} == {
        "understand",
        "speech_to_text_think",
        "talk",
        "talk_think",
    }


def test_history_is_chatml_with_every_clip_bracketed() -> None:
    spoken = {"role": "user", "content": [{"type": "audio"}]}
    said = {"role": "assistant", "content": [{"type": "text", "text": "hi"}, {"type": "speech", "codes": [1]}]}
    text = tiny_processor("chatml").render([spoken, said, spoken])
    turn = "<|im_start|>user\n<|audio|><|im_end|>\n"
    said_text = "<|im_start|>assistant\nhi<|im_end|><|ids|>\n"
    assert text == f"{turn}{said_text}{turn}<|im_start|>assistant\n"
