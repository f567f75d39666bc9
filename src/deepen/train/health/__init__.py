"""Checks of a run's health: loss spikes, wrong initial weights, and where a nan first appeared."""
