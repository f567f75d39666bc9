"""A map: where growing pays, over recipes, tokens per parameter and models."""
