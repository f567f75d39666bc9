"""Which operations a step of full training spends its time on.

python benchmarks/step_profile.py --width 256 --vocab 8192
"""

from collections import Counter

from torch.profiler import ProfilerActivity, profile

from deepen.train.settings import PRECISIONS
from sizes import build_workload, size_parser

KINDS = {
    "matrix products": ("mm",),
    "attention": ("attention",),
    "GELU": ("gelu",),
    "copies": ("copy_", "clone", "contiguous"),
    "norms": ("layer_norm", "rms_norm"),
    "AdamW": ("adamw",),
}
"""For each kind, parts of the names of torch's operations; the first kind that matches counts."""

WARM_UP_STEPS = 2


def classify(operation: str) -> str:
    """The kind of an operation, or its own name."""
    name = operation.removeprefix("aten::").lstrip("_")
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), name)


def main() -> None:
    parser = size_parser(__doc__)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    args = parser.parse_args()
    workload = build_workload(args, args.precision)
    engine, stopwatch = workload.full_training(), workload.stopwatch
    stopwatch.step_seconds(engine, WARM_UP_STEPS * args.batch_tokens)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        stopwatch.step_seconds(engine, (WARM_UP_STEPS + args.steps) * args.batch_tokens)
    spent = Counter[str]()
    for event in profiled.key_averages():
        spent[classify(event.key)] += event.self_cpu_time_total
    total = sum(spent.values())
    rest = total - sum(spent[kind] for kind in KINDS)
    for kind in KINDS:
        print(f"| {kind} | {spent[kind] / total:.0%} |")
    largest = max(time for kind, time in spent.items() if kind not in KINDS)
    print(f"| all else, none above {largest / total:.1%} | {rest / total:.0%} |")


if __name__ == "__main__":
    main()
