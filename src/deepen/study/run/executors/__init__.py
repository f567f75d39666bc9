"""Where segments are trained: one module for each kind of executor, chosen in `registry`."""
