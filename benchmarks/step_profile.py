"""Which operations a step of full training spends its time in.

python benchmarks/step_profile.py --width 256 --vocab 8192
"""

import argparse
from collections import Counter
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from deepen.model.config import ModelConfig, scaled_init_std
from deepen.train.bench import Workload
from deepen.train.device import pick_device
from deepen.train.settings import PRECISIONS, TrainSettings

KINDS = {
    "matrix products": ("mm",),
    "attention": ("attention",),
    "GELU": ("gelu",),
    "copies": ("copy_", "clone", "contiguous"),
    "norms": ("layer_norm", "rms_norm"),
    "AdamW": ("adamw",),
}
"""Parts of the operations' names in torch; the first kind that fits counts."""

parser = argparse.ArgumentParser(description=Path(__file__).name)
for name, default in (("width", 256), ("vocab", 8192), ("context", 256), ("batch-tokens", 2048), ("threads", 2)):
    parser.add_argument(f"--{name}", type=int, default=default)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
given = parser.parse_args()

torch.set_num_threads(given.threads)
model = ModelConfig(
    name="profiled",
    depth=12,
    width=given.width,
    heads=given.width // 64,
    context=given.context,
    vocab=given.vocab,
    init_std=scaled_init_std(given.width),
)
engine = Workload(
    model=model,
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
