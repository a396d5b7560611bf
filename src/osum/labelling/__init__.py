"""Labelling: a corpus to one file of rows, by runs that may end at any moment and go on."""
