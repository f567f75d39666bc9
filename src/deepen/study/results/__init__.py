"""results.json: its schema, what is collected into it from the store, and the verdicts on the arms."""
