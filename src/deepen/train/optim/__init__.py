"""Optimizers as values: parameter groups, state names, bytes and FLOPs per parameter."""
