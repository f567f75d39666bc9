"""What a study can detect, compared with simulated studies."""

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.verdict_coverage import NOISE, SLOPE, Scenario

from deepen.study.judge.power import detectable_multiplier, expected_noise
from deepen.study.judge.verdicts import judge
from deepen.study.results.schema import NO_NOISE, Noise, Outcome


def noise(baseline: float = 3 * NOISE, seeds: int = 3, arms: int = 6) -> Noise:
    return expected_noise(arms_std=NOISE, baseline_std=baseline, slope=SLOPE, arms=arms, seeds=seeds)


def test_more_seeds_detect_less_and_noise_more():
    found = [detectable_multiplier(noise(), seeds=n) or 0 for n in (2, 3, 5, 8, 30)]
    assert found == sorted(found, reverse=True) and found[-1] > 1
    assert (detectable_multiplier(noise(NOISE)) or 0) < found[1] < (detectable_multiplier(noise(6 * NOISE)) or 0)
    assert noise(seeds=5).detectable_multiplier == pytest.approx(found[2])


def test_noise_that_no_multiplier_exceeds_is_infinite():
    assert detectable_multiplier(noise(1.0)) == math.inf


def test_without_noise_or_slope_it_is_unknown():
    assert detectable_multiplier(NO_NOISE) is detectable_multiplier(noise(), seeds=1) is None
    assert detectable_multiplier(replace(noise(), slope=None)) is None


@pytest.mark.slow
def test_an_arm_with_the_detectable_multiplier_wins_in_four_of_five_studies():
    multiplier = detectable_multiplier(noise())
    assert multiplier is not None
    scenario, rng, wins = Scenario(baseline=3, multipliers=(1.0,) * 5 + (multiplier,)), np.random.default_rng(0), 0
    for _ in range(300):
        wins += judge(scenario.draw(rng, 3), "full")[0][-1].outcome is Outcome.WINS
    assert wins / 300 == pytest.approx(0.8, abs=0.05)
