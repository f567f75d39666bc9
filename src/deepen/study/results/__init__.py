"""results.json: its schema, the collection of its content from the store, and the verdicts on the arms."""
