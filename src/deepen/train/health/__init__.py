"""Checks of a run's health: losses that jump, fresh weights that are wrong, and where a nan first appeared."""
