"""Time of scoring tasks, beside a plain loop that scores one completion at a time with the same network.

    python benchmarks/task_scoring.py --model micro --vocab 50257

The plain loop is what one writes first, and what lm-evaluation-harness does at its default batch size: a row per
completion, logits of all positions, log-softmax, the sum over the ending. Examples are random tokens whose lengths
are about those of each task with GPT-2's tokenizer. Both run on one thread, and processor time is compared, so
that other work on the machine matters little. The largest relative difference of a score is printed too.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

import torch
from torch.nn import functional as F

from deepen.evaluate.scoring import CompletionScorer
from deepen.evaluate.task import Completion
from deepen.model.build import build, init_weights
from deepen.model.decoder import Decoder
from deepen.model.presets import PRESETS

SHAPES = {  # completions of an example, tokens of its prompt, tokens of a completion
    "HellaSwag": (4, 46, 26),
    "ARC": (4, 32, 5),
    "PIQA": (2, 14, 24),
    "BLiMP": (2, 4, 7),
    "LAMBADA": (1, 86, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="micro", choices=PRESETS)
    parser.add_argument("--vocab", type=int, default=50257)
    parser.add_argument("--examples", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = replace(PRESETS[options.model], vocab=options.vocab, context=256)
    network = build(config)
    network.load_state_dict(init_weights(config, config.depth, seed=0))
    scorer = CompletionScorer(model=network, context=config.context, device=torch.device("cpu"))
    print(f"{config.name}, {config.depth} blocks of width {config.width}, vocabulary {config.vocab:,}")
    print("task        ms per example   plain loop   times as fast   difference")
    for task, shape in SHAPES.items():
        examples = make_examples(Random(0), options.examples, config.vocab, *shape)
        few = examples[: max(10, len(examples) // 5)]
        scorer.score_completions(few)
        ours, scores = timed(lambda examples=examples: scorer.score_completions(examples))
        plain, losses = timed(lambda few=few: [[plain_loss(network, each) for each in group] for group in few])
        ours, plain = ours / len(examples), plain / len(few)
        difference = max(
            abs(score.loss - loss) / loss
            for group, known in zip(scores, losses, strict=False)
            for score, loss in zip(group, known, strict=True)
        )
        print(f"{task:10} {1e3 * ours:15.2f} {1e3 * plain:12.2f} {plain / ours:15.1f} {difference:12.0e}")


def make_examples(
    draw: Random, count: int, vocab: int, endings: int, prompt: int, ending: int
) -> list[list[Completion]]:
    def tokens(mean: int) -> tuple[int, ...]:
        length = max(1, round(draw.gauss(mean, mean / 3)))
        return tuple(draw.randrange(vocab) for _ in range(length))

    examples = []
    for _ in range(count):
        shared = tokens(prompt)
        examples.append([Completion(shared, tokens(ending)) for _ in range(endings)])
    return examples


@torch.no_grad()
def plain_loss(network: Decoder, completion: Completion) -> float:
    ids = torch.tensor((completion.prompt + completion.tokens)[-(network.config.context + 1) :])
    scored = min(len(completion.tokens), len(ids) - 1)
    losses = -F.log_softmax(network(ids[None, :-1])[0], dim=-1)
    return float(losses[-scored:].gather(1, ids[-scored:, None]).sum())


def timed(work: Callable[[], list]) -> tuple[float, list]:
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


if __name__ == "__main__":
    main()
