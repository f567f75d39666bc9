"""What a study is: arms, evaluation, settings, presets. Needs no torch."""
