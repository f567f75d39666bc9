"""`deepen export CKPT -o DIR`: a checkpoint in the format of other people's tools."""

from deepen.cli.commands.stopping import stop_at_signals
from deepen.cli.output.progress import show_progress
from deepen.cli.output.tables import print_lines
from deepen.cli.requests.export import ExportRequest
from deepen.interop.export import export_hugging_face
from deepen.report.units import counted
from deepen.study.run.progress import Preparation


def run(request: ExportRequest) -> int:
    """Write the folder and list its files."""
    checkpoint = request.checkpoint
    with stop_at_signals() as check_stop, show_progress("export") as show:

        def on_share(share: float) -> None:
            check_stop()
            show(Preparation(f"writing {request.out}", share))

        export_hugging_face(
            checkpoint,
            request.out,
            dtype=request.dtype,
            shard_bytes=request.shard_bytes,
            on_share=on_share,
        )
    model = checkpoint.model
    files = {path.name: path.stat().st_size for path in sorted(request.out.iterdir())}
    print_lines([
        *(f"{name}: {counted(size, 'byte')}" for name, size in files.items()),
        f"{request.out}: {model.parameters:,} parameters in {counted(model.depth, 'block')}, {request.dtype}; "
        f'load it with AutoModelForCausalLM.from_pretrained("{request.out}")',
    ])  # fmt: skip
    if checkpoint.tokenizer is None:
        print_lines(["It has no tokenizer, because the checkpoint has none: put tokenizer.json there"])
    return 0
