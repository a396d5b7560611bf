"""Random utterances that every task can render."""

from hypothesis import strategies as st

from osum.tasks import OSUM
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


utterances = st.builds(
    Utterance,
    id=st.just("u"),
    path=st.just("u.wav"),
    text=texts,
    words=words(),
    labels=st.fixed_dictionaries({name: st.sampled_from(labels.labels) for name, labels in OSUM.label_sets.items()}),
    reply=texts,
)
