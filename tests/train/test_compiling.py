"""Compiled networks: what torch is told about them, and memory that CUDA graphs overwrite."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils._triton import has_triton

from deepen.data.shards import Dataset
from deepen.errors import InvalidValueError
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder
from deepen.train.compiling import (
    MAX_GRAPHS,
    can_compile_for_gpu,
    check_compiler,
    choose_mode,
    compile_network,
    missing_for_gpu,
)
from deepen.train.settings import TrainSettings
from short_runs import BATCH_TOKENS, CONTEXT, CPU, discard, is_same, short_engine


def test_cuda_graphs_with_sharded_weights_are_refused():
    gpu = torch.device("cuda")
    with pytest.raises(InvalidValueError, match="sharded") as raised:
        check_compiler(TrainSettings(compile="cuda-graphs"), gpu, sharded=True)
    assert raised.value.field == "compile"
    check_compiler(TrainSettings(compile="cuda-graphs"), gpu)
    check_compiler(TrainSettings(compile="yes"), gpu, sharded=True)


def test_cuda_graphs_with_blocks_that_run_forward_twice_are_refused():
    settings = TrainSettings(compile="cuda-graphs", activation_checkpointing=True)
    with pytest.raises(InvalidValueError, match="activation_checkpointing drops them") as raised:
        check_compiler(settings, torch.device("cuda"))
    assert raised.value.field == "compile"


def test_auto_compiles_on_a_gpu_only_and_other_choices_stay():
    assert choose_mode("auto", torch.device("cpu")) == "no"
    for device in (torch.device("cpu"), torch.device("cuda")):
        assert [choose_mode(how, device) for how in ("no", "yes", "cuda-graphs")] == ["no", "yes", "cuda-graphs"]


def test_where_kernels_cannot_be_compiled_auto_is_eager_and_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))  # without a C compiler
    monkeypatch.delenv("CC", raising=False)
    missing = missing_for_gpu(has_triton=has_triton())
    can_compile_for_gpu.cache_clear()
    with caplog.at_level("WARNING", logger="deepen"):
        assert [choose_mode("auto", torch.device("cuda")) for _ in range(2)] == ["no", "no"]
    can_compile_for_gpu.cache_clear()  # what was found without a compiler
    assert [record.getMessage() for record in caplog.records] == [
        f"blocks are not compiled, so training is slower: {missing}"
    ]


def test_kernels_for_a_gpu_need_a_c_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert missing_for_gpu(has_triton=True) == "Triton needs a C compiler: install gcc or clang"
    (tmp_path / "gcc").touch(mode=0o755)
    assert "C compiler" not in missing_for_gpu(has_triton=True)


def test_blocks_are_neither_cut_for_ddp_nor_limited_to_few_graphs(model: ModelConfig):
    compile_network(build(model), "yes", CPU.device)
    assert torch._dynamo.config.optimize_ddp is False
    assert torch._dynamo.config.recompile_limit == MAX_GRAPHS


@pytest.mark.parametrize("cut", [None, 2])
def test_each_pass_is_marked_once_for_cuda_graphs(model: ModelConfig, cut: int | None):
    from torch._inductor.cudagraph_trees import MarkStepBox

    network, tokens_bt = build(model), torch.zeros(2, 8, dtype=torch.int64)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.02)
    before = MarkStepBox.mark_step_counter
    network(tokens_bt, tokens_bt, cut=cut)
    assert MarkStepBox.mark_step_counter == before  # only where graphs are replayed
    network.replays_graphs = True
    network(tokens_bt, tokens_bt, cut=cut)
    network.token_scores(tokens_bt, tokens_bt)
    assert MarkStepBox.mark_step_counter == before - 2


def test_a_sum_of_gradients_survives_graphs_that_overwrite_their_memory(model: ModelConfig, dataset: Dataset):
    """Each forward pass overwrites what the backward pass before it allocated, as a replayed graph does."""
    tokens, states = dataset.tokens("train"), []
    for replays in (False, True):
        engine = short_engine(model, tokens, micro_batch_tokens=CONTEXT)
        engine.model.replays_graphs = replays
        if replays:
            overwrite_gradients(engine.model, micro_batches=BATCH_TOKENS // CONTEXT)
        engine.run(3 * BATCH_TOKENS, discard)
        states.append(engine.state())
    assert is_same(*states)


def overwrite_gradients(network: Decoder, micro_batches: int) -> None:
    """Let each forward pass overwrite the blocks' gradients that the first micro-batch of a step allocated."""
    allocated: list[Tensor] = []
    passes = 0

    def keep(parameter: Tensor) -> None:
        if passes % micro_batches == 1:
            assert parameter.grad is not None
            allocated.append(parameter.grad)

    def overwrite(*_: object) -> None:
        nonlocal passes
        passes += 1
        for gradient in allocated:
            gradient.fill_(math.nan)
        allocated.clear()

    for parameter in network.blocks.parameters():
        parameter.register_post_accumulate_grad_hook(keep)
    network.register_forward_pre_hook(overwrite)
