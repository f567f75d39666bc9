"""The judge: verdicts from the arms of results.json, pure (docs/statistics.md)."""
