"""The model presets with their batches and rates."""

from deepen.model.presets import PEAK_RATES, PRESETS, TOKENS_PER_STEP


def test_every_preset_has_a_batch_of_whole_contexts_and_a_peak_rate():
    assert TOKENS_PER_STEP.keys() == PEAK_RATES.keys() == PRESETS.keys()
    assert all(TOKENS_PER_STEP[name] % model.context == 0 for name, model in PRESETS.items())
