"""Which operations a step of full training spends its time in.

python benchmarks/step_profile.py --width 256 --vocab 8192
"""

from collections import Counter
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from deepen.bench.workload import Workload
from deepen.train.device import pick_device
from deepen.train.settings import PRECISIONS, TrainSettings
from sizes import model_of_sizes, parser_of_sizes

KINDS = {
    "matrix products": ("mm",),
    "attention": ("attention",),
    "GELU": ("gelu",),
    "copies": ("copy_", "clone", "contiguous"),
    "norms": ("layer_norm", "rms_norm"),
    "AdamW": ("adamw",),
}
"""Parts of the operations' names in torch; the first kind that fits counts."""

parser = parser_of_sizes(Path(__file__).name)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
given = parser.parse_args()

engine = Workload(
    model=model_of_sizes(given),
    context=given.context,
    batch_tokens=given.batch_tokens,
    settings=TrainSettings(precision=given.precision),
    device=pick_device(),
).full_training()
engine.run(2 * given.batch_tokens, lambda progress, measured: None)
with profile(activities=[ProfilerActivity.CPU]) as profiled:
    engine.run((2 + given.steps) * given.batch_tokens, lambda progress, measured: None)
spent = Counter[str]()
for event in profiled.key_averages():
    name = event.key.removeprefix("aten::").lstrip("_")
    kind = next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), name)
    spent[kind] += event.self_cpu_time_total
total = sum(spent.values())
rest = total - sum(spent[kind] for kind in KINDS)
for kind in KINDS:
    print(f"| {kind} | {spent[kind] / total:.0%} |")
largest = max(time for kind, time in spent.items() if kind not in KINDS)
print(f"| all else, none above {largest / total:.1%} | {rest / total:.0%} |")
