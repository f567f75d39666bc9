"""The studies that come with deepen."""

from deepen.compute.ledger import Ledger
from deepen.schedule.trainable import TrainedParts
from deepen.study.define.presets import paper

HELLASWAG_TOKENS = 3_031_246
"""Of all 10,042 examples with four endings each, by GPT-2's tokenizer, batched by length and padded."""


def test_evaluation_is_at_most_a_twentieth_of_the_paper():
    study = paper()
    step = Ledger(model=study.model).flops_per_token(TrainedParts.all(12), study.context)
    forward = step / 3  # a backward pass costs twice as much
    evaluation = study.evaluation
    validation = evaluation.validation_tokens / evaluation.every_tokens * forward
    tasks = HELLASWAG_TOKENS / evaluation.tasks_every_tokens * forward
    assert 0.02 * step < validation + tasks < 0.05 * step
