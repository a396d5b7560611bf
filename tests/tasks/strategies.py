"""Random utterances that a task can render."""

from hypothesis import strategies as st

from osum.tasks import OSUM, Task
from osum.utterance import Utterance, Word

texts = st.text(
    st.sampled_from("abCDé 新年快乐，.?!'0\t") | st.characters(exclude_characters="<>", exclude_categories=["Cs"])
)
times = st.floats(0, 3600, allow_nan=False)


@st.composite
def words(draw) -> tuple[Word, ...]:
    """One to six words in any order; an end may pass the next start."""
    units = draw(st.lists(texts.filter(lambda text: text.strip()), min_size=1, max_size=6))
    spans = [sorted((draw(times), draw(times))) for _ in units]
    return tuple(Word(unit, *span) for unit, span in zip(units, spans, strict=True))


sentences = st.builds(str.__add__, texts, st.sampled_from(".?!,。？！，、…"))


def answering(*tasks: Task) -> st.SearchStrategy[Utterance]:
    """Utterances that hold all that the tasks ask for, in texts with punctuation where one wants it."""
    label_sets = OSUM.label_sets | {labels.name: labels for task in tasks for labels in task.label_sets}
    return st.builds(
        Utterance,
        id=st.just("u"),
        path=st.just("u.wav"),
        text=sentences if any(task.punctuated for task in tasks) else texts,
        words=words(),
        labels=st.fixed_dictionaries({name: st.sampled_from(labels.labels) for name, labels in label_sets.items()}),
        reply=texts,
    )


utterances = answering(*OSUM.tasks)
