"""What a run reports at its end."""

from __future__ import annotations

import pytest

from osum.cli.tally import RunTally
from osum.listening.answers import DISAGREES
from osum.tasks import OSUM
from osum.utterance import Answer, Segment, Utterance


def test_segments_whose_decoded_tag_is_not_the_label_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    tally = RunTally({task.name: task for task in OSUM.tasks})
    for said in ("laugh", "cough", "sigh"):
        problems = (f"{DISAGREES} {said}",) if said != "laugh" else ()
        segment = Segment(0, 1, labels={"VED": Answer("laugh", 0.9, problems=problems)})
        tally.add(Utterance(said, f"{said}.wav", segments=(segment,), summary={"VED": Answer("laugh", 0.9)}))
    tally.finish(None)
    assert "osum: VED: laugh 3; segments with another tag decoded: 2\n" in capsys.readouterr().err
