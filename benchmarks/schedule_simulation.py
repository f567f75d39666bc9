"""How well a study's scheduler uses many devices.

    python benchmarks/schedule_simulation.py --arms 1000 --devices 256

Nothing is trained. The tree is compiled from a realistic study: full training of GPT-2 124M for the paper's 10,000
steps, and arms that grow once, from 1 to 11 blocks, after 5 to 95 % of their tokens. Arms with the same beginning
share segments. `ReadyQueue`, which schedules real studies, chooses the next segment. A segment takes the time of
its exact FLOPs at a given rate, and some seconds for its process to start, load and save. The makespan is compared
with two lower bounds: the critical path (the longest route through the tree) and the work (all of it, divided
evenly among the devices).
"""

import argparse
import heapq
import random
import time
from collections import deque
from collections.abc import Callable

from deepen.model.presets import PRESETS, tokens_per_step
from deepen.study.compile.tree import Node, Tree, compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.study import Arm, Study
from deepen.study.run.ready_queue import ReadyQueue, training_flops

SAVE_EVERY_SECONDS = 60.0


def make_study(arms: int) -> Study:
    """A study of full training, and of arms that grow once, from any depth at any time."""
    model = PRESETS["gpt2-124m"]
    growths = [(depth, percent) for percent in range(5, 96) for depth in range(1, model.depth)]
    if arms - 1 > len(growths):
        raise SystemExit(f"error: --arms is {arms}, but there are {len(growths) + 1} different ones")
    batch_tokens = tokens_per_step(model, model.context)
    return Study(
        name="simulated",
        model=model,
        tokens=10_000 * batch_tokens,
        batch_tokens=batch_tokens,
        context=model.context,
        arms=(
            Arm(name="full", recipe="full"),
            *(
                Arm(
                    name=f"{depth} blocks until {percent} %",
                    recipe="one-shot",
                    options={"start_depth": depth, "grow_at": percent / 100},
                )
                for depth, percent in growths[: arms - 1]
            ),
        ),
        evaluation=Evaluation(every_tokens=250 * batch_tokens, validation_tokens=10_000_000),
        accountings=("flops",),
    )


class FirstComeQueue(ReadyQueue):
    """First come, first served: segments start in the order in which they became ready."""

    def __init__(self, tree: Tree) -> None:
        self._line: deque[Node] = deque()
        super().__init__(tree, tree.nodes)

    def pop(self) -> Node | None:
        if not self._line:
            return None
        node = self._line.popleft()
        self._running.add(node.key)
        return node

    def _push(self, key: str) -> None:
        self._line.append(self._nodes[key])


def simulate(
    queue: ReadyQueue,
    training_seconds: Callable[[Node], float],
    start_seconds: float,
    devices: int,
    mean_life_seconds: float,
) -> tuple[float, int]:
    """The makespan in seconds, and how many workers were lost on the way.

    Args:
        queue: chooses the next segment.
        training_seconds: training time of a segment.
        start_seconds: time of an attempt besides training.
        devices: number of segments that are trained simultaneously.
        mean_life_seconds: mean time until a device loses its worker, 0 for never; saved progress is kept.
    """
    draw, now, losses, attempt = random.Random(0), 0.0, 0, 0
    remaining: dict[str, float] = {}  # seconds of training of segments whose worker was lost
    running: list[tuple[float, int, Node, float]] = []  # end, attempt, segment, its remaining seconds then
    while queue.unfinished:
        while len(running) < devices and (node := queue.pop()):
            needed = remaining.get(node.key, training_seconds(node))
            life = draw.expovariate(1 / mean_life_seconds) if mean_life_seconds else float("inf")
            taken, rest = start_seconds + needed, 0.0
            if life < taken:
                saved = max(0.0, life - start_seconds) // SAVE_EVERY_SECONDS * SAVE_EVERY_SECONDS
                taken, rest = life, needed - saved
            attempt += 1
            heapq.heappush(running, (now + taken, attempt, node, rest))
        now, _, node, rest = heapq.heappop(running)
        if rest > 0:
            losses += 1
            remaining[node.key] = rest
            queue.put_back(node)
        else:
            queue.finish(node)
    return now, losses


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, default=1000)
    parser.add_argument("--devices", type=int, default=256)
    parser.add_argument("--flops-per-second", type=float, default=1e14, help="of a device, in training")
    parser.add_argument("--start-seconds", type=float, default=60.0, help="of a segment, besides training")
    parser.add_argument("--lost-every-hours", type=float, default=24.0, help="until a device loses its worker")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    began = time.perf_counter()
    tree = compile_study(make_study(args.arms), "simulated")
    compiled = time.perf_counter() - began

    def training_seconds(node: Node) -> float:
        return training_flops(node) / args.flops_per_second

    segment_seconds = {key: training_seconds(node) + args.start_seconds for key, node in tree.nodes.items()}
    critical_path = max(sum(segment_seconds[key] for key in route.keys) for route in tree.routes)
    work = sum(segment_seconds.values()) / args.devices
    bound = max(critical_path, work)
    segments = f"{len(tree.nodes):,} segments (compiled in {compiled:.0f} s)"
    print(f"{args.arms:,} arms, {segments}, {args.devices:,} devices")
    print(f"critical path {critical_path / 3600:8.2f} h\nwork bound    {work / 3600:8.2f} h")
    for name, queue, lost_every_hours in (
        ("most work behind first", ReadyQueue(tree, tree.nodes), 0.0),
        ("first come, first served", FirstComeQueue(tree), 0.0),
        ("most work behind, with losses", ReadyQueue(tree, tree.nodes), args.lost_every_hours),
    ):
        began = time.perf_counter()
        makespan, losses = simulate(
            queue, training_seconds, args.start_seconds, args.devices, 3600 * lost_every_hours
        )
        deciding = time.perf_counter() - began
        print(
            f"{name:30} makespan {makespan / 3600:8.2f} h, {makespan / bound:.3f} of the larger bound, "
            f"{losses:,} workers lost, {1e6 * deciding / len(tree.nodes):.0f} µs per segment"
        )


if __name__ == "__main__":
    main()
