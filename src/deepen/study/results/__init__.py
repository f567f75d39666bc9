"""results.json: its schema, its collection from the store, statistics and verdicts."""
