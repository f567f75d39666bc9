"""Compiling a study: its marks, its tree of segments, their keys, its plan."""
