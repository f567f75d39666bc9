"""How often the first results of a new process are wrong: a race in the first calls of MKL, and its workaround.

    python benchmarks/first_call.py 150

Starts 150 processes each without and with the workaround, three at a time: `deepen.model.build` makes the first
calls on one thread. Each process runs the operations of a training step twice, on two threads, and reports the
first operation whose two results differ.
"""

import argparse
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.nn import functional

from deepen.model.build import build
from deepen.model.presets import PRESETS

VARIANTS = ("without", "with")


def run_operations() -> list[tuple[str, torch.Tensor]]:
    """Each operation of a small model's step, forward and backward, and its result."""
    draw = torch.Generator().manual_seed(0)
    x, qkv, up, head = (torch.randn(n, 20, generator=draw) for n in (128, 60, 80, 1024))
    results = [("layer norm", functional.layer_norm(x.requires_grad_(), (20,)))]
    results.append(("linear", functional.linear(results[-1][1], qkv)))
    q, k, v = (part.view(2, 64, 4, 5).transpose(1, 2) for part in results[-1][1].split(20, -1))
    results.append(("attention", functional.scaled_dot_product_attention(q, k, v, is_causal=True)))
    results.append(("gelu", functional.gelu(functional.linear(results[0][1], up), approximate="tanh")))
    logits = (results[-1][1] @ up * 0.1).detach() @ head.T
    results.append(("logits", logits))
    results.append(("exp", (logits - logits.amax(1, keepdim=True)).exp()))
    results.append(("log", results[-1][1].sum(1).log()))
    (results[2][1].square().sum() + results[3][1].square().sum()).backward()
    assert x.grad is not None
    return [*results, ("gradient", x.grad)]


def find_difference() -> str:
    """The first operation whose two results differ."""
    for (name, first), (_, second) in zip(run_operations(), run_operations(), strict=True):
        if not torch.equal(first, second):
            return f"{name}, by {(first - second).abs().max().item() / second.abs().max().item():.0e}"
    return "none"


def run_process(variant: str) -> str:
    """Run `find_difference` in a new process."""
    command = [sys.executable, __file__, "--variant", variant]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processes", type=int, nargs="?", default=150, help="of each variant (default 150)")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant is not None:
        torch.set_num_threads(2)
        if args.variant == "with":
            with torch.device("meta"):
                build(PRESETS["nano"], depth=1)
        print(find_difference())
        return
    with ThreadPoolExecutor(3) as executor:
        order = VARIANTS * args.processes
        counts = Counter(zip(order, executor.map(run_process, order), strict=True))
    for (variant, difference), count in sorted(counts.items()):
        print(f"{count:5} {variant} workaround: differs in {difference}")


if __name__ == "__main__":
    main()
