"""docs/tasks.md, made from the catalogue: `python -m docs.generate.tasks > docs/tasks.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from osum.tasks.catalog import ECHAT, OSUM
from osum.tasks.task import Task
from osum.tasks.task_set import TaskSet
from osum.text import markdown_table
from osum.utterance import Utterance, Word

EXAMPLE = Utterance(
    id="example",
    path="example.wav",
    text="Good morning",
    words=(Word("Good", 0.12, 0.4), Word("morning", 0.4, 0.85)),
    labels={
        "event": "laugh",
        "emotion": "happy",
        "style": "日常口语",
        "gender": "female",
        "age": "adult",
        "turn": "complete",
    },
    language="en",
    reply="Good morning to you",
)
"""What the answers in the tables are rendered from."""
PUNCTUATED = EXAMPLE.with_(text="Good morning.")
"""The same for tasks that ask for punctuation."""

OWN_LABEL = """\
from osum.tasks import OSUM, LabelSet, Task
from osum.utterance import Utterance

pitch = LabelSet("pitch", ("low", "high"))
task = Task("PITCH", "<TRANSCRIBE> <PITCH>", "pitch of the voice", label_sets=(pitch,), metrics=("accuracy",))
tasks = OSUM.with_task(task, prompts={"en": ["Transcribe this and end with a <pitch> tag, one of: {pitch}."]})

clip = Utterance(id="1", path="1.wav", text="Good morning", labels={"pitch": "low"})
assert tasks["PITCH"].render(clip) == "good morning<low>"
assert tasks["PITCH"].parse("good morning<low>").labels == {"pitch": "low"}
assert tasks.prompt("pitch", "en") == "Transcribe this and end with a <pitch> tag, one of: low, high."
"""
"""A label of the reader's own, in ten lines; a test runs it."""

_PAGE = """\
# Tasks

Made by `python -m docs.generate.tasks > docs/tasks.md`; change `src/osum/tasks/`, not this page.

A task is one question about a clip. Its answer is the transcript, then one `<tag>` per label set, then the reply
after `<开始回答>`. Texts are lower case, without spaces around Chinese characters.

`--tasks` takes a name in any case, a tag with or without its spaces, the name of a label set (`emotion`),
or `all`, which is the first table.

## Tasks of `all`

{main}

## Several labels at once, and labels without a transcript

{others}

The released OSUM answers all of these but the language and the turn, knows no event `none`, and was trained with
Chinese prompts only.

## What OSUM-EChat answers as well

The released OSUM-EChat (`osum.tasks.ECHAT`, the `tasks.json` of a converted one) answers all that the released OSUM
does, and in addition:

{echat}

Its `all` includes PUNC, which keeps the punctuation of the text and is not taught by a text that has none.
That `<CAPTION> <AUDIO>` is answered with the labels of `<CAPTION>` is our inference: the release does not say.

## Label sets

{labels}

Names that raw data uses are folded when a target is written and when an answer is read:

{folds}

## Prompts

The fixed prompt of each task, used for labelling; training draws from all variants.

{prompts}

OSUM-EChat is asked in Chinese unless another language is named. These of its fixed prompts are other ones. The Chinese
prompts that name no labels are those of the release's demo, word for word:

{echat_prompts}

## A label of your own

A checkpoint carries its tasks in `tasks.json` (`TaskSet.to_dict`), and `osum label` asks what the checkpoint carries.
So a new label is a value, not a change to osum:

```python
{own}```
"""


def markdown(tasks: TaskSet = OSUM) -> str:
    """The page about a task set."""
    columns = ("task", "English", "Chinese")
    return _PAGE.format(
        main=_task_table(tasks.main),
        others=_task_table(task for task in tasks.tasks if task not in tasks.main),
        echat=_task_table(ECHAT[name] for name in ECHAT if name not in tasks),
        labels=markdown_table(("label set", "labels"), _label_rows(tasks)),
        folds=markdown_table(("label set", "raw names", "label"), _fold_rows(tasks)),
        prompts=markdown_table(columns, _prompt_rows(tasks, tasks)),
        echat_prompts=markdown_table(columns, _prompt_rows(ECHAT, _asked_otherwise(ECHAT, tasks))),
        own=OWN_LABEL,
    )


def _task_table(tasks: Iterable[Task]) -> str:
    rows = (
        (
            task.name,
            task.title,
            f"`{task.tag}`",
            f"`{task.render(PUNCTUATED if task.punctuated else EXAMPLE)}`",
            task.needs,
            ", ".join(task.metrics) or "–",
        )
        for task in tasks
    )
    return markdown_table(("task", "gives", "tag", "answer", "needs", "metrics"), rows)


def _label_rows(tasks: TaskSet) -> Iterator[tuple[str, str]]:
    for labels in tasks.label_sets.values():
        shown = (f"{name} ({labels.title(name)})" if name in labels.display else name for name in labels.labels)
        yield labels.name, ", ".join(shown)


def _fold_rows(tasks: TaskSet) -> Iterator[tuple[str, str, str]]:
    for labels in tasks.label_sets.values():
        for label in labels.labels:
            if raw := [raw for raw, folded in labels.folds.items() if folded == label]:
                yield labels.name, ", ".join(raw), label


def _prompt_rows(tasks: TaskSet, names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    return ((name, f"`{tasks.prompt(name, 'en')}`", f"`{tasks.prompt(name, 'zh')}`") for name in names)


def _asked_otherwise(tasks: TaskSet, usual: TaskSet) -> Iterator[str]:
    """The tasks whose fixed Chinese prompt is another one in the usual set, or which it does not have."""
    return (name for name in tasks if name not in usual or tasks.prompt(name, "zh") != usual.prompt(name, "zh"))


if __name__ == "__main__":
    sys.stdout.write(markdown())
