"""Averaging over seeds."""

from typing import Any

from deepen.report.style import BASELINE_COLOUR, COLOURS
from deepen.report.summary.averages import SeedRange
from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.report.words.introduction import describe_validation_text
from deepen.study.results.schema import Results


def point(tokens: int, loss: float | None, **more: Any) -> dict[str, Any]:
    return {"tokens": tokens, "step": tokens, "flops": 10 * tokens, "seconds": 1.0, "val_loss": loss} | more


def arm(name: str, seed: int, losses: dict[int, float | None], **more: Any) -> dict[str, Any]:
    curve = [point(tokens, loss, depth=3, phase="shallow") for tokens, loss in losses.items()]
    return {"name": name, "seed": seed, "curve": curve} | more


def summary(*arms: dict[str, Any], **more: Any) -> StudySummary:
    return summarize(Results.from_json({"baseline": "full", "arms": arms} | more))


def test_seeds_of_one_name_become_one_arm_with_a_range():
    [arm_summary] = summary(arm("full", 0, {1: 4.0, 2: 3.0}), arm("full", 1, {1: 5.0, 2: 3.5})).arms
    assert arm_summary.seeds == (0, 1) and arm_summary.depth == 3
    assert [each.val for each in arm_summary.curve] == [SeedRange(4.5, 4.0, 5.0), SeedRange(3.25, 3.0, 3.5)]


def test_a_curve_has_the_tokens_that_all_seeds_have_reached():
    [shared] = summary(arm("full", 0, {1: 4.0, 2: 3.0}), arm("full", 1, {1: 5.0}), arm("full", 2, {})).arms
    assert [each.tokens for each in shared.curve] == [1]
    [nothing_shared] = summary(arm("full", 0, {1: 4.0}), arm("full", 1, {2: 5.0})).arms
    assert [each.val for each in nothing_shared.curve] == [SeedRange(4.0, 4.0, 4.0)]


def test_a_seed_that_has_got_further_keeps_the_rest_of_its_curve():
    first = arm("full", 0, {1: 4.0, 2: 3.0, 3: 2.5}, trained_share=1)
    second = arm("full", 1, {1: 5.0, 2: 4.0}, trained_share=0.5)
    third = arm("full", 2, {}, trained_share=0)
    [found] = summary(first, second, third).arms
    assert [each.tokens for each in found.curve] == [1, 2]
    [tail] = found.tails
    assert [(each.tokens, each.val) for each in tail] == [(2, SeedRange(3, 3, 3)), (3, SeedRange(2.5, 2.5, 2.5))]
    assert [(end.tokens, end.val) for end in found.ends("val")] == [(2, SeedRange(4, 4, 4))]
    assert found.ends("train") == [] and found.trained_share == 0.5
    [finished] = summary(first, second | {"trained_share": 1}).arms
    assert finished.ends("val") == []


def test_a_file_that_does_not_know_its_progress_counts_as_finished():
    [found] = summary(arm("full", 0, {1: 4.0})).arms
    assert found.trained_share is None and found.ends("val") == [] and found.tails == ()


def test_a_loss_that_is_missing_is_not_averaged():
    [found] = summary(arm("full", 0, {1: None}), arm("full", 1, {1: 5.0})).arms
    assert found.curve[0].val == SeedRange(5.0, 5.0, 5.0) and found.curve[0].train is None


def test_marks_are_grouped_by_accounting_and_budget():
    def mark(share: float, accounting: str = "flops", *, annealed: bool = True) -> dict[str, Any]:
        return point(8, 3.0, accounting=accounting, budget_share=share, annealed=annealed)

    marks = [mark(0.7), mark(1.0), mark(1.0, "paper")]
    first, second = (arm("full", seed, {}, marks=marks) for seed in (0, 1))
    second["marks"] = [mark(0.7, annealed=False), mark(1.0), mark(1.0, "paper")]
    study = summary(first, second)
    assert study.baseline is not None
    found = {(m.accounting, m.budget_share): (m.n_seeds, m.annealed) for m in study.baseline.marks}
    assert found == {("flops", 0.7): (2, False), ("flops", 1.0): (2, True), ("paper", 1.0): (2, True)}
    assert study.baseline_mark is not None and study.baseline_mark.accounting == "flops"
    assert study.baseline_mark.is_whole_budget


def test_the_scores_of_a_task_are_averaged_by_step():
    def score(step: int, value: float) -> dict[str, Any]:
        return {"task": "hellaswag", "step": step, "value": value, "stderr": 0.1}

    tasks = [[score(2, 0.25), score(1, 0.5)], [score(1, 0.25), score(2, 0.75), {"task": "broken", "step": 1}]]
    study = summary(*(arm("full", seed, {}, tasks=each) for seed, each in enumerate(tasks)))
    assert study.task_names == ("hellaswag",)
    assert [(each.step, each.value) for each in study.arms[0].tasks["hellaswag"]] == [(1, 0.375), (2, 0.5)]


def test_the_baseline_comes_first_and_every_arm_can_be_told_by_colour_or_dash():
    names = [f"arm {i}" for i in range(2 * len(COLOURS))]
    study = summary(*(arm(name, 0, {1: 4.0}) for name in (*names, "full")))
    assert study.arms[0].is_baseline and study.arms[0].colour == BASELINE_COLOUR
    assert [each.name for each in study.arms[1:]] == names
    assert len({(each.colour, each.dash) for each in study.arms}) == len(study.arms)


def test_names_are_cut_to_what_fits_on_a_page_and_verdicts_still_find_their_arm():
    name = "x" * 100
    study = summary(arm(name, 0, {1: 4.0}), verdicts=[{"arm": name, "sentence": "y" * 1000}])
    [verdict] = study.verdicts
    assert study.find_arm(verdict.arm) is study.arms[0] and len(verdict.arm) == 60 and len(verdict.sentence) == 600
    assert summary(arm("", 0, {})).arms[0].name == "unnamed"


def with_texts(blocks: list[float], curve_tokens: int = 256) -> StudySummary:
    """A run whose mark was measured on blocks of 16 windows of 8 tokens, its curve on the first tokens."""
    mark = point(8, 9.0, accounting="flops", budget_share=1.0, val_blocks=blocks)
    data = {"validation_tokens": curve_tokens, "mark_tokens": 128 * len(blocks)}
    return summary(arm("full", 0, {8: 3.5}, marks=[mark]), regime={"context": 8, "data": data})


def test_a_mark_is_drawn_on_the_text_of_its_curve():
    study = with_texts([3.0, 4.0, 8.0])
    assert study.baseline_mark is not None and study.draws_marks_on_curve_text
    assert study.baseline_mark.drawn_loss("val") == SeedRange(3.5, 3.5, 3.5)
    assert study.baseline_mark.loss("val") == SeedRange(9.0, 9.0, 9.0)
    assert "first 256 tokens" in describe_validation_text(study)


def test_a_mark_whose_loss_on_the_text_of_the_curve_is_unknown_keeps_its_own():
    part_of_a_block = with_texts([3.0, 4.0, 8.0], curve_tokens=200)
    assert part_of_a_block.baseline_mark is not None and not part_of_a_block.draws_marks_on_curve_text
    assert part_of_a_block.baseline_mark.drawn_loss("val") == SeedRange(9.0, 9.0, 9.0)
    assert "need not lie on its line" in describe_validation_text(part_of_a_block)
    assert describe_validation_text(with_texts([3.0, 4.0], curve_tokens=256)) == ""
