"""A conversation: its modes, history, thinking and replies, in text and aloud."""
