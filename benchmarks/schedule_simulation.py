"""How well the scheduler fills many devices: python benchmarks/schedule_simulation.py

Nothing is trained. The tree is that of a real study: full training of GPT-2 124M for the paper's 10,000 steps, and
arms that grow once, from 1 to 11 blocks, after 5 to 95 % of their tokens; those that begin alike share segments.
`ReadyQueue`, which schedules real studies, says which segment is next. A segment takes its exact FLOPs at a given
rate, and some seconds for its process to start, load and save. Two bounds no schedule can beat stand beside the
makespan: the critical path (the longest way through the tree) and the work (all of it, spread evenly).
"""

import argparse
import heapq
import random
import time
from collections import deque
from collections.abc import Callable

from deepen.model.presets import PRESETS, tokens_per_step
from deepen.study.compile.tree import Node, Tree, compile_study
from deepen.study.define.study import Arm, Evaluation, Study
from deepen.study.run.ready_queue import ReadyQueue, flops_of

SAVE_EVERY_SECONDS = 60.0


def study_of(arms: int) -> Study:
    """So many arms: full training, and one growth from any depth at any time."""
    model = PRESETS["gpt2-124m"]
    growths = [(depth, percent) for percent in range(5, 96) for depth in range(1, model.depth)]
    if arms - 1 > len(growths):
        raise SystemExit(f"error: --arms is {arms}: there are {len(growths) + 1} different ones")
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


class FirstCome(ReadyQueue):
    """The same queue without foresight: segments start in the order in which they became ready."""

    def __init__(self, tree: Tree) -> None:
        self._line: deque[Node] = deque()
        super().__init__(tree, tree.nodes)

    def put_back(self, node: Node) -> None:
        self._line.append(node)

    def pop(self) -> Node | None:
        return self._line.popleft() if self._line else None


def makespan(
    queue: ReadyQueue, seconds: Callable[[Node], float], start: float, devices: int, lost_every: float
) -> tuple[float, int]:
    """Seconds until all is trained, and the workers lost on the way.

    Args:
        seconds: that a segment trains.
        start: seconds that an attempt takes besides.
        lost_every: mean seconds until a device loses its worker, 0 for never; what was saved then is kept.
    """
    draw, now, losses, order = random.Random(0), 0.0, 0, 0
    left: dict[str, float] = {}
    running: list[tuple[float, int, Node, float]] = []  # end, tie, segment, seconds that are then left of it
    while queue.left:
        while len(running) < devices and (node := queue.pop()):
            todo = left.get(node.key, seconds(node))
            lasts = draw.expovariate(1 / lost_every) if lost_every else float("inf")
            takes, after = start + todo, 0.0
            if lasts < takes:
                saved = max(0.0, lasts - start) // SAVE_EVERY_SECONDS * SAVE_EVERY_SECONDS
                takes, after = lasts, todo - saved
            order += 1
            heapq.heappush(running, (now + takes, order, node, after))
        now, _, node, after = heapq.heappop(running)
        if after > 0:
            losses, left[node.key] = losses + 1, after
            queue.put_back(node)
        else:
            queue.done(node)
    return now, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", type=int, default=1000)
    parser.add_argument("--devices", type=int, default=256)
    parser.add_argument("--flops-per-second", type=float, default=1e14, help="of a device, in training")
    parser.add_argument("--start-seconds", type=float, default=60.0, help="of a segment, besides training")
    parser.add_argument("--lost-every-hours", type=float, default=24.0, help="until a device loses its worker")
    given = parser.parse_args()

    began = time.perf_counter()
    tree = compile_study(study_of(given.arms), "simulated")
    built = time.perf_counter() - began

    def seconds(node: Node) -> float:
        return flops_of(node) / given.flops_per_second

    whole = [seconds(node) + given.start_seconds for node in tree.nodes.values()]
    paths = [sum(seconds(tree.nodes[key]) + given.start_seconds for key in path.keys) for path in tree.routes]
    critical, work = max(paths), sum(whole) / given.devices
    bound = max(critical, work)
    print(f"{given.arms:,} arms, {len(tree.nodes):,} segments (made in {built:.0f} s), {given.devices:,} devices")
    print(f"critical path {critical / 3600:8.2f} h\nwork bound    {work / 3600:8.2f} h")
    for name, queue, hours in (
        ("most work behind first", ReadyQueue(tree, tree.nodes), 0.0),
        ("first come, first served", FirstCome(tree), 0.0),
        ("most work behind, with losses", ReadyQueue(tree, tree.nodes), given.lost_every_hours),
    ):
        began = time.perf_counter()
        length, losses = makespan(queue, seconds, given.start_seconds, given.devices, 3600 * hours)
        deciding = time.perf_counter() - began
        print(
            f"{name:30} makespan {length / 3600:8.2f} h, {length / bound:.3f} of the larger bound, "
            f"{losses:,} workers lost, {1e6 * deciding / len(tree.nodes):.0f} µs a segment"
        )


if __name__ == "__main__":
    main()
