import pytest

from deepen.schedule.late_growth import find_late_growth
from deepen.schedule.phase import Phase
from deepen.schedule.rate import WSD, Constant, Cosine, Rate
from deepen.schedule.schedule import Schedule


def grown_at(tokens: int, rate: Rate) -> Schedule:
    """A run of 1,000 tokens in steps of 10 that grows from 1 to 2 blocks at `tokens`."""
    phases = (
        Phase(depth=1, tokens=tokens, label="shallow"),
        Phase(depth=2, tokens=(1000 - tokens) // 20 * 10, label="deep"),
        Phase(depth=2, tokens=1000 - tokens - (1000 - tokens) // 20 * 10, label="deep still"),
    )
    return Schedule(phases=phases, rate=rate).in_steps(10, 10)


@pytest.mark.parametrize(
    ("rate", "tokens", "lr_share"),
    [
        (WSD(peak=3.0), 900, 0.5),
        (WSD(peak=3.0, decay_shape="sqrt"), 850, 0.5),
        (WSD(peak=3.0, final_share=0.5), 900, 0.75),
        (Cosine(peak=3.0, final_share=0.0), 500, 0.5),
    ],
)
def test_growth_after_the_decay_has_begun_is_found(rate: Rate, tokens: int, lr_share: float):
    late = find_late_growth(grown_at(tokens, rate))
    assert late is not None
    assert (late.depth, late.tokens, late.share) == (2, tokens, tokens / 1000)
    assert late.lr_share == pytest.approx(lr_share)
    assert f"grows to 2 blocks after {tokens // 10} % of its tokens" in str(late)
    assert f"decayed to {100 * lr_share:.0f} % of its peak" in str(late)


@pytest.mark.parametrize(
    ("rate", "tokens"), [(WSD(), 800), (WSD(), 500), (Constant(), 900), (Cosine(warmup_tokens=100), 100)]
)
def test_growth_up_to_the_beginning_of_the_decay_is_not_late(rate: Rate, tokens: int):
    assert find_late_growth(grown_at(tokens, rate)) is None


def test_a_run_that_does_not_grow_is_not_late():
    phases = (Phase(depth=2, tokens=1000, label="all"),)
    assert find_late_growth(Schedule(phases=phases, rate=Cosine()).in_steps(10, 10)) is None
