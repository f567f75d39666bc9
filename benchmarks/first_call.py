"""How often a new process computes something else at first: MKL's race at first calls, and its cure.

`python benchmarks/first_call.py 150` starts so many processes, three at a time, without and with the first calls
that `deepen.model.build` makes on one thread. Each runs the operations of a step twice, on two threads.
"""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.nn import functional

from deepen.model.build import build
from deepen.model.presets import PRESETS

ARMS = ("as it is", "cured")


def operations() -> list[tuple[str, torch.Tensor]]:
    """Each operation of a small model's step, forward and backward, and what it makes."""
    draw = torch.Generator().manual_seed(0)
    x, qkv, up, head = (torch.randn(n, 20, generator=draw) for n in (128, 60, 80, 1024))
    made = [("layer norm", functional.layer_norm(x.requires_grad_(), (20,)))]
    made.append(("linear", functional.linear(made[-1][1], qkv)))
    q, k, v = (part.view(2, 64, 4, 5).transpose(1, 2) for part in made[-1][1].split(20, -1))
    made.append(("attention", functional.scaled_dot_product_attention(q, k, v, is_causal=True)))
    made.append(("gelu", functional.gelu(functional.linear(made[0][1], up), approximate="tanh")))
    logits = (made[-1][1] @ up * 0.1).detach() @ head.T
    made.append(("logits", logits))
    made.append(("exp", (logits - logits.amax(1, keepdim=True)).exp()))
    made.append(("log", made[-1][1].sum(1).log()))
    (made[2][1].square().sum() + made[3][1].square().sum()).backward()
    assert x.grad is not None
    return [*made, ("gradient", x.grad)]


def differing() -> str:
    """The first operation that makes something else the first time than the second."""
    for (name, first), (_, second) in zip(operations(), operations(), strict=True):
        if not torch.equal(first, second):
            return f"{name}, by {(first - second).abs().max().item() / second.abs().max().item():.0e}"
    return "none"


def child(arm: str) -> str:
    """What differs in a new process."""
    command = [sys.executable, __file__, "--arm", arm]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if sys.argv[1] == "--arm":
    torch.set_num_threads(2)
    if sys.argv[2] == "cured":
        with torch.device("meta"):
            build(PRESETS["nano"], depth=1)
    print(differing())
else:
    with ThreadPoolExecutor(3) as three:
        order = ARMS * int(sys.argv[1])
        found = Counter(zip(order, three.map(child, order), strict=True))
    for (arm, what), count in sorted(found.items()):
        print(f"{count:5} {arm}: differs in {what}")
