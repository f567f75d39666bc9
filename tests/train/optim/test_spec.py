"""Optimizers as values: valid options, costs, JSON, and the addition of a second optimizer."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from deepen.compute.ledger import Ledger
from deepen.compute.optimizer_cost import OptimizerCost
from deepen.errors import InvalidValueError
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.schedule.trainable import TrainedParts
from deepen.train.optim import make
from deepen.train.optim.make import make_optimizer, read_moments
from deepen.train.optim.spec import OPTIMIZERS, STATE_PRECISIONS, OptimizerSpec, ParameterGroup
from deepen.train.settings import TrainSettings
from short_runs import CPU


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"weight_decay": -0.1}, "weight_decay", "0 or more"),
        ({"weight_decay": math.nan}, "weight_decay", "0 or more"),
        ({"beta_1": 1.0}, "beta_1", "below 1"),
        ({"beta_2": -0.5}, "beta_2", "at least 0"),
        ({"epsilon": 0.0}, "epsilon", "above 0"),
        ({"state_precision": "fp8"}, "state_precision", "use fp32 or bf16"),
        ({"beta_2": 0.999, "state_precision": "bf16"}, "beta_2", "use at most 0.99, or state_precision fp32"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], field: str, words: str):
    with pytest.raises(InvalidValueError, match=words) as wrong:
        OptimizerSpec.adamw(**options)
    assert (wrong.value.field, wrong.value.value) == (field, options[field])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"momentum": 1.0}, "below 1"),
        ({"momentum": math.nan}, "below 1"),
        ({"iterations": 0}, "1 to 99"),
        ({"iterations": 100}, "1 to 99"),
        ({"lr_factor": 0.0}, "above 0"),
        ({"weight_decay": -1.0}, "0 or more"),
    ],
)
def test_an_option_of_muon_out_of_range_is_refused(options: dict[str, Any], words: str):
    with pytest.raises(InvalidValueError, match=words) as wrong:
        OptimizerSpec.muon(**options)
    assert {wrong.value.field: wrong.value.value} == options or math.isnan(wrong.value.value)


def test_a_spec_is_read_back_from_its_json():
    muon = OptimizerSpec.muon(momentum=0.9, iterations=6, lr_factor=2.0, beta_1=0.8)
    for spec in (OptimizerSpec.adamw(), OptimizerSpec.adamw(weight_decay=0.2, state_precision="bf16"), muon):
        assert OptimizerSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "kind None is unknown: use adamw or muon"),
        ({"kind": "adam"}, "kind 'adam' is unknown: use adamw or muon"),
        ({"kind": "adamw", "beta_3": 0.9}, "adamw has no option 'beta_3'"),
    ],
)
def test_an_unknown_kind_or_option_is_refused(value: dict[str, Any], words: str):
    with pytest.raises(InvalidValueError, match=words):
        OptimizerSpec.from_json(value)


@pytest.mark.parametrize("spec", [
    make(state_precision=precision)
    for make in (OptimizerSpec.adamw, OptimizerSpec.muon)
    for precision in STATE_PRECISIONS
], ids=lambda spec: f"{spec.kind} {spec.state_precision}")  # fmt: skip
def test_the_state_has_the_bytes_that_the_ledger_gives(spec: OptimizerSpec, any_model: ModelConfig):
    network = build(any_model, 2)
    optimizer = make_optimizer(network, spec, {}, CPU)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = read_moments(network, optimizer, {}, CPU)
    tensors = [tensor for state in kept.values() for tensor in state.values() if tensor.dim()]
    ledger = Ledger(model=any_model, optimizer=spec.cost)
    assert sum(tensor.nbytes for tensor in tensors) == ledger.optimizer_state_bytes(TrainedParts.all(2))


def test_every_kind_has_an_implementation():
    assert OPTIMIZERS.keys() == make.IMPLEMENTATIONS.keys()


def test_specs_and_settings_need_no_torch():
    code = "import sys, deepen.train.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# A second optimizer: the spec with its entry, the implementation, and the entry that connects them.


@dataclass(frozen=True, kw_only=True, slots=True)
class SignSpec(OptimizerSpec):
    """Moves every weight by the rate, in the direction of its averaged gradient's sign."""

    kind: ClassVar[str] = "sign"
    momentum: float = 0.5

    @property
    def cost(self) -> OptimizerCost:
        return OptimizerCost(name=self.kind, state_bytes=4, flops=5)

    def groups(self, dimensions: Mapping[str, int], *, branch_scale: float = 1.0) -> list[ParameterGroup]:
        return [ParameterGroup(list(dimensions), {}, ("average",))]


class Sign(torch.optim.Optimizer):
    """The torch optimizer of `SignSpec`."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                parameter.sub_(average.sign(), alpha=group["lr"])


def make_sign(spec: SignSpec, groups: list[dict[str, Any]]) -> Sign:
    return Sign(groups, {"lr": 0.0, "momentum": spec.momentum})


@pytest.fixture
def sign(monkeypatch: pytest.MonkeyPatch) -> SignSpec:
    monkeypatch.setitem(OPTIMIZERS, "sign", SignSpec)
    monkeypatch.setitem(make.IMPLEMENTATIONS, "sign", make_sign)
    return SignSpec()


def test_a_second_optimizer_is_a_spec_an_implementation_and_an_entry(sign: SignSpec):
    settings = TrainSettings(optimizer=replace(sign, momentum=0.25))
    assert OptimizerSpec.from_json(settings.optimizer.to_json()) == settings.optimizer
    network = nn.Linear(3, 2)
    before = network.weight.detach().clone()
    optimizer = make_optimizer(network, settings.optimizer, {}, CPU)
    optimizer.param_groups[0]["lr"] = 0.5
    network.weight.grad = torch.full_like(network.weight, 2.0)
    optimizer.step()
    assert torch.equal(network.weight, before - 0.5)
    kept = read_moments(network, optimizer, {}, CPU)
    assert torch.equal(kept["weight"]["average"], torch.full((2, 3), 1.5))
    continued = make_optimizer(network, settings.optimizer, kept, CPU)
    assert torch.equal(continued.state[network.weight]["average"], kept["weight"]["average"])
