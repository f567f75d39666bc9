"""The limits of a container, read from the files of control groups of both versions."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from deepen.train.limits import (
    Limit,
    core_limit,
    describe_cores,
    fair_threads,
    memory_limit,
    process_limit,
    usable_cores,
    usable_memory_bytes,
)

BOUND = len(os.sched_getaffinity(0))
GIB = 1 << 30


MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw
33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
"""
DOCKER = "33 31 0:30 /docker/ab /cgroups/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
"""A container that sees its own group only, at an unusual place."""


def tree(root: Path, group: str, files: dict[str, str], mounts: str = MOUNTS) -> Path:
    """Write the files of a system whose process is in `group`."""
    for path, text in {"proc/self/cgroup": group, "proc/self/mountinfo": mounts, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "100000 100000\n"}),
        ("0::/jobs/17\n", {"sys/fs/cgroup/jobs/17/cpu.max": "150000 100000\n"}),
        ("0::/jobs/17\n", {"sys/fs/cgroup/jobs/17/cpu.max": "max 100000\n", "sys/fs/cgroup/jobs/cpu.max": "5 5"}),
        ("0::/unseen\n", {"sys/fs/cgroup/cpu.max": "100000 100000\n"}),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "20000 100000\n"}),  # a fifth of a core is a core
        (
            "4:cpu,cpuacct:/docker/ab\n0::/\n",
            {
                "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_period_us": "100000\n",
            },
        ),
    ],
)
def test_a_cpu_quota_of_one_core_leaves_one_core(group: str, files: dict[str, str], tmp_path: Path):
    assert usable_cores(tree(tmp_path, group, files)) == 1


def test_half_a_core_is_reported_and_counts_as_one_core_for_one_thread(tmp_path: Path):
    own_group = {
        "cgroups/cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "cgroups/cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    root = tree(tmp_path, "4:cpu,cpuacct:/docker/ab\n", own_group, DOCKER)
    assert core_limit(root, {}) == Limit(0.5, "the container's CPU quota")
    assert usable_cores(root) == fair_threads(1, root, {}) == fair_threads(2, root, {}) == 1
    assert describe_cores(root, {}) == "0.5 cores are usable (the container's CPU quota)"


def test_a_quota_is_found_without_proc(tmp_path: Path):
    quota = tmp_path / "sys/fs/cgroup/cpu.max"
    quota.parent.mkdir(parents=True)
    quota.write_text("50000 100000")
    assert core_limit(tmp_path, {}).amount == 0.5


@pytest.mark.parametrize("name", ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "NSLOTS"])
def test_a_scheduler_that_gives_one_core_is_obeyed(name: str, tmp_path: Path):
    assert usable_cores(tmp_path, {name: "1"}) == fair_threads(1, tmp_path, {name: "1"}) == 1
    assert usable_cores(tmp_path, {name: str(BOUND + 1)}) == usable_cores(tmp_path, {name: "nonsense"}) == BOUND


@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": f"{(BOUND + 3) * 100000} 100000\n"}),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "nonsense"}),
        ("2:cpu:/\n", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "1"}),
        ("", {}),
    ],
)
def test_without_a_smaller_quota_all_cores_of_the_affinity_mask_are_usable(
    group: str, files: dict[str, str], tmp_path: Path
):
    assert usable_cores(tree(tmp_path, group, files), {}) == BOUND
    assert usable_cores(tmp_path / "no linux", {}) == BOUND


def test_usable_memory_is_limited_by_the_container(tmp_path: Path):
    machine = usable_memory_bytes(tmp_path / "no limit")
    assert machine > 0
    two = tree(tmp_path / "two", "0::/a/b\n", {"sys/fs/cgroup/a/memory.max": f"{GIB // 4}\n"})
    assert usable_memory_bytes(two) == GIB // 4
    one = tree(
        tmp_path / "one", "3:memory:/box\n", {"sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{GIB // 8}\n"}
    )
    assert usable_memory_bytes(one) == GIB // 8
    unlimited = tree(tmp_path / "none", "0::/\n", {"sys/fs/cgroup/memory.max": "max\n"})
    assert usable_memory_bytes(unlimited) == machine


def test_usable_memory_is_limited_by_slurm(tmp_path: Path):
    assert memory_limit(tmp_path, {"SLURM_MEM_PER_NODE": "512"}) == Limit(GIB // 2, "SLURM_MEM_PER_NODE")
    by_core = {"SLURM_MEM_PER_CPU": "256", "SLURM_CPUS_ON_NODE": "3"}
    assert memory_limit(tmp_path, by_core) == Limit(3 * GIB // 4, "SLURM_MEM_PER_CPU")
    assert memory_limit(tmp_path, {"SLURM_MEM_PER_NODE": "0"}) == memory_limit(tmp_path, {})  # all of the node's


@pytest.mark.parametrize(
    ("variable", "threads"), [("1", 1), ("1,4", 1), ("1000", BOUND), ("0", BOUND), ("many", BOUND), ("", BOUND)]
)
def test_threads_are_no_more_than_omp_num_threads(variable: str, threads: int, tmp_path: Path):
    assert fair_threads(1, tmp_path, {"OMP_NUM_THREADS": variable}) == threads
    assert fair_threads(10 * BOUND, tmp_path, {"OMP_NUM_THREADS": variable}) == 1


def test_processes_are_limited_by_the_container(tmp_path: Path):
    assert process_limit(tmp_path / "no limit") is None
    files = {
        "sys/fs/cgroup/a/pids.max": "100\n",
        "sys/fs/cgroup/a/pids.current": "70\n",
        "sys/fs/cgroup/pids.max": "max",
    }
    assert process_limit(tree(tmp_path, "0::/a\n", files)) == Limit(30, "the container's limit")


@pytest.mark.slow
@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
@pytest.mark.parametrize("command", ["doctor", "plan full --device cpu"])
def test_too_little_memory_for_torch_is_one_line(command: str, limit: int):
    ended = subprocess.run(
        [sys.executable, "-m", "deepen", *command.split()],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(limit, (150_000_000, 150_000_000)),
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ") and "torch alone takes" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_limits_need_no_torch():
    code = "import sys, deepen.train.limits; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
