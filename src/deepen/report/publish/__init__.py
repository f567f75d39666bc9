"""Finished studies as a page of results holds them: results.json in little room, tables, figures, renewed pages.

    publish(load_results("deepen-runs/quickstart"), Path("docs/results/quickstart"))

A page of results is written by hand, and its numbers are not: it has *blocks*, which `pages` fills from the
published results beside it.
"""

POINTS = 12
"""Points of the longest curve that are kept, beside those at growths, before the decay and at the end."""
