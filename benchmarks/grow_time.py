"""How fast a checkpoint grows, beside a plain copy of as many bytes.

    python benchmarks/grow_time.py --gb 1 --folder /tmp/grow

Makes a Llama checkpoint of random bytes in bf16 and grows it from 16 to 24 blocks, with each operator. A plain
copy of the result (`shutil.copyfile`, then fsync, as growing does) takes turns with it, because the load of a
machine and of its disk varies. Growing should take at most 1.5 times as long. The peak of the process's memory is
printed too: it does not depend on the size of the checkpoint.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deepen import durable
from deepen.growth.spec import Growth
from deepen.interop.checkpoint import read_hugging_face_checkpoint
from deepen.interop.growing import grow_checkpoint

WIDTH, VOCAB, OLD_DEPTH, NEW_DEPTH = 2048, 32_000, 16, 24
OPERATORS = ("interleave", "copy-zero", "random")
_PIECE = 1 << 24


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=1.0, help="size of the checkpoint (default 1)")
    parser.add_argument("--turns", type=int, default=5, help="how often each is timed (default 5)")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        write_checkpoint(folder / "small", int(args.gb * 1e9))
        for operator in OPERATORS:
            measure(folder, operator, args.turns)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak memory of this process {peak / 1e9:.2f} GB, of which Python, torch and transformers take most")


def measure(folder: Path, operator: str, turns: int) -> None:
    small, out, copy = folder / "small", folder / "out", folder / "copy"
    growing, copying = [], []
    for _ in range(turns):
        growing.append(seconds(lambda: grow(small, out, operator)))
        copying.append(seconds(lambda: copy_folder(out, copy)))
        size = sum(path.stat().st_size for path in out.iterdir())
        shutil.rmtree(out)
        shutil.rmtree(copy)
    grown, copied = statistics.median(growing), statistics.median(copying)
    print(
        f"{operator:10}  {size / 1e9:.2f} GB written  growing {grown:.2f} s, {size / grown / 1e6:,.0f} MB/s  "
        f"copying {copied:.2f} s, {size / copied / 1e6:,.0f} MB/s  ratio {grown / copied:.2f}"
    )


def grow(small: Path, out: Path, operator: str) -> None:
    checkpoint = read_hugging_face_checkpoint(small)
    grow_checkpoint(checkpoint, out, depth=NEW_DEPTH, growth=Growth(operator=operator))


def copy_folder(source: Path, target: Path) -> None:
    target.mkdir()
    for path in source.iterdir():
        shutil.copyfile(path, target / path.name)
        durable.fsync(target / path.name)
    durable.fsync(target)


def seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def write_checkpoint(folder: Path, size: int) -> None:
    """A Llama checkpoint of about `size` bytes, whose MLP is as wide as that takes."""
    folder.mkdir()
    outside = {"model.embed_tokens.weight": (VOCAB, WIDTH), "model.norm.weight": (WIDTH,)}
    left = size // 2 - VOCAB * WIDTH - OLD_DEPTH * 4 * WIDTH * WIDTH
    mlp = max(64, left // (OLD_DEPTH * 3 * WIDTH) // 64 * 64)
    block = {
        **{f"self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"},
        **{f"mlp.{name}_proj.weight": (mlp, WIDTH) for name in ("gate", "up")},
        "mlp.down_proj.weight": (WIDTH, mlp),
        "input_layernorm.weight": (WIDTH,),
        "post_attention_layernorm.weight": (WIDTH,),
    }
    shapes = outside | {
        f"model.layers.{number}.{name}": shape for number in range(OLD_DEPTH) for name, shape in block.items()
    }
    header, end = {}, 0
    for name, shape in shapes.items():
        count = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + count]}
        end += count
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for begin in range(0, end, _PIECE):
            file.write(os.urandom(min(_PIECE, end - begin)))
    config = {
        "model_type": "llama",
        "num_hidden_layers": OLD_DEPTH,
        "hidden_size": WIDTH,
        "intermediate_size": mlp,
        "num_attention_heads": 16,
        "vocab_size": VOCAB,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
