"""Which parameters a phase trains, and where the autograd graph can be cut as a result.

A `Trainable` is chosen before the depth of a model is known: everything, the blocks added last, or blocks by
index, each with or without the head, the embeddings and the norms. `resolve` turns it into the `TrainedParts` of a
model of a given depth, from which the ledger computes costs and the engine freezes parameters:

    Trainable.NEW_BLOCKS.resolve(depth=6, new_blocks=(3, 4, 5))
    # TrainedParts(depth=6, blocks=(3, 4, 5), head=False, embeddings=False), whose `cut` is 3:
    # embeddings and blocks 0 to 2 run without gradients and store no activations

Any other choice is made with `Trainable.explicit`, or written as text (see `parse_trainable`):

    Trainable.explicit(blocks=(8, 9, 10, 11), head=True) == parse_trainable("blocks:8-11,head")

`head` means the final norm and the head. Where the head is tied to the token embedding, the shared matrix is
trained if the head or the embeddings are; without the embeddings it learns through the head alone, because the
graph is cut above the embeddings. `norms` means the norms of all blocks and the final norm.

Where layers share blocks (`Phase.layers`), sets name the stored blocks, and `cut` counts executed layers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from deepen.errors import InvalidValueError, is_whole, listed
from deepen.growth.layout import describe_layout


class Blocks(StrEnum):
    """Choices of blocks that do not name an index."""

    ALL = "all"
    NEW = "new"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedParts:
    """The parts of a model of `depth` stored blocks that receive updates.

    Attributes:
        depth: stored blocks.
        blocks: indices of the trained ones, in rising order.
        head: whether the final norm and the head are trained.
        embeddings: whether the token and position embeddings are trained.
        norms: whether the norms of the other blocks, and the final norm, are trained.
        layers: the stored block of each executed layer, bottom to top; empty if each block is executed once.
    """

    depth: int
    blocks: tuple[int, ...]
    head: bool
    embeddings: bool
    norms: bool = False
    layers: tuple[int, ...] = ()

    @classmethod
    def all(cls, depth: int, layers: tuple[int, ...] = ()) -> "TrainedParts":
        """All parts of a model of `depth` stored blocks."""
        return cls(depth=depth, blocks=tuple(range(depth)), head=True, embeddings=True, layers=layers)

    def __post_init__(self) -> None:
        if list(self.blocks) != sorted(set(self.blocks)):
            raise InvalidValueError("must be distinct and rising", field="blocks", value=self.blocks)
        if self.blocks and not 0 <= self.blocks[0] <= self.blocks[-1] < self.depth:
            raise InvalidValueError(
                f"are {listed(self.blocks)}, but a model of {self.depth} blocks has 0 to {self.depth - 1}",
                field="blocks",
                value=self.blocks,
            )
        if not (self.blocks or self.head or self.embeddings or self.norms):
            raise InvalidValueError(
                f"of a model of {self.depth} blocks are empty, and neither head nor embeddings are trained",
                field="blocks",
                value=self.blocks,
                remedy="train at least one part",
            )
        if self.layers == tuple(range(self.depth)):
            object.__setattr__(self, "layers", ())
        if self.head and len(self.blocks) == self.depth:  # then all norms are trained already
            object.__setattr__(self, "norms", False)

    @property
    def executed(self) -> tuple[int, ...]:
        """The stored block of each executed layer, bottom to top."""
        return self.layers or tuple(range(self.depth))

    @property
    def cut(self) -> int | None:
        """How many of the lowest executed layers need no graph; None if the whole graph is needed.

        With a cut, the embeddings need no graph either.
        """
        if self.embeddings:
            return None
        if self.norms:
            return 0
        trained, executed = set(self.blocks), self.executed
        return next((layer for layer, block in enumerate(executed) if block in trained), len(executed))

    @property
    def trains_final_norm(self) -> bool:
        """Whether the final norm is trained."""
        return self.head or self.norms

    def trains_head_matrix(self, *, tied: bool) -> bool:
        """Whether the head's matrix is trained; a tied one is trained with the embeddings too."""
        return self.head or (tied and self.embeddings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainable:
    """Which parts of a model a phase trains, at any depth; see the module's docstring.

    Attributes:
        name: shown in plans and results; `parse_trainable` reads it.
        blocks: `Blocks.ALL`, `Blocks.NEW` (those added last, all of them before the first growth), or indices.
        head: whether the final norm and the head are trained.
        embeddings: whether the embeddings are trained, which needs the whole graph.
        norms: whether the norms of all blocks, and the final norm, are trained.
    """

    ALL: ClassVar["Trainable"]
    NEW_BLOCKS: ClassVar["Trainable"]
    NEW_BLOCKS_HEAD: ClassVar["Trainable"]
    NEW_BLOCKS_EMBEDDINGS: ClassVar["Trainable"]

    name: str
    blocks: Blocks | tuple[int, ...]
    head: bool
    embeddings: bool
    norms: bool = False

    @classmethod
    def explicit(
        cls, blocks: Iterable[int], *, head: bool = False, embeddings: bool = False, norms: bool = False
    ) -> "Trainable":
        """Blocks by index, with or without the head, the embeddings and the norms."""
        named = [*blocks] if isinstance(blocks, Iterable) else [blocks]
        if wrong := [index for index in named if not is_whole(index)]:
            raise InvalidValueError(
                f"has {wrong[0]!r}: it must be indices of blocks, such as (8, 9)", field="blocks", value=blocks
            )
        indices = tuple(sorted({int(index) for index in named}))
        if indices and indices[0] < 0:
            raise InvalidValueError(
                f"has index {indices[0]}: the lowest block is 0", field="blocks", value=indices
            )
        if not (indices or head or embeddings or norms):
            raise InvalidValueError("is empty", field="blocks", value=indices, remedy="train at least one part")
        parts = [f"blocks:{describe_layout(indices)}"] if indices else []
        parts += [
            part
            for part, is_trained in (("head", head), ("embeddings", embeddings), ("norms", norms))
            if is_trained
        ]
        return cls(name=",".join(parts), blocks=indices, head=head, embeddings=embeddings, norms=norms)

    def __str__(self) -> str:
        return self.name

    @property
    def lowest_depth(self) -> int:
        """The smallest number of stored blocks with which all blocks named by index exist."""
        return 0 if isinstance(self.blocks, Blocks) else max(self.blocks, default=-1) + 1

    def resolve(self, depth: int, new_blocks: tuple[int, ...], layers: tuple[int, ...] = ()) -> TrainedParts:
        """The trained parts of a model of `depth` stored blocks, of which `new_blocks` were added last.

        Args:
            depth: stored blocks.
            new_blocks: the indices of those added last.
            layers: the stored block of each executed layer; empty if each block is executed once.

        Raises:
            InvalidValueError: an index is beyond the depth, or nothing would be trained.
        """
        if self.blocks is Blocks.ALL:
            blocks: tuple[int, ...] = tuple(range(depth))
        elif self.blocks is Blocks.NEW:
            blocks = new_blocks
        else:
            blocks = self.blocks
        return TrainedParts(
            depth=depth,
            blocks=blocks,
            head=self.head,
            embeddings=self.embeddings,
            norms=self.norms,
            layers=layers,
        )


Trainable.ALL = Trainable(name="all", blocks=Blocks.ALL, head=True, embeddings=True)
Trainable.NEW_BLOCKS = Trainable(name="new-blocks", blocks=Blocks.NEW, head=False, embeddings=False)
Trainable.NEW_BLOCKS_HEAD = Trainable(name="new-blocks-head", blocks=Blocks.NEW, head=True, embeddings=False)
Trainable.NEW_BLOCKS_EMBEDDINGS = Trainable(
    name="new-blocks-embeddings", blocks=Blocks.NEW, head=True, embeddings=True
)

TRAINABLE_SETS: Mapping[str, Trainable] = {
    trainable.name: trainable
    for trainable in (
        Trainable.ALL,
        Trainable.NEW_BLOCKS,
        Trainable.NEW_BLOCKS_HEAD,
        Trainable.NEW_BLOCKS_EMBEDDINGS,
    )
}
"""The sets with a name of their own."""

_PARTS = ("head", "embeddings", "norms")
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_HOW = (
    f"use {', '.join(TRAINABLE_SETS)}, or a list of blocks:INDEX, blocks:FIRST-LAST, {', '.join(_PARTS)}, "
    "such as blocks:0,8-11,head"
)


def parse_trainable(text: str, field: str = "scope") -> Trainable:
    """Read a trainable set: a name of `TRAINABLE_SETS`, or a list of parts such as `blocks:0,8-11,head`.

    A range includes both ends. After `blocks:`, further indices and ranges need no prefix.

    Args:
        text: the set.
        field: the option that holds it, for errors.

    Raises:
        InvalidValueError: the text is not a trainable set.
    """
    if text in TRAINABLE_SETS:
        return TRAINABLE_SETS[text]
    blocks: list[int] = []
    parts: set[str] = set()
    in_blocks = False
    for part in text.split(","):
        name, colon, rest = part.strip().partition(":")
        if name in _PARTS and not colon:
            parts.add(name)
            in_blocks = False
            continue
        in_blocks = in_blocks or (name == "blocks" and bool(colon))
        found = _RANGE.fullmatch(rest if colon else name)
        if not in_blocks or found is None or (colon and name != "blocks"):
            is_set = part.strip() in TRAINABLE_SETS
            problem = "is a whole set and stands alone" if is_set else "is not a part of a model"
            raise _not_trainable(text, field, f"{part.strip()!r} {problem}")
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last:
            raise _not_trainable(text, field, f"the range {found[0]} runs downwards")
        blocks += range(first, last + 1)
    return Trainable.explicit(
        blocks, head="head" in parts, embeddings="embeddings" in parts, norms="norms" in parts
    )


def _not_trainable(text: str, field: str, problem: str) -> InvalidValueError:
    return InvalidValueError(
        f"is {text!r}: {problem}", field=field, value=text, remedy=_HOW, allowed=TRAINABLE_SETS
    )
