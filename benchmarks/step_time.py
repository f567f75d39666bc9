"""Tokens per second of plain training steps.

    python benchmarks/step_time.py --width 32 --precision fp32

Trains everything at full depth on random tokens, with the engine that a study uses. Prints the median without the
first five steps.
"""

import statistics

from deepen.train.settings import PRECISIONS
from sizes import build_workload, size_parser

WARM_UP_STEPS = 5


def main() -> None:
    parser = size_parser(__doc__, width=20, context=64, vocab=1024, batch_tokens=1024, threads=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    args = parser.parse_args()
    workload = build_workload(args, args.precision)
    engine, stopwatch = workload.full_training(), workload.stopwatch
    ends = range(args.batch_tokens, (args.steps + 1) * args.batch_tokens, args.batch_tokens)
    seconds = [stopwatch.step_seconds(engine, end) for end in ends][WARM_UP_STEPS:]
    print(f"{args.batch_tokens / statistics.median(seconds):,.0f} tokens/s ({vars(args)})")


if __name__ == "__main__":
    main()
