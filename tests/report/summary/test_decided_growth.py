from dataclasses import replace

from deepen.report.summary.decided_growth import describe_decided_growths, describe_depths
from deepen.study.results.schema import ArmResult, GrowthResult

ARM = ArmResult.from_json({"name": "late", "recipe": "one-shot", "seed": 0})


def grown(seed: int, *growths: tuple[int, str]) -> ArmResult:
    made = tuple(
        GrowthResult.from_json(
            {
                "tokens": tokens,
                "flops": 1,
                "depth_before": 3 * 2**nth,
                "depth_after": 6 * 2**nth,
                "trigger": trigger,
            }
        )
        for nth, (tokens, trigger) in enumerate(growths)
    )
    return replace(ARM, seed=seed, growths=made)


def test_each_growth_that_training_decided_is_named_with_the_tokens_of_each_seed():
    seeds = [grown(0, (1024, "plateau"), (4096, "")), grown(1, (2048, "latest"))]
    assert describe_decided_growths("late", seeds) == [
        "late grew from 3 to 6 blocks: seed 0 after 1.02 k tokens, on a plateau; "
        "seed 1 after 2.05 k tokens, at the latest end."
    ]


def test_growth_at_a_known_time_is_not_named():
    assert describe_decided_growths("late", [grown(0, (1024, ""))]) == []
    assert describe_decided_growths("late", [ARM]) == []


def test_a_growth_of_stored_blocks_alone_is_described_as_such():
    growth = {"depth_before": 12, "depth_after": 12, "blocks_before": 8, "blocks_after": 12}
    assert describe_depths(GrowthResult.from_json(growth)) == "from 8 to 12 blocks in 12 layers"
    more = growth | {"depth_before": 8, "blocks_before": 8}
    assert describe_depths(GrowthResult.from_json(more)) == "from 8 to 12 blocks"
