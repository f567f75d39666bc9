"""How often the intervals of verdicts hold: the tables of docs/statistics.md, by simulation.

    python benchmarks/verdict_coverage.py --studies 1000

Studies are simulated with known truth, as the `arms` of results.json, and judged by `deepen.judge` like real ones:
six arms, a baseline at 0.7, 1.0 and 1.4 times the budget, and 0.22 nats per e-fold of its compute. Each line has
the share of studies in which all intervals hold, that of intervals that hold, the share in which all intervals of
the multiplier hold, and the median half width of an arm's interval, in nats. The power table is computed
(`detectable_multiplier`). The last lines have the share of studies in which some arm is said to beat every
constant depth, although one of the depths is as good as all arms.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from deepen import judge
from deepen.study.judge.power import detectable_multiplier, expected_noise
from deepen.study.judge.verdicts import with_verdicts
from deepen.study.results.schema import Bound, Results, Verdict

SLOPE, EXPONENT = 0.22, 0.3
NOISE = 0.0024
"""Standard deviation of an arm's own noise, in nats per token."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The noise of simulated studies, in units of `NOISE`, and the true multipliers of their arms."""

    baseline: float = 1.0
    one_arm: float = 1.0
    shared: float = 0.0
    tails: int | None = None
    budgets: tuple[float, ...] = (0.7, 1.0, 1.4)
    at_budgets: tuple[float, ...] = ()
    multipliers: tuple[float, ...] = (1.0,) * 6

    @property
    def differences(self) -> list[float]:
        """The arms' true differences in loss."""
        return [baseline_loss(multiplier) - baseline_loss(1.0) for multiplier in self.multipliers]

    def draw(self, rng: np.random.Generator, seeds: int) -> list[dict[str, Any]]:
        """The `arms` of a study."""
        of_seed, shared = 0.01 * rng.standard_normal(seeds), self.shared * NOISE * rng.standard_normal(seeds)
        scales = np.array(self.at_budgets or (1.0,) * len(self.budgets))[:, None]
        base = self.baseline * NOISE * scales * self._noise(rng, (len(self.budgets), seeds)) + of_seed
        own = NOISE * self._noise(rng, (len(self.multipliers), seeds)) + of_seed + shared
        own[0] += (self.one_arm - 1) * (own[0] - of_seed - shared)
        arms = []
        for seed in range(seeds):
            losses = {share: baseline_loss(share) + base[nth, seed] for nth, share in enumerate(self.budgets)}
            arms.append(_run("full", seed, losses))
            arms += [
                _run(f"arm {nth}", seed, {1.0: baseline_loss(multiplier) + own[nth, seed]})
                for nth, multiplier in enumerate(self.multipliers)
            ]
        return arms

    def _noise(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        if self.tails is None:
            return rng.standard_normal(shape)
        return rng.standard_t(self.tails, shape) / np.sqrt(self.tails / (self.tails - 2))


def baseline_loss(compute: float) -> float:
    """The baseline's true loss, for compute in units of the budget."""
    return 4.0 + SLOPE / EXPONENT * (compute**-EXPONENT - 1)


def _run(name: str, seed: int, losses: Mapping[float, float]) -> dict[str, Any]:
    marks = [
        {"accounting": "flops", "budget_share": share, "budget_flops": 1e15 * share, "flops": 1e15 * share}
        | {"val_loss": float(loss)}
        for share, loss in losses.items()
    ]
    return {"name": name, "recipe": name, "seed": seed, "marks": marks}


class Coverage(NamedTuple):
    """Shares of studies in which intervals hold, and the median half width of an arm's interval."""

    joint: float
    each: float
    multipliers: float
    half_width: float


def measure_coverage(scenario: Scenario, seeds: int, studies: int) -> Coverage:
    """Judge simulated studies and compare the intervals with the truth."""
    rng = np.random.default_rng(seeds)
    each, multipliers, half_widths = [], [], []
    for _ in range(studies):
        verdicts, _ = judge(scenario.draw(rng, seeds), "full")
        ends = [verdict.interval or (0.0, 0.0) for verdict in verdicts]
        truths = scenario.differences
        each.append([low <= truth <= high for (low, high), truth in zip(ends, truths, strict=True)])
        held = [_multiplier_holds(v, true) for v, true in zip(verdicts, scenario.multipliers, strict=True)]
        multipliers.append(all(held))
        half_widths.append((ends[-1][1] - ends[-1][0]) / 2)
    return Coverage(
        joint=float(np.mean([all(study) for study in each])),
        each=float(np.mean(each)),
        multipliers=float(np.mean(multipliers)),
        half_width=float(np.median(half_widths)),
    )


def _multiplier_holds(verdict: Verdict, truth: float) -> bool:
    """Whether an interval holds; one that is withheld claims nothing."""
    if verdict.multiplier_interval is None:
        return True
    (low, high), (below, above) = verdict.multiplier_interval, verdict.multiplier_interval_bounds or (None, None)
    is_above_low = below is Bound.BELOW or low <= truth
    return is_above_low and (above is Bound.ABOVE or truth <= high)


DEPTHS = {"full": (4, 0.03), "depth 3": (3, 0.01), "depth 2": (2, 0.0)}
"""Constant depths: blocks, and how much worse they are than arms that grow, in nats per token."""


def measure_false_claims(seeds: int, studies: int, best_depth: float = 1.0) -> float:
    """The share of studies in which an arm is said to beat every constant depth, and none does.

    Args:
        seeds, studies: of each study, and how many are simulated.
        best_depth: noise of the depth that ties with the arms, in units of `NOISE`.
    """
    rng = np.random.default_rng(seeds)
    claims = 0
    for _ in range(studies):
        judged = with_verdicts(
            Results.from_json({"baseline": "full", "arms": _draw_depths(rng, seeds, best_depth)})
        )
        grown = [v for v in judged.verdicts if v.budget_share == 1.0 and v.arm not in DEPTHS]
        claims += any(not verdict.depths_not_beaten for verdict in grown)
    return claims / studies


def _draw_depths(rng: np.random.Generator, seeds: int, best_depth: float) -> list[dict[str, Any]]:
    """The `arms` of a study of constant depths and three arms that grow."""
    of_seed, arms = 0.01 * rng.standard_normal(seeds), []
    ways = {name: ([depth], worse) for name, (depth, worse) in DEPTHS.items()}
    for name, (depths, worse) in (ways | {f"arm {nth}": ([2, 4], 0.0) for nth in range(3)}).items():
        scale = NOISE * (best_depth if name == "depth 2" else 1.0)
        phases = [{"depth": depth, "trained": "all", "layers": []} for depth in depths]
        for seed in range(seeds):
            losses = {
                share: baseline_loss(share) + worse + of_seed[seed] + scale * rng.standard_normal()
                for share in ((0.7, 1.0, 1.4) if name in DEPTHS else (1.0,))
            }
            arms.append(_run(name, seed, losses) | {"phases": phases})
    return arms


MIXED = (1.0, 1.05, 1.1, 1.2, 1.3, 0.9)

SCENARIOS = {
    "equal noise": Scenario(),
    "baseline ×3": Scenario(baseline=3, multipliers=MIXED),
    "baseline ×6": Scenario(baseline=6, multipliers=MIXED),
    "arms share segments": Scenario(baseline=3, shared=2, multipliers=MIXED),
    "one arm ×3": Scenario(one_arm=3),
    "one arm ×5, baseline ×3": Scenario(one_arm=5, baseline=3),
    "heavy tails, t(3)": Scenario(tails=3),
    "two arms": Scenario(multipliers=(1.0, 1.1)),
    "one arm": Scenario(baseline=3, multipliers=(1.1,)),
    "seven budgets": Scenario(baseline=3, budgets=(0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8), multipliers=MIXED),
    "one budget": Scenario(budgets=(1.0,)),
    "one budget, baseline ×3": Scenario(baseline=3, budgets=(1.0,)),
    "one arm ×5": Scenario(one_arm=5),
    "baseline ×2 at 1.0 only": Scenario(baseline=1, at_budgets=(1.0, 2.0, 1.0)),
}
"""The last two are known to fail: see docs/statistics.md."""

POWER = ((1, 1), (1, 3), (2.9, 2.9), (2.9, 8.75), (6.25, 6.25), (6.25, 18.75))
"""Noise of arms and baseline, in units of `NOISE`."""


def print_coverage(seeds: Sequence[int], studies: int) -> None:
    print("| scenario | seeds | all intervals | each | all multipliers | half width |\n|---|---|---|---|---|---|")
    for name, scenario in SCENARIOS.items():
        found = [measure_coverage(scenario, n, studies) for n in seeds]
        cells = [
            " / ".join(f"{getattr(each, field):.{places}f}" for each in found)
            for field, places in (("joint", 3), ("each", 3), ("multipliers", 3), ("half_width", 4))
        ]
        print(f"| {name} | {' / '.join(map(str, seeds))} | {' | '.join(cells)} |", flush=True)


def print_power(seeds: Sequence[int]) -> None:
    print(f"| arms / baseline | {' | '.join(f'{n} seeds' for n in seeds)} |\n|---|{'---|' * len(seeds)}")
    for arms, baseline in POWER:
        noise = expected_noise(
            arms_std=arms * NOISE, baseline_std=baseline * NOISE, slope=SLOPE, arms=6, seeds=seeds[0]
        )
        cells = " | ".join(f"{detectable_multiplier(noise, seeds=n):.2f}" for n in seeds)
        print(f"| {arms * NOISE:.4f} / {baseline * NOISE:.4f} | {cells} |")


def print_false_claims(seeds: Sequence[int], studies: int) -> None:
    print("| best constant depth | seeds | studies in which an arm is said to beat every depth |\n|---|---|---|")
    for name, best_depth in (("as noisy as the arms", 1.0), ("×3", 3.0)):
        found = [measure_false_claims(n, studies, best_depth) for n in seeds]
        shares = " / ".join(f"{each:.3f}" for each in found)
        print(f"| {name} | {' / '.join(map(str, seeds))} | {shares} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies per line")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5])
    options = parser.parse_args()
    print_power((2, 3, 4, 5, 8))
    print()
    print_coverage(options.seeds, options.studies)
    print()
    print_false_claims(options.seeds, options.studies)


if __name__ == "__main__":
    main()
