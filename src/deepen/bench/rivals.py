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
from deepen.train.device import autocast, wait_for

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What everybody is given.

    Args:
        model: trained at full depth.
        rows: tokens, (any, context + 1), taken in turn.
        sequences: of a step.
        precision: fp32 or bf16 (autocast).
        device: where.
    """

    model: ModelConfig
    rows: Tensor
    sequences: int
    precision: str
    device: torch.device

    def turns(self, step: Callable[[Tensor], None]) -> Turn:
        """Turns of a loop around one step of somebody's, which is given its rows on the device."""
        batches = self._batches()

        def turn(steps: int) -> list[float]:
            seconds = []
            for _ in range(steps):
                began = time.perf_counter()
                step(next(batches))
                wait_for(self.device)
                seconds.append(time.perf_counter() - began)
            return seconds

        return turn

    def _batches(self) -> Iterator[Tensor]:
        rows = self.rows.to(self.device)
        while True:
            for begin in range(0, len(rows) - self.sequences + 1, self.sequences):
                yield rows[begin : begin + self.sequences]


def rival(name: str, task: Task) -> Turn:
    """A rival ready to take steps: transformers, litgpt, or loop, a plain one around our network, compiled."""
    make = {"transformers": _transformers, "litgpt": _litgpt, "loop": _loop}[name]
    with _quiet():
        return make(task)


def _transformers(task: Task) -> Turn:
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    network = hugging_face_model(task.model)
    data = [{"input_ids": row[:-1], "labels": row[:-1]} for row in task.rows]  # it shifts labels itself

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *_: object, **__: object) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: object, **__: object) -> None:
            wait_for(task.device)
            self.seconds.append(time.perf_counter() - self.began)

    def turn(steps: int) -> list[float]:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder, _quiet():
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=task.sequences,
                max_steps=steps,
                optim="adamw_torch_fused",
                bf16=task.precision == "bf16",
                use_cpu=task.device.type == "cpu",
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


def _litgpt(task: Task) -> Turn:
    """litgpt has no learned positions and no tied head: of a GPT-2 it takes the nearest that it can build."""
    from lightning.fabric import Fabric
    from litgpt.model import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    model = task.model
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
    fabric = Fabric(devices=1, precision="bf16-mixed" if task.precision == "bf16" else "32-true")
    network = GPT(config)
    network, optimizer = fabric.setup(network, _adamw(network))

    def step(row: Tensor) -> None:
        loss = chunked_cross_entropy(network(row[:, :-1]), row[:, 1:])
        fabric.backward(loss)
        fabric.clip_gradients(network, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()

    return task.turns(step)


def _loop(task: Task) -> Turn:
    """The loop that a good hand writes: our network, compiled whole with its loss, fused AdamW, nothing else."""
    model = task.model
    network = build(model, model.depth).to(task.device)
    network.load_state_dict(init_weights(model, model.depth, seed=0))

    def loss_of(row: Tensor) -> Tensor:
        logits_btv = network(row[:, :-1])
        return torch.nn.functional.cross_entropy(logits_btv.float().flatten(0, 1), row[:, 1:].flatten())

    compiled, optimizer = torch.compile(loss_of), _adamw(network)

    def step(row: Tensor) -> None:
        with autocast(task.device, task.precision):
            loss = compiled(row)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return task.turns(step)


def _adamw(network: torch.nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=0.1, betas=(0.9, 0.95), fused=True)


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
