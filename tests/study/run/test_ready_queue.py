from collections.abc import Callable

import pytest

from deepen.data.shards import Dataset
from deepen.schedule.rate import Constant
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.study import Arm, Study
from deepen.study.run.ready_queue import ReadyQueue, remaining_flops, training_flops


@pytest.fixture
def tree(make_study: Callable[..., Study], dataset: Dataset) -> Tree:
    return compile_study(make_study(seeds=(0, 1)), dataset.fingerprint)


def test_every_segment_starts_once_and_after_its_parent(tree: Tree):
    queue, started = ReadyQueue(tree, tree.nodes), []
    while queue.unfinished:
        node = queue.pop()
        assert node is not None and (node.parent is None or node.parent in started)
        started.append(node.key)
        queue.finish(node)
    assert sorted(started) == sorted(tree.nodes) and queue.pop() is None


def test_the_segment_with_the_longest_remaining_route_starts_first(tree: Tree):
    behind, queue = remaining_flops(tree), ReadyQueue(tree, tree.nodes)
    roots = [node.key for node in tree.nodes.values() if node.parent is None]
    started = [node.key for node in iter(queue.pop, None)]
    assert sorted(started) == sorted(roots)
    assert [behind[key] for key in started] == sorted((behind[key] for key in roots), reverse=True)
    critical = max(sum(training_flops(tree.nodes[key]) for key in path.keys) for path in tree.routes)
    assert behind[started[0]] == critical


def test_finished_segments_are_not_started_and_unfinished_ones_start_again(tree: Tree):
    path = tree.routes[0].keys
    queue = ReadyQueue(tree, path[1:])
    first = queue.pop()
    assert first is not None and first.key == path[1] and queue.pop() is None
    queue.put_back(first)
    assert queue.pop() == first and queue.unfinished == len(path) - 1


def test_a_segment_that_is_put_back_waits_for_a_parent_that_it_has_got_since(
    make_study: Callable[..., Study], dataset: Dataset
):
    """An arm was added whose run leaves the segment before its end, so that the segment is only the rest."""
    small = Arm(name="small", recipe="small", options={"start_depth": 6})
    one_shot = Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6})
    rest = {"baseline": "small", "anchors": (1.0,), "accountings": ("flops",), "rate": Constant(peak=1e-3)}
    before = compile_study(make_study(arms=(small,), **rest), dataset.fingerprint)
    after = compile_study(make_study(arms=(small, one_shot), **rest), dataset.fingerprint)
    queue = ReadyQueue(before, before.nodes)
    running = queue.pop()
    assert running is not None and running.parent is None
    queue.replan(after, after.nodes)
    queue.put_back(running)
    parent, started = after.nodes[running.key].parent, list[str]()
    while (node := queue.pop()) is not None:
        started.append(node.key)
        queue.finish(node)
    assert started.index(str(parent)) < started.index(running.key)
    assert sorted(started) == sorted(after.nodes)
