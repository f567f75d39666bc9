"""What a user would pick instead, taking steps of the same size: Hugging Face's Trainer, litgpt's, a plain loop.

Each is given its own defaults but for what is compared: sizes, batch, context, precision, fused AdamW, clipping.
The libraries are optional and imported here only.
"""

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.train.device import autocast, pick_device, wait_for

Turn = Callable[[int], list[float]]
"""Takes so many steps and returns the seconds of each."""

ROUNDS = 5
"""Turns of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What somebody's steps took: medians over all turns. `ratio` is deepen's tokens a second ÷ theirs."""

    name: str
    tokens_per_second: float
    fastest_tokens_per_second: float
    ratio: float


def race(names: Sequence[str], ours: Turn, rivals: Sequence[Turn], batch_tokens: int, steps: int) -> list[Pace]:
    """Deepen, first, and its rivals taking turns, so that a machine that slows down slows all alike.

    Args:
        names: of the rivals.
        ours, rivals: ready to take steps.
        batch_tokens: tokens of a step.
        steps: counted of each, in ROUNDS turns; the first of every turn does not count.
    """
    taken: list[list[float]] = [[] for _ in (ours, *rivals)]
    for turn in range(ROUNDS):
        counted = (turn + 1) * steps // ROUNDS - turn * steps // ROUNDS
        for seconds, take in zip(taken, (ours, *rivals), strict=True):
            seconds += take(1 + counted)[1:] if counted else []
    medians = [statistics.median(seconds) for seconds in taken]
    return [
        Pace(
            name=name,
            tokens_per_second=batch_tokens / median,
            fastest_tokens_per_second=batch_tokens / min(seconds),
            ratio=median / medians[0],
        )
        for name, median, seconds in zip(("deepen", *names), medians, taken, strict=True)
    ]


def rival(name: str, model: ModelConfig, rows: Tensor, batch_tokens: int, context: int, precision: str) -> Turn:
    """A rival ready to take steps.

    Args:
        name: transformers, litgpt, or loop: a plain loop around our network, compiled whole.
        model: trained at full depth.
        rows: tokens, (sequences, context + 1), taken in turn.
        batch_tokens, context: of a step, in tokens.
        precision: fp32 or bf16 (autocast).
    """
    make = {"transformers": _transformers, "litgpt": _litgpt, "loop": _loop}[name]
    with _quiet():
        return make(model, rows, batch_tokens // context, precision)


def _transformers(model: ModelConfig, rows: Tensor, batch: int, precision: str) -> Turn:
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    network, device = hugging_face_model(model), pick_device()
    data = [{"input_ids": row[:-1], "labels": row[:-1]} for row in rows]  # it shifts labels itself

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *_: object, **__: object) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: object, **__: object) -> None:
            wait_for(device)
            self.seconds.append(time.perf_counter() - self.began)

    def turn(steps: int) -> list[float]:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder, _quiet():
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=batch,
                max_steps=steps,
                optim="adamw_torch_fused",
                bf16=precision == "bf16",
                use_cpu=device.type == "cpu",
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
            )
            trainer = Trainer(model=network, args=arguments, train_dataset=data, callbacks=[clock])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return clock.seconds

    return turn


def hugging_face_model(model: ModelConfig) -> Any:
    """Hugging Face's network of the same family and sizes, with fresh weights and no dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    if model.family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                n_layer=model.depth,
                n_embd=model.width,
                n_head=model.heads,
                n_inner=model.mlp,
                vocab_size=model.vocab,
                n_positions=model.context,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                use_cache=False,
                tie_word_embeddings=model.tied,
            )
        )
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=model.vocab,
            hidden_size=model.width,
            intermediate_size=model.mlp,
            num_hidden_layers=model.depth,
            num_attention_heads=model.heads,
            num_key_value_heads=model.kv_heads,
            max_position_embeddings=model.context,
            tie_word_embeddings=model.tied,
            use_cache=False,
        )
    )


def _litgpt(model: ModelConfig, rows: Tensor, batch: int, precision: str) -> Turn:
    """litgpt has no learned positions and no tied head: of a GPT-2 it takes the nearest that it can build."""
    from lightning.fabric import Fabric
    from litgpt.model import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    llama = model.family == "llama"
    config = Config(
        n_layer=model.depth,
        n_embd=model.width,
        n_head=model.heads,
        n_query_groups=model.kv_heads,
        block_size=model.context,
        padded_vocab_size=model.vocab,
        intermediate_size=model.mlp,
        rotary_percentage=1.0 if llama else 0.0,
        parallel_residual=False,
        bias=not llama,
        norm_class_name="RMSNorm" if llama else "LayerNorm",
        mlp_class_name="LLaMAMLP" if llama else "GptNeoxMLP",
    )
    device = pick_device()
    fabric = Fabric(devices=1, precision="bf16-mixed" if precision == "bf16" else "32-true")
    network = GPT(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=0.1, betas=(0.9, 0.95), fused=True)
    network, optimizer = fabric.setup(network, optimizer)
    batches = _endless(rows.to(fabric.device), batch)

    def turn(steps: int) -> list[float]:
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            row = next(batches)
            loss = chunked_cross_entropy(network(row[:, :-1]), row[:, 1:])
            fabric.backward(loss)
            fabric.clip_gradients(network, optimizer, max_norm=1.0)
            optimizer.step()
            optimizer.zero_grad()
            wait_for(device)
            seconds.append(time.perf_counter() - began)
        return seconds

    return turn


def _loop(model: ModelConfig, rows: Tensor, batch: int, precision: str) -> Turn:
    """The loop that a good hand writes: our network, compiled whole with its loss, fused AdamW, nothing else."""
    device = pick_device()
    network = build(model, model.depth).to(device)
    network.load_state_dict(init_weights(model, model.depth, seed=0))

    def loss_of(row: Tensor) -> Tensor:
        logits_btv = network(row[:, :-1])
        return torch.nn.functional.cross_entropy(logits_btv.float().flatten(0, 1), row[:, 1:].flatten())

    compiled = torch.compile(loss_of)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=0.1, betas=(0.9, 0.95), fused=True)
    batches = _endless(rows.to(device), batch)

    def turn(steps: int) -> list[float]:
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            with autocast(device, precision):
                loss = compiled(next(batches))
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            wait_for(device)
            seconds.append(time.perf_counter() - began)
        return seconds

    return turn


def _endless(rows: Tensor, batch: int) -> Iterator[Tensor]:
    while True:
        for begin in range(0, len(rows) - batch + 1, batch):
            yield rows[begin : begin + batch]


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what libraries tell while they are set up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
