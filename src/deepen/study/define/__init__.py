"""Definition of a study: arms, evaluation, settings, presets. Does not need torch."""
