"""Seconds of a phase on a number of devices."""

import pytest

from deepen.compute.clock import datasheet_clock
from deepen.compute.devices import DEVICES, Fleet
from deepen.compute.ledger import Ledger
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TrainedParts
from deepen.train.optim.spec import OptimizerSpec

MODEL = PRESETS["gpt2-124m"]
PHASE = Phase(depth=12, tokens=1 << 20, label="", batch_tokens=1 << 19, context=1024)


@pytest.mark.parametrize("optimizer", [OptimizerSpec.adamw(), OptimizerSpec.muon()], ids=lambda spec: spec.kind)
def test_devices_divide_a_batch_and_each_repeats_the_optimizers_matrix_products(optimizer: OptimizerSpec):
    ledger, trained = Ledger(model=MODEL, optimizer=optimizer.cost), TrainedParts.all(12)
    device, steps = DEVICES["h100"], 2
    products = steps * ledger.optimizer_products(trained)
    batches = steps * ledger.flops_per_step(trained, PHASE.batch_tokens, PHASE.context) - products
    speed = device.peak_flops * 0.5
    for count in (1, 8):
        seconds = datasheet_clock(ledger, Fleet(device=device, count=count, mfu=0.5))(PHASE, trained)
        assert seconds == pytest.approx((batches / count + products) / speed)
