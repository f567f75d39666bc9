"""Who is who among the processes of a run."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore, Store

from deepen.errors import InvalidValueError
from deepen.train.distributed.gpus import UnusableGPUsError, check_gpus
from deepen.train.distributed.processes import World, count_processes, divide_model


def test_without_torchrun_there_is_one_process():
    assert count_processes({}) == 1
    assert count_processes({"RANK": "3"}) == 1
    assert count_processes({"WORLD_SIZE": "4", "RANK": "3"}) == 4


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WORLD_SIZE": "two", "RANK": "0"}, "WORLD_SIZE is 'two': start the processes with torchrun"),
        ({"WORLD_SIZE": "2"}, "RANK is '': start the processes with torchrun"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is 2, of 2 processes"),
    ],
)
def test_a_launcher_that_sets_half_of_it_is_refused(environment: dict[str, str], words: str):
    with pytest.raises(InvalidValueError, match=words):
        count_processes(environment)


def compare(gpus: list[str], visible: int, store: Store | None = None) -> set[str]:
    """What the processes of a run are told about their GPUs; each is a thread here."""
    store, size = HashStore() if store is None else store, len(gpus)

    def one(rank: int) -> str:
        try:
            check_gpus(store, rank, size, gpus[rank], visible)
        except UnusableGPUsError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(size) as threads:
        return set(threads.map(one, range(size)))


def test_one_gpu_for_each_process_is_enough_however_it_is_numbered():
    assert compare(["", "", ""], visible=0) == {""}
    assert compare(["a", "b", "c"], visible=3) == {""}
    assert compare(["a", "b", "c"], visible=1) == {""}  # SLURM, one GPU per task


class FirstPauses(HashStore):
    """The first process that counts its GPU continues after the other one has compared."""

    def __init__(self) -> None:
        super().__init__()
        self.other_compared = threading.Event()

    def add(self, key: str, amount: int) -> int:
        number: int = super().add(key, amount)
        if key == "compared":
            self.other_compared.set()
        elif (key, number) == ("with a gpu", 1):
            self.other_compared.wait()
        return number


def test_gpus_are_counted_once_every_process_has_counted_its_own():
    assert compare(["a", "b"], visible=2, store=FirstPauses()) == {""}


def test_processes_that_share_a_gpu_are_refused_with_the_same_line_on_all_of_them():
    (message,) = compare(["a", "b", "c", "b"], visible=3)
    assert "of 4 have the same GPU: each sees 3 GPUs: start one process for each GPU" in message
    assert "processes 1 and 3" in message or "processes 3 and 1" in message
    (message,) = compare(["a", "a"], visible=1)
    assert "have the same GPU: each sees 1 GPU: " in message


def test_processes_of_which_only_some_have_a_gpu_are_refused():
    assert compare(["a", "", "b"], visible=1) == {
        "2 of 3 processes have a GPU, and the others have none: start one process for each GPU, or set "
        "CUDA_VISIBLE_DEVICES to nothing to use CPUs"
    }


def test_a_model_is_divided_among_all_processes_or_among_those_of_a_machine():
    world = World(size=8, local_size=4)
    assert [divide_model(world, shard).shards for shard in (False, True, "node")] == [1, 8, 4]
    assert divide_model(World(size=4, local_size=4), "node").shards == 4


@pytest.mark.parametrize(
    ("world", "shard", "words"),
    [
        (World(size=2, local_size=1), "node", "shard is node, but this machine runs one process: start as many"),
        (World(size=5, local_size=3), "node", "runs 3 of 5 processes, which is not an equal share"),
        (World(size=4, local_size=4), "rack", "shard is 'rack': it must be true, false or node"),
    ],
)
def test_a_model_that_cannot_be_divided_so_is_refused(world: World, shard: str, words: str):
    with pytest.raises(InvalidValueError, match=words):
        divide_model(world, shard)
