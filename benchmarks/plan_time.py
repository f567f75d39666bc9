"""Seconds to plan a 96-block model in about 1,000 phases.

    python benchmarks/plan_time.py

Each of 96 stages has two phases, which a batch ramp of 800 steps divides further. Imports are not timed.
"""

import time
from dataclasses import replace

from deepen.compute.ledger import Ledger
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan import make_plan
from deepen.compute.plan_request import PlanRequest
from deepen.model.presets import PRESETS
from deepen.schedule.ramp import Ramp

CONTEXT = 4096


def main() -> None:
    model = replace(PRESETS["llama-70b"], name="llama-96", depth=96)
    ramp = Ramp(steps=tuple((step / 800, 1024 * CONTEXT * (1 + step // 400)) for step in range(800)))
    for scope in ("new-blocks", "new-blocks-embeddings"):
        for placement in ("top", "interleaved"):
            request = PlanRequest(
                model=model,
                recipe="two-phase",
                options={"stages": 96, "scope": scope, "placement": placement},
                budget=100_000,
                budget_unit="steps",
                batch_tokens=2048 * CONTEXT,
                context=CONTEXT,
                ledger=Ledger(model=model),
                memory=MemorySettings(precision="bf16", devices=1024, sharded=True),
                batch_ramp=ramp,
            )
            began = time.perf_counter()
            plan = make_plan(request)
            seconds = time.perf_counter() - began
            print(f"{len(plan.phases):,} phases, {scope}, {placement}: {seconds:.2f} s")


if __name__ == "__main__":
    main()
