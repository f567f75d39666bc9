"""The limits of a container, read from the files of control groups of both versions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepen.train.limits import fair_threads, usable_cores, usable_memory_bytes

BOUND = len(os.sched_getaffinity(0))
GIB = 1 << 30


def tree(root: Path, group: str, files: dict[str, str]) -> Path:
    """Write the files of a system whose process is in `group`."""
    for path, text in {"proc/self/cgroup": group, **files}.items():
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
    assert usable_cores(tree(tmp_path, group, files)) == BOUND
    assert usable_cores(tmp_path / "no linux") == BOUND


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


@pytest.mark.parametrize(
    ("variable", "threads"), [("1", 1), ("1,4", 1), ("1000", BOUND), ("0", BOUND), ("many", BOUND), ("", BOUND)]
)
def test_threads_are_no_more_than_omp_num_threads(
    variable: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert fair_threads(1, tmp_path) == threads
    assert fair_threads(10 * BOUND, tmp_path) == 1


def test_limits_need_no_torch():
    code = "import sys, deepen.train.limits; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
