"""Devices by name, with the figures of their datasheets, and groups of devices that train together."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A processor. `peak_flops` is for dense bf16 matrix products with fp32 sums; `source` documents both."""

    name: str
    peak_flops: float
    memory_bytes: int
    source: str


DEVICES: dict[str, Device] = {
    name: Device(name=full, peak_flops=tflops * 1e12, memory_bytes=gigabytes * 10**9, source=source)
    for name, full, tflops, gigabytes, source in (
        ("a100", "A100 SXM 80 GB", 312, 80, "NVIDIA A100 datasheet, 2021"),
        ("h100", "H100 SXM 80 GB", 989, 80, "NVIDIA H100 datasheet, 2023, sparse figure halved"),
        ("h200", "H200 SXM 141 GB", 989, 141, "NVIDIA H200 datasheet, 2024, sparse figure halved"),
        ("b200", "B200 SXM 180 GB", 2250, 180, "NVIDIA HGX B200 datasheet, 2025, sparse figure halved"),
        ("mi300x", "MI300X 192 GB", 1307.4, 192, "AMD Instinct MI300X datasheet, 2023"),
        ("4090", "GeForce RTX 4090 24 GB", 165.2, 24, "NVIDIA Ada architecture whitepaper, 2022, appendix A"),
    )
}

DEVICES_PER_NODE = 8
"""How many devices a plan assumes in each machine, as in NVIDIA's HGX and DGX."""

DEFAULT_MFU = 0.4
"""What public trainers report for GPT-2 124M on an H100 (docs/planning.md)."""

_DEFAULT_MFU_WIDTH = 768


def assumed_mfu(width: int) -> float:
    """The share of a GPU's peak that is assumed for training a model of some width; nothing of it is measured.

    From GPT-2 124M's width of 768 on it is `DEFAULT_MFU`. Below, it falls with the power 1.5 of the width: 0.22 at
    512, 0.14 at 384, 0.08 at 256. Where kernels wait for memory, FLOPs per second fall in proportion to the width,
    as a matrix product of width d does in the order of d FLOPs for each byte. Where they wait for their launch,
    they fall with its square: as many launches, and d² FLOPs in each. 1.5 lies between. A card that is faster than
    an H100 reaches less of its peak, a slower one more.
    """
    share: float = DEFAULT_MFU * min(1.0, width / _DEFAULT_MFU_WIDTH) ** 1.5
    return share


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """Devices that train together.

    `mfu` is the share of peak FLOPs that they reach (model FLOPs utilization), with attention counted densely.
    With activation checkpointing the recomputed FLOPs count too, which others call HFU.
    """

    device: Device
    count: int = 1
    mfu: float = DEFAULT_MFU

    def seconds(self, flops: float) -> float:
        """Seconds that a number of FLOPs takes."""
        return flops / (self.count * self.device.peak_flops * self.mfu)
