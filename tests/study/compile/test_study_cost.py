"""What a study costs beside its training steps."""

from dataclasses import replace

from deepen.compute.devices import DEVICES, Fleet
from deepen.model.presets import PRESETS
from deepen.schedule.trainable import TrainedParts
from deepen.study.compile.study_cost import (
    SEGMENT_SECONDS,
    count_segments,
    estimate_time,
    evaluation_flops,
    max_tokens,
)
from deepen.study.compile.tree import compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.presets import quickstart
from deepen.study.define.study import Arm, Study
from deepen.study.define.tuning import Tuning

STEP = 1024


def full_training(**changes) -> Study:
    """A run of 100 steps, evaluated on 2 steps' tokens each 40 steps, and on 10 steps' at its mark."""
    evaluation = Evaluation(every_tokens=40 * STEP, validation_tokens=2 * STEP, mark_tokens=10 * STEP)
    arms = (Arm(name="full", recipe="full"),)
    study = replace(quickstart(), model=PRESETS["nano"], tokens=100 * STEP, arms=arms, seeds=(0,), anchors=(1.0,))
    return replace(study, evaluation=evaluation, **changes)


def test_a_forward_pass_costs_a_third_of_training():
    study = full_training()
    trained = next(iter(compile_study(study, "").nodes.values())).segment.trains
    assert isinstance(trained, TrainedParts)
    forward = study.ledger.evaluation_per_token(study.model.depth, study.context)
    assert 3 * forward == study.ledger.flops_per_token(trained, study.context)


def test_points_of_a_curve_and_marks_are_priced_by_their_text():
    study = full_training()
    forward = study.ledger.evaluation_per_token(study.model.depth, study.context)
    assert (
        evaluation_flops(compile_study(study, "")) == (2 + 2 + 10) * STEP * forward
    )  # after 40, 80 and 100 steps


def test_a_shallow_model_costs_less_to_evaluate():
    small = (Arm(name="full", recipe="small", options={"start_depth": 3}),)
    deep, shallow = (compile_study(full_training(**changes), "") for changes in ({}, {"arms": small}))
    per_point = [
        evaluation_flops(tree) / sum(len(node.evaluations) for node in tree.nodes.values())
        for tree in (deep, shallow)
    ]
    assert per_point[1] < 0.5 * per_point[0]


def test_trials_cost_their_marks_also_those_to_come():
    study = full_training()
    forward = study.ledger.evaluation_per_token(study.model.depth, study.context)
    for trials in (2, 5):
        tuned = replace(study, tuning=Tuning(rates=(8e-3, 1.6e-2), trials=trials))
        added = evaluation_flops(compile_study(tuned, "")) - evaluation_flops(compile_study(study, ""))
        assert added == trials * 10 * STEP * forward


def test_a_best_fixed_depth_that_is_still_open_counts_like_the_baseline():
    study = full_training(depths=(6, 12))
    tree = compile_study(study, "")
    trial_marks = sum(
        10 * STEP * study.ledger.evaluation_per_token(depth, study.context) for depth in study.depths
    )
    assert tree.tuning.max_depths_to_come == 1
    assert evaluation_flops(tree) == 2 * evaluation_flops(compile_study(full_training(), "")) + trial_marks
    assert count_segments(tree) == len(tree.nodes) + len(compile_study(full_training(), "").nodes)


def test_the_time_is_that_of_training_evaluation_and_beginnings():
    tree, fleet = compile_study(full_training(), ""), Fleet(device=DEVICES["h100"], mfu=0.1)
    taken = estimate_time(tree, fleet)
    assert taken.training == tree.flops / (0.1 * DEVICES["h100"].peak_flops)
    assert taken.evaluation == evaluation_flops(tree) / (0.1 * DEVICES["h100"].peak_flops)
    assert taken.beginnings == SEGMENT_SECONDS * len(tree.nodes)
    assert taken.total == taken.training + taken.evaluation + taken.beginnings


def test_the_longest_run_is_that_of_the_arm_with_the_cheapest_tokens():
    study = full_training()
    small = replace(study, arms=(*study.arms, Arm(name="small", recipe="small", options={"start_depth": 3})))
    assert max_tokens([compile_study(study, "")]) == 100 * STEP
    assert max_tokens([compile_study(study, ""), compile_study(small, "")]) > 200 * STEP
