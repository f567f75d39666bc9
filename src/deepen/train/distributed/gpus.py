"""Whether each process of a run has a GPU of its own: NCCL takes no two processes on one.

torchrun and most launchers show every process all GPUs of its machine: process i of a machine takes GPU i. SLURM
with one GPU per task shows each process its own GPU alone, which is then number 0 in every one of them. Numbers do
not distinguish that from a machine with too few GPUs, so the processes compare identifiers:

    processes of a machine   GPUs that each sees   numbers   identifiers   result
    4                        the same 4            0 1 2 3   a b c d       a GPU each
    4                        one, its own          0 0 0 0   a b c d       a GPU each
    4                        the same 2            0 1 0 1   a b a b       UnusableGPUsError
"""

from torch.distributed.distributed_c10d import Store

from deepen.errors import InvalidValueError


class UnusableGPUsError(InvalidValueError):
    """The GPUs of all processes together cannot be used. Every process raises it, with the same message."""


def check_gpus(store: Store, rank: int, size: int, gpu: str, visible: int) -> None:
    """Compare the GPUs of all processes; waits until each has called this.

    Args:
        store: what all processes read and write.
        rank: this process's number.
        size: number of processes.
        gpu: what identifies this process's GPU on all machines; empty without one.
        visible: how many GPUs this process sees.

    Raises:
        UnusableGPUsError: two processes compute on the same GPU, or only some have one.
    """
    owner = int(store.compare_set(f"gpu {gpu}", "", str(rank))) if gpu else rank
    if owner != rank:
        number = f"{visible} GPU{'' if visible == 1 else 's'}"
        store.set("problem", f"processes {owner} and {rank} of {size} have the same GPU: each sees {number}")
    store.add("with a gpu", 1 if gpu else 0)
    if store.add("compared", 1) == size:  # the last one: what the others found is in the store
        with_gpu = store.add("with a gpu", 0)
        if 0 < with_gpu < size:
            store.set("problem", f"{with_gpu} of {size} processes have a GPU, and the others have none")
        store.set("result", store.get("problem").decode() if store.check(["problem"]) else "")
    problem = store.get("result").decode()
    if store.add("informed", 1) == size:
        store.set("all informed", "")
    if problem:
        if rank == 0:
            store.wait(["all informed"])  # the store may end with this process
        raise UnusableGPUsError(
            problem, remedy="start one process for each GPU, or set CUDA_VISIBLE_DEVICES to nothing to use CPUs"
        )
