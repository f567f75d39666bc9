"""`deepen verify STUDY`: train a segment of a study again, and compare."""

import json
from dataclasses import asdict

from deepen.cli.commands.stopping import stop_at_signals
from deepen.cli.output.progress import show_progress
from deepen.cli.output.tables import numbers, print_sentences, print_table, text
from deepen.cli.requests.verify import VerifyRequest
from deepen.report.units import counted
from deepen.study.store.study_folder import Store
from deepen.study.verify.agreement import Agreement, QuantityComparison
from deepen.study.verify.verify import Verification, verify


def run(request: VerifyRequest) -> int:
    """Train the segment and print what agrees; the exit code is 1 where something differs."""
    with show_progress("verify") as on_progress, stop_at_signals() as check_stop:
        found = verify(
            Store(request.folder),
            key=request.segment,
            arm=request.arm,
            draw=request.draw,
            from_start=request.from_start,
            steps=request.steps,
            data=request.data,
            study=request.study,
            check_stop=check_stop,
            on_progress=on_progress,
        )
    if request.as_json:
        facts = {"agreement": found.agreement, "draw": request.draw} | asdict(found)
        print(json.dumps(_without_infinity(facts), indent=1))
    else:
        _print(found, request)
    return 0 if found.is_confirmed else 1


def _print(found: Verification, request: VerifyRequest) -> None:
    drawn = f", drawn from {found.candidates} with --draw {request.draw}" if not request.segment else ""
    start = f"the saved state of segment {found.trained_from}" if found.trained_from else "a new model"
    print_sentences([
        f"Segment {found.key}{drawn}: phase {found.label!r} of {', '.join(found.arms)}, seed {found.seed}, "
        f"tokens {found.start:,} to {found.end:,}",
    ])  # fmt: skip
    columns = [text("quantity"), numbers("compared"), text("agreement"), numbers("largest difference")]
    rows = [
        [each.what, f"{each.compared:,}", _describe(each), f"{each.largest:.2g}"] for each in found.comparisons
    ]
    if any(each.allowed for each in found.comparisons):
        columns.append(numbers("allowed there"))
        for row, each in zip(rows, found.comparisons, strict=True):
            row.append(f"{each.allowed:.2g}")
    title = f"Trained again from {start}: {counted(found.steps, 'step')}, {found.tokens:,} tokens"
    print_table(title, columns, rows)
    for task, why in found.not_compared.items():
        print_sentences([f"Not compared: {task}, as {why}"])
    print_sentences([*_describe_results(found), *_conclude(found)])


def _describe(comparison: QuantityComparison) -> str:
    if comparison.differs_at is None:
        return str(comparison.agreement)
    return f"{comparison.agreement} from {comparison.differs_at:,} tokens on"


def _describe_results(found: Verification) -> list[str]:
    results = found.results
    lines = [f"{problem}." for problem in results.problems]
    if not results.problems:
        lines = [f"results.json has the losses of the logs ({counted(results.marks, 'mark')})."]
    return lines + [f"{outcome}." for outcome in results.other_outcomes]


def _conclude(found: Verification) -> list[str]:
    where = f" ({'; '.join(found.differences)})" if found.differences else f" on {found.machine}"
    if found.agreement is Agreement.DIFFERS:
        return [f"The recorded losses are NOT what this training gives{where}."]
    lines = [f"The recorded losses are reproduced {found.agreement}{where}."]
    if found.agreement is Agreement.WITHIN_ROUNDING and found.telling_steps < found.steps:
        lines.append(
            f"Only the first {found.telling_steps:,} of {counted(found.steps, 'step')} can tell: later, rounding "
            "moves a loss by more than a third of the scatter between batches."
        )
    if found.trained_from:
        lines.append("The saved state is taken as it is: --from-start trains what led to it, too.")
    return lines


def _without_infinity(value: object) -> object:
    """The same with null for infinite numbers, which JSON has not."""
    if isinstance(value, dict):
        return {key: _without_infinity(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(each) for each in value]
    return None if value in (float("inf"), float("-inf")) else value
