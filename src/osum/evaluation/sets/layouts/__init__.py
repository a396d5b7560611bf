"""Readers of test sets as their publishers pack them: one function for each layout, facts and no scores."""
