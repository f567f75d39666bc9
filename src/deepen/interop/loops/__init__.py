"""Growth in training loops that are not ours: a bare PyTorch loop, Hugging Face's `Trainer`, Lightning Fabric.

The loop keeps its own model, optimizer and data. It needs four functions:

    for phase in plan_phases(schedule, batch_tokens=4096, context=128):  # what to train, and how long
        if phase.growth is not None:
            deeper = MyModel(depth=phase.depth)  # fresh weights, in the model's own way
            grow_model(model, deeper, phase.growth)  # old weights, and copies for new blocks
            deeper_optimizer = torch.optim.AdamW(deeper.parameters())
            grow_optimizer(optimizer, deeper_optimizer, model, deeper, phase.growth)
            model, optimizer = deeper, deeper_optimizer
        set_trained_parts(model, phase.trained)  # freeze the rest
        for step in range(phase.steps):
            rate = phase.lr(step)
            ...  # a step of the loop's own

Any `nn.Module` can grow whose blocks are in one `nn.ModuleList`, with any optimizer that has torch's interface.
Complete examples are in `docs/examples/`: `own_loop.py`, `hugging_face_trainer.py`, `lightning_fabric_loop.py`.
"""

from deepen.interop.loops.blocks import find_blocks, set_trained_parts
from deepen.interop.loops.growth import grow_model, grow_optimizer
from deepen.interop.loops.phases import LoopPhase, plan_phases

__all__ = ["LoopPhase", "find_blocks", "grow_model", "grow_optimizer", "plan_phases", "set_trained_parts"]
