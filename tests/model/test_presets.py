"""The model presets with their batches and rates."""

from deepen.model.presets import PEAK_RATES, PRESETS, TOKENS_PER_STEP, peak_rate, tokens_per_step


def test_every_preset_has_a_batch_of_whole_contexts_and_a_peak_rate():
    for model in PRESETS.values():
        tokens = tokens_per_step(model, model.context)
        assert tokens % model.context == 0 and 1024 <= tokens <= 1 << 22
        assert 1e-4 < peak_rate(model) < 2e-2


def test_rates_and_batches_are_those_of_presets():
    assert TOKENS_PER_STEP.keys() == PEAK_RATES.keys() <= PRESETS.keys()
