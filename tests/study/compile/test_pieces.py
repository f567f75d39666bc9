from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.compute.ledger import Ledger, phase_flops
from deepen.compute.marks import RecipeRun
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.rate import WSD, Constant, Cosine
from deepen.schedule.recipes import RECIPES, get_recipe
from deepen.schedule.schedule import Schedule
from deepen.study.compile.pieces import split_schedule
from deepen.train.segment import Segment

MODEL, BATCH, CONTEXT = PRESETS["nano"], 1024, 64
LEDGER = Ledger(model=MODEL)


def phase(depth: int, tokens: int, label: str = "") -> Phase:
    return Phase(depth=depth, tokens=tokens, label=label, batch_tokens=10, context=10)


def bounds(pieces: list[Segment]) -> list[tuple[int, int]]:
    return [(piece.start, piece.end) for piece in pieces]


def test_the_example_of_the_docstring():
    rate = WSD(peak=0.1, warmup_tokens=20, decay_share=0.2)
    pieces = split_schedule(Schedule(phases=(phase(1, 40), phase(2, 60)), rate=rate), LEDGER)
    assert bounds(pieces) == [(0, 20), (20, 40), (40, 80), (80, 100)]
    assert [piece.growth is not None for piece in pieces] == [False, False, True, False]


def test_phases_that_differ_only_in_their_label_are_one_piece():
    schedule = Schedule(phases=(phase(2, 40, "stage 1"), phase(2, 60, "continual")), rate=Constant())
    assert bounds(split_schedule(schedule, LEDGER)) == [(0, 100)]


def test_a_phase_that_resets_moments_is_a_separate_piece():
    reset = Phase(depth=2, tokens=60, label="", batch_tokens=10, context=10, reset_moments=True)
    pieces = split_schedule(Schedule(phases=(phase(2, 40), reset), rate=WSD(decay_share=0.2)), LEDGER)
    assert bounds(pieces) == [(0, 40), (40, 80), (80, 100)]
    assert [piece.reset_moments for piece in pieces] == [False, True, False]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(RECIPES)),
    st.integers(150, 600),
    st.sampled_from([WSD(warmup_tokens=5 * BATCH), Cosine(warmup_tokens=7000), Constant()]),
)
def test_pieces_cover_a_schedule_at_its_price(recipe: str, steps: int, rate: WSD | Cosine | Constant):
    run = RecipeRun(
        recipe=get_recipe(recipe), model=MODEL, batch_tokens=BATCH, context=CONTEXT, baseline_tokens=100 * BATCH,
        rate=rate,
    )  # fmt: skip
    schedule = run.schedule(steps)
    pieces = split_schedule(schedule, LEDGER)
    assert [piece.start for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == schedule.tokens
    flops = sum(piece.flops for piece in pieces)
    assert flops == sum(phase_flops(LEDGER, schedule))
