"""Layers that share blocks: for each executed layer, bottom to top, the stored block that it runs.

(0, 1, 2, 0, 1, 2)    three blocks, executed twice
()                    each block once
"""

from collections.abc import Iterable

from deepen.errors import InvalidValueError, listed


def check_layers(layers: tuple[int, ...], depth: int, label: str) -> tuple[int, ...]:
    """The layers of a phase that executes `depth` of them; empty if they are each block once, in order.

    Raises:
        InvalidValueError: they are not whole numbers, leave a block out, or are not `depth`.
    """
    if not layers:
        return ()
    layers = tuple(layers) if isinstance(layers, Iterable) else (layers,)
    are_whole = all(type(block) is int and block >= 0 for block in layers)
    if not (are_whole and len(set(layers)) == max(layers) + 1):
        raise InvalidValueError(
            f"of phase {label!r} are {listed(layers)}: they must name each block from 0 to the highest",
            field="layers",
            value=layers,
            remedy="such as (0, 1, 2, 0, 1, 2)",
        )
    if len(layers) != depth:
        raise InvalidValueError(
            f"of phase {label!r} are {len(layers)}, but its depth is {depth}",
            field="layers",
            value=layers,
            remedy="name one block for each executed layer",
        )
    return () if layers == tuple(range(depth)) else layers
