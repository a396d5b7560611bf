"""Replies that a language model scores."""
