from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.study.define.executor import EXECUTORS, ExecutorChoice, local


def test_an_executor_is_parsed_with_its_options():
    assert ExecutorChoice.parse("local") == ExecutorChoice() and ExecutorChoice.parse("local:2") == local(2)
    assert ExecutorChoice.parse("slurm") == ExecutorChoice(kind="slurm")
    slurm = ExecutorChoice.parse("slurm:partition=gpu,time=60,mem_gb=0.5,cpus_per_task=8,jobs=12")
    options = {"partition": "gpu", "time": 60, "mem_gb": 0.5, "cpus_per_task": 8}
    assert slurm == ExecutorChoice(kind="slurm", jobs=12, threads=8, slurm=options)
    dask = ExecutorChoice(kind="dask", address="tcp://node-1:8786", threads=4)
    assert ExecutorChoice.parse("dask:tcp://node-1:8786,threads=4") == dask


@pytest.mark.parametrize("example", EXECUTORS.values())
def test_the_examples_of_the_help_are_right(example: str):
    text = example[example.index("(") + 1 : -1]
    assert text.startswith(ExecutorChoice.parse(text).kind)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is unknown: use local"),
        ("slrum", "did you mean 'slurm'"),
        ("local:", "local:N is '': it must be a whole number"),
        ("local:1.5", "must be a whole number"),
        ("local:0", "local:N is 0: it must be at least 1"),
        ("local:2000", "at most 1,024"),
        ("slurm:partitio=gpu", "did you mean 'partition'"),
        ("slurm:partition", "partition is empty"),
        ("slurm:qos=\0", "zero byte"),
        ("slurm:mem_gb=lots", "mem_gb is 'lots': it must be a number"),
        ("slurm:mem_gb=nan", "mem_gb is 'nan': it must be a number"),
        ("slurm:mem_gb=0", "mem_gb is 0: it must be above 0"),
        ("slurm:cluster=pbs", "cluster 'pbs' is unknown"),
        ("slurm:time=1,time=2", "time is given twice"),
        ("dask", "dask names no scheduler"),
        ("dask:http://host:80", "dask names no scheduler"),
        ("dask:tcp://host:8786,threads=0", "threads is 0"),
    ],
)
def test_a_wrong_executor_is_refused(text: str, problem: str):
    with pytest.raises(InvalidValueError) as wrong:
        ExecutorChoice.parse(text)
    assert problem in str(wrong.value) and wrong.value.field == "executor"


def test_all_problems_are_reported_together():
    with pytest.raises(InvalidValueError, match=r"time is 0.*; qos is empty.*; 'x' is unknown"):
        ExecutorChoice.parse("slurm:time=0,qos=,x=1")


@pytest.mark.parametrize("name", ["jobs", "threads"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_jobs_and_threads_are_whole_numbers(name: str, value: Any):
    with pytest.raises(InvalidValueError, match=f"{name} is .*: it must be a whole number, at least 1") as wrong:
        ExecutorChoice(**{name: value})
    assert wrong.value.field == name
