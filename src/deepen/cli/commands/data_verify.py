"""`deepen data verify DIR`: whether every shard of a folder is what it should be."""

import json

from deepen.cli.output.progress import show_progress
from deepen.cli.output.tables import print_lines
from deepen.cli.requests.data_verify import VerifyRequest
from deepen.cli.requests.parser import describe_errors
from deepen.data.description import FILE
from deepen.data.verify import Verification, verify_dataset
from deepen.report.units import counted
from deepen.study.run.progress import as_preparation


def verify(request: VerifyRequest) -> int:
    """Verify the folder; the exit code is 1 where anything is wrong."""
    with show_progress(request.folder.name) as on_progress:
        found = verify_dataset(
            request.folder,
            as_preparation(on_progress),
            dtype=request.data_dtype,
            tokenizer=request.tokenizer,
        )
    if request.as_json:
        print(json.dumps(_to_json(request, found), indent=1))
    else:
        print_lines([*_problem_lines(found), _summarize(request, found)])
    return 1 if found.problems else 0


def _problem_lines(found: Verification) -> list[str]:
    return [line for error in found.problems for line in describe_errors(error, VerifyRequest.command)]


def _to_json(request: VerifyRequest, found: Verification) -> dict[str, object]:
    return {
        "folder": str(request.folder),
        "problems": _problem_lines(found),
        "tokens": {split: sum(map(len, shards)) for split, shards in found.shards.items()},
        "shards": {
            split: [
                {
                    "file": str(shard.path.relative_to(request.folder)),
                    "format": shard.layout.format,
                    "dtype": shard.layout.dtype,
                    "tokens": len(shard),
                    "highest": shard.highest,
                    "sha256": shard.sha256,
                }
                for shard in shards
            ]
            for split, shards in found.shards.items()
        },
        "tokenizer_sha256": found.tokenizer.sha256 if found.tokenizer else "",
    }


def _summarize(request: VerifyRequest, found: Verification) -> str:
    """What was read, with what it was compared, and whether anything is wrong, in a line."""
    shards = [shard for split in found.shards.values() for shard in split]
    train, held_out = (sum(map(len, found.shards[split])) for split in ("train", "validation"))
    line = (
        f"{request.folder}: {counted(len(shards), 'shard')}, {counted(train, 'token')} to train on, "
        f"{held_out:,} held out"
    )
    if shards:
        line += f", the highest {max(shard.highest for shard in shards):,}"
    if found.problems:
        return f"{line}; {counted(len(found.problems), 'problem')}"
    compared = ["sizes as the headers claim"] if any(each.layout.format != "raw" for each in shards) else []
    if found.description:
        compared.append(f"all as {FILE} describes")
    if found.tokenizer:
        compared.append(f"all in the tokenizer's vocabulary of {found.tokenizer.vocab:,}")
    return "; ".join([line, *compared, "nothing is wrong"])
