"""Finished studies in a repository: compact results, tables and figures, and pages that show them.

    publish(load_results("deepen-runs/quickstart"), Path("docs/results/quickstart"))

A page of results is written by hand, apart from its numbers: it has *blocks*, which `pages` fills from the
published results beside it.
"""

POINTS = 12
"""Points of the longest curve that are kept, beside those at growths, before the decay and at the end."""
