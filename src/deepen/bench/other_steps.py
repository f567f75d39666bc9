"""Time steps of full training by other trainers: Hugging Face's Trainer, litgpt's pieces, a plain loop.

Each keeps its own defaults except for what must be equal: sizes, batch, micro-batch, context, precision, fused
AdamW, clipping. Their libraries are optional and imported only in the functions below (see `other_trainers.py`).

Shapes: b sequences, t tokens, v vocabulary.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from deepen.bench.pace import TakeSteps
from deepen.bench.workload import Workload
from deepen.interop.hugging_face.config import make_config
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.train.device import autocast


def build_trainer(name: str, workload: Workload) -> TakeSteps:
    """Make a trainer of `other_trainers.OTHER_TRAINERS` ready to take steps of a workload."""
    with _silenced():
        return BUILDERS[name](workload)


def _time_steps(
    workload: Workload, add_gradients: Callable[[Tensor, float], None], update: Callable[[], None]
) -> TakeSteps:
    """Time the steps of a loop.

    Args:
        workload: what is trained.
        add_gradients: adds the gradients of a micro-batch: of its rows (b, t + 1), and its share of the batch.
        update: takes an optimizer step, and drops the gradients.
    """
    batches, size, stopwatch = _batches(workload), workload.micro_batch_rows, workload.stopwatch

    def step() -> None:
        micro_batches = torch.split(next(batches), size)
        for rows_bt in micro_batches:
            add_gradients(rows_bt, 1 / len(micro_batches))
        update()

    def take_steps(warm_up: int, count: int) -> float:
        for _ in range(warm_up):
            step()
        began = stopwatch.read()
        for _ in range(count):
            step()
        return (stopwatch.read() - began) / count

    return take_steps


def _batches(workload: Workload) -> Iterator[Tensor]:
    rows, size = workload.rows().to(workload.device), workload.batch_tokens // workload.context
    while True:
        for first in range(0, len(rows) - size + 1, size):
            yield rows[first : first + size]


def _build_transformers(workload: Workload) -> TakeSteps:
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    network = hugging_face_model(workload.model)
    data = [{"input_ids": row[:-1], "labels": row[:-1]} for row in workload.rows()]  # the model shifts the labels

    size, stopwatch = workload.micro_batch_rows, workload.stopwatch

    class Clock(TrainerCallback):  # type: ignore[misc]
        """The time when the first measured step begins, and when the last one ends."""

        def __init__(self, warm_up: int) -> None:
            self.warm_up = warm_up

        def on_step_begin(self, _arguments: object, state: Any, _control: object, **_: object) -> None:
            if state.global_step == self.warm_up:
                self.began = stopwatch.read()

        def on_step_end(self, _arguments: object, state: Any, _control: object, **_: object) -> None:
            if state.global_step == state.max_steps:
                self.ended = stopwatch.read()

    def take_steps(warm_up: int, count: int) -> float:
        clock = Clock(warm_up)
        with tempfile.TemporaryDirectory() as folder, _silenced():
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=size,
                gradient_accumulation_steps=workload.batch_tokens // workload.context // size,
                max_steps=warm_up + count,
                optim="adamw_torch_fused",
                bf16=workload.settings.uses_bf16,
                use_cpu=workload.device.type == "cpu",
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
            )
            trainer = Trainer(model=network, args=arguments, train_dataset=data, callbacks=[clock])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return (clock.ended - clock.began) / count

    return take_steps


def hugging_face_model(model: ModelConfig) -> Any:
    """Hugging Face's network of the same family and sizes, with fresh weights and no dropout."""
    from transformers import AutoConfig, AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**make_config(model), use_cache=False))


def _build_litgpt(workload: Workload) -> TakeSteps:
    """litgpt has neither learned positions nor a tied head, so a GPT-2 becomes the nearest model that it has."""
    from lightning.fabric import Fabric
    from litgpt.model import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    model = workload.model
    family = FAMILIES[model.family]
    config = Config(
        n_layer=model.depth,
        n_embd=model.width,
        n_head=model.heads,
        n_query_groups=model.kv_heads,
        block_size=model.context,
        padded_vocab_size=model.vocab,
        intermediate_size=model.mlp,
        rotary_percentage=0.0 if family.has_position_table else 1.0,
        parallel_residual=False,
        bias=family.norms_have_biases,
        norm_class_name="LayerNorm" if family.norms_have_biases else "RMSNorm",
        mlp_class_name="LLaMAMLP" if family.mlp_inputs == 2 else "GptNeoxMLP",
    )
    fabric = Fabric(devices=1, precision="bf16-mixed" if workload.settings.uses_bf16 else "32-true")
    network = GPT(config)
    network, optimizer = fabric.setup(network, _adamw(network))

    def add_gradients(rows_bt: Tensor, share: float) -> None:
        loss = chunked_cross_entropy(network(rows_bt[:, :-1]), rows_bt[:, 1:])
        fabric.backward(loss * share)

    def update() -> None:
        fabric.clip_gradients(network, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()

    return _time_steps(workload, add_gradients, update)


def _build_loop(workload: Workload) -> TakeSteps:
    """A loop that an expert would write: deepen's network and its loss compiled together, and fused AdamW."""
    model, device = workload.model, workload.device
    network = build(model, model.depth).to(device)
    network.load_state_dict(init_weights(model, model.depth, seed=0))

    def mean_loss(rows_bt: Tensor) -> Tensor:
        logits_btv = network(rows_bt[:, :-1])
        return torch.nn.functional.cross_entropy(logits_btv.float().flatten(0, 1), rows_bt[:, 1:].flatten())

    compiled, optimizer = torch.compile(mean_loss), _adamw(network)

    def add_gradients(rows_bt: Tensor, share: float) -> None:
        with autocast(device, workload.settings.precision):
            loss = compiled(rows_bt) * share
        loss.backward()  # type: ignore[no-untyped-call]

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return _time_steps(workload, add_gradients, update)


BUILDERS: dict[str, Callable[[Workload], TakeSteps]] = {
    "transformers": _build_transformers,
    "litgpt": _build_litgpt,
    "loop": _build_loop,
}
"""For each name in `other_trainers.OTHER_TRAINERS`, the function that makes the trainer ready."""


def _adamw(network: torch.nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=0.1, betas=(0.9, 0.95), fused=True)


@contextmanager
def _silenced() -> Iterator[None]:
    """Suppress the warnings that the libraries print during set-up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
