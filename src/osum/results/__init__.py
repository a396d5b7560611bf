"""An `Utterance` out: one document, rows of many, a table; and the parts of a file that a run can continue."""
