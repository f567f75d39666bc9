from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.compute import paper


def test_ten_thousand_steps_are_matched_by_the_papers_totals():
    totals = [10_000 + paper.continual_tokens(10_000, stages) for stages in (4, 8, 12)]
    assert [int(total + 0.5) for total in totals] == [14_688, 15_469, 15_729]


@given(st.integers(1, 96))
def test_the_general_form_has_the_papers_formulas_as_its_special_case(stages: int):
    assert paper.staged_share(stages) == Fraction(3 * stages + 5, 8 * stages)
    assert paper.continual_share(stages) == Fraction(5, 8) * (1 - Fraction(1, stages))
    assert paper.incremental_compute(7.0, 12, stages) == pytest.approx(7.0 * 12 * (3 * stages + 5) / (4 * stages))


@given(st.integers(1, 12), st.sampled_from([1, 1.5, 2, 3]))
def test_the_general_form_equals_a_sum_over_stages_and_layers(stages: int, ratio: float):
    layers, tokens = 12 * stages, 1.0  # so that each stage adds 12 layers
    cost = 0.0
    for stage in range(1, stages + 1):
        depth = 12 * stage
        phase_1 = depth + ratio * 12
        phase_2 = depth + ratio * depth
        cost += tokens / (2 * stages) * (phase_1 + phase_2)
    assert paper.incremental_compute(tokens, layers, stages, ratio=ratio) == pytest.approx(cost)


def test_one_stage_needs_no_continual_training():
    assert paper.continual_tokens(10_000, 1) == 0
