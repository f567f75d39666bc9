"""What `study` and `train` share: check everything, train, judge, draw, print."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from deepen import __version__
from deepen.cli.options import Problems, Stopped
from deepen.cli.tables import print_lines, print_table
from deepen.study.arms import Study, marks_of

if TYPE_CHECKING:
    from deepen.study.store import Store

RUNS = "deepen-runs"
"""Where results go, below the current folder, when --out is left out."""

OUT_HELP = f"folder of the results (default: {RUNS}/NAME below the current folder)"


def conduct(study: Study, out: Path, jobs: int | None) -> dict[str, Any]:
    """Run a study to its end in `out` and draw its report; returns results.json's content.

    Every problem of the request is found before anything is written.
    """
    import torch

    from deepen.data.shards import Dataset
    from deepen.data.sources import EMBEDDED, prepare
    from deepen.data.tokenizers import load_tokenizer
    from deepen.evaluate.hellaswag import read_items
    from deepen.report import write_report
    from deepen.study.results import collect
    from deepen.study.run import Interrupted, run_tree
    from deepen.study.store import Store, write_json
    from deepen.study.tree import grow_tree
    from deepen.train.checkpoint import StateError
    from deepen.train.device import cores, pick_device
    from deepen.train.engine import TrainingError

    store, console, began = Store(out), Console(stderr=True), time.monotonic()
    progress = ProgressLine(console, study.name)
    problems: list[str] = []
    dataset: Dataset | None = None

    def open_named_data() -> None:
        nonlocal dataset
        if study.data != EMBEDDED:
            dataset = prepare(study.data, study.model.vocab, out / "data")
            dataset.check_context(study.context)
            if study.evaluation.hellaswag:
                load_tokenizer(dataset.folder)

    checks: list[Callable[[], object]] = [
        *(partial(marks_of, study, arm) for arm in study.arms),
        partial(store.check, study.described()),
        open_named_data,
        lambda: study.evaluation.hellaswag and read_items(Path(study.evaluation.hellaswag)),
    ]
    for check in checks:
        try:
            check()
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise Problems(list(dict.fromkeys(problems)))

    if study.evaluation.hellaswag_every_tokens and not study.evaluation.hellaswag:
        console.print("HellaSwag is not evaluated: name its JSONL file with --hellaswag")
    jobs = jobs or (1 if pick_device().type == "cuda" else cores())

    def results_so_far() -> dict[str, Any]:
        assert dataset is not None
        spent = before + (time.monotonic() - began if progress.trained_here else 0.0)
        results = collect(study, tree, store, dataset, machine_name(), spent)
        write_json(out / "results.json", results)
        write_report(out)
        return results

    try:
        with store.lock():
            dataset = dataset or prepare(study.data, study.model.vocab, out / "data")
            tree = grow_tree(study, dataset.fingerprint)
            threads = store.recorded("threads") or max(1, cores() // jobs)
            about = about_machine() | {"data_fingerprint": dataset.fingerprint, "jobs": jobs, "threads": threads}
            store.open(study.described(), about)
            before = store.wall_seconds()
            try:
                with progress:
                    run_tree(study, tree, dataset, out, progress.report, jobs=jobs, threads=threads)
            except Interrupted:
                results_so_far()
                raise
            return results_so_far()
    except Interrupted:
        raise Stopped(130, f"stopped; every step so far is kept in {out}: the same command continues") from None
    except BrokenProcessPool:
        raise Stopped(1, f"a worker process died (out of memory?); {_kept(store)}") from None
    except (TrainingError, StateError) as error:
        raise Stopped(1, f"the run failed: {error}; {_kept(store)}") from None
    except (MemoryError, torch.OutOfMemoryError):
        raise Stopped(1, f"out of memory: use a smaller --batch-tokens or --context; {_kept(store)}") from None
    except OSError as error:
        why = f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
        raise Stopped(1, f"cannot write or read: {why}; {_kept(store)}") from None
    except ValueError as error:
        raise Problems([str(error)]) from None


def _kept(store: "Store") -> str:
    """Which complete state there is to go on from, in words."""
    newest = store.newest_state()
    kept = f"the last complete state is {newest}" if newest else f"no state is complete in {store.folder} yet"
    return f"{kept}; once the cause is mended, the same command continues"


def machine_name() -> str:
    """Processor, cores and torch, for people."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, torch {torch.__version__}"


def about_machine() -> dict[str, Any]:
    """Versions and machine, for study.json."""
    import torch

    return {
        "versions": {"deepen": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": machine_name(),
    }


class ProgressLine:
    """How much of the compute is done: a line at every tenth, or one that moves on a terminal."""

    def __init__(self, console: Console, name: str) -> None:
        self.console, self.name, self.began, self.tenth = console, name, time.monotonic(), -1
        self.first: int | None = None
        self.last = 0

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *problem: object) -> None:
        if self.console.is_terminal:
            self.console.print()

    @property
    def trained_here(self) -> bool:
        """Whether anything was trained since the beginning."""
        return self.first is not None and self.last > self.first

    def report(self, trained: int, total: int) -> None:
        """Show it."""
        self.last = trained
        if self.first is None:
            self.first = trained
            if trained == total:
                self.console.print(f"{self.name}: all segments are there, nothing to train")
                return
        spent, done = time.monotonic() - self.began, trained - self.first
        left = f", about {spent * (total - trained) / done:.0f} s left" if done and trained < total else ""
        line = f"{self.name}: {100 * trained / total:.0f} % of {total:.3g} FLOPs, {spent:.0f} s{left}"
        if self.console.is_terminal:
            self.console.print(f"\r\x1b[K{line}", end="")
        elif 10 * trained // total > self.tenth:
            self.tenth = 10 * trained // total
            self.console.print(line)


def print_results(results: dict[str, Any], out: Path) -> None:
    """The verdict table, the sentences, and where the report is."""
    columns = (
        "<arm",
        "<equal",
        "loss",
        "difference",
        "95 % interval",
        "multiplier",
        "tokens",
        "seconds",
        "peak MB",
    )
    rows = [*_baseline_rows(results), *(_verdict_row(verdict) for verdict in results["verdicts"])]
    print_table(f"{results['study']}: validation loss at equal compute", columns, rows)
    noise, sharing, regime = results["noise"], results["sharing"], results["regime"]
    lines = [verdict["sentence"] for verdict in results["verdicts"]]
    if noise["baseline_seed_std"] is not None:
        lines.append(
            f"Noise: standard deviation of the baseline's loss between seeds {noise['baseline_seed_std']:.4f}; "
            f"residual spread over all arms {noise['residual_std'] or 0:.4f} "
            f"({noise['degrees_of_freedom']} degrees of freedom)."
        )
    lines += [
        f"Regime: {regime['model']}, {regime['tokens_per_parameter']:.1f} tokens per non-embedding parameter.",
        f"Sharing: {sharing['tokens_trained']:,} tokens trained instead of {sharing['tokens_if_separate']:,}.",
        f"Wall time: {regime['wall_seconds']:.0f} s.",
        f"Report: {out / 'report' / 'index.html'}",
    ]
    print_lines(lines)


def _baseline_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    arms = [arm for arm in results["arms"] if arm["name"] == results["baseline"]]
    marks = [mark for arm in arms for mark in arm["marks"] if mark["budget_share"] == 1.0]
    if not marks:
        return []
    loss, tokens, seconds = (statistics.fmean(m[key] for m in marks) for key in ("val_loss", "tokens", "seconds"))
    peak = max(arm["peak_memory_bytes"] for arm in arms)
    name = results["baseline"]
    return [
        (
            name,
            "baseline",
            f"{loss:.4f}",
            "",
            "",
            "1.00",
            f"{tokens:,.0f}",
            f"{seconds:.0f}",
            f"{peak / 1e6:.0f}",
        )
    ]


def _verdict_row(verdict: dict[str, Any]) -> tuple[str, ...]:
    interval, multiplier = verdict["interval"], verdict["compute_multiplier"]
    bound = {"above": "> ", "below": "< ", None: ""}[verdict["multiplier_bound"]]
    return (
        verdict["arm"],
        {"flops": "exact FLOPs", "paper": "paper's mark"}[verdict["accounting"]],
        f"{verdict['loss']:.4f}",
        f"{verdict['difference']:+.4f}",
        f"{interval[0]:+.4f} {interval[1]:+.4f}" if interval else "one seed",
        f"{bound}{multiplier:.2f}" if multiplier else "–",
        f"{verdict['tokens']:,}",
        f"{verdict['seconds']:.0f}",
        f"{verdict['peak_memory_bytes'] / 1e6:.0f}",
    )
