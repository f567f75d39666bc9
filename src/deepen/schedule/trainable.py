"""Which parameters a phase trains, and where the autograd graph can be cut as a result.

A `Trainable` is chosen before the depth of a model is known: everything, the blocks added last, or blocks by
index, each with or without the head and the embeddings. `resolve` turns it into the `TrainedParts` of a model of a
given depth, from which the ledger computes costs and the engine freezes parameters:

    Trainable.NEW_BLOCKS.resolve(depth=6, new_blocks=(3, 4, 5))
    # TrainedParts(depth=6, blocks=(3, 4, 5), head=False, embeddings=False), whose `cut` is 3:
    # embeddings and blocks 0 to 2 run without gradients and store no activations

Any other choice is made with `Trainable.explicit`; costs, memory and training follow from the value:

    Trainable.explicit(blocks=(0, 11), head=True)

`head` means the final norm and the head. Where the head is tied to the token embedding, the shared matrix is
trained if the head or the embeddings are; without the embeddings it learns through the head alone, because the
graph is cut above the embeddings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from deepen.errors import InvalidValueError, look_up


class Blocks(StrEnum):
    """Choices of blocks that do not name an index."""

    ALL = "all"
    NEW = "new"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedParts:
    """The parts of a model of `depth` blocks that receive updates.

    `blocks` are indices in rising order. `head` means the final norm and the head, `embeddings` the token and
    position embeddings.
    """

    depth: int
    blocks: tuple[int, ...]
    head: bool
    embeddings: bool

    @classmethod
    def all(cls, depth: int) -> "TrainedParts":
        """All parts of a model of `depth` blocks."""
        return cls(depth=depth, blocks=tuple(range(depth)), head=True, embeddings=True)

    def __post_init__(self) -> None:
        if list(self.blocks) != sorted(set(self.blocks)):
            raise InvalidValueError("must be distinct and rising", field="blocks", value=self.blocks)
        if self.blocks and not 0 <= self.blocks[0] <= self.blocks[-1] < self.depth:
            raise InvalidValueError(
                f"are {list(self.blocks)}, but a model of {self.depth} blocks has 0 to {self.depth - 1}",
                field="blocks",
                value=self.blocks,
            )
        if not (self.blocks or self.head or self.embeddings):
            raise InvalidValueError(
                f"of a model of {self.depth} blocks are empty, and neither head nor embeddings are trained",
                field="blocks",
                value=self.blocks,
                remedy="train at least one part",
            )

    @property
    def cut(self) -> int | None:
        """How many of the lowest blocks need no graph; None if the whole graph is needed.

        With a cut, the embeddings need no graph either.
        """
        if self.embeddings:
            return None
        return self.blocks[0] if self.blocks else self.depth

    def trains_head_matrix(self, *, tied: bool) -> bool:
        """Whether the head's matrix is trained; a tied one is trained with the embeddings too."""
        return self.head or (tied and self.embeddings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainable:
    """Which parts of a model a phase trains, at any depth; see the module's docstring.

    Attributes:
        name: shown in plans and results.
        blocks: `Blocks.ALL`, `Blocks.NEW` (those added last, all of them before the first growth), or indices.
        head: whether the final norm and the head are trained.
        embeddings: whether the embeddings are trained, which needs the whole graph.
    """

    ALL: ClassVar["Trainable"]
    NEW_BLOCKS: ClassVar["Trainable"]
    NEW_BLOCKS_HEAD: ClassVar["Trainable"]
    NEW_BLOCKS_EMBEDDINGS: ClassVar["Trainable"]

    name: str
    blocks: Blocks | tuple[int, ...]
    head: bool
    embeddings: bool

    @classmethod
    def explicit(cls, blocks: Iterable[int], *, head: bool = False, embeddings: bool = False) -> "Trainable":
        """Blocks by index, with or without the head and the embeddings."""
        indices = tuple(sorted(set(blocks)))
        if indices and indices[0] < 0:
            raise InvalidValueError(
                f"has index {indices[0]}: the lowest block is 0", field="blocks", value=indices
            )
        if not (indices or head or embeddings):
            raise InvalidValueError("is empty", field="blocks", value=indices, remedy="train at least one part")
        parts = [f"blocks {','.join(map(str, indices))}"] if indices else []
        parts += ["head"] if head else []
        parts += ["embeddings"] if embeddings else []
        return cls(name=" + ".join(parts), blocks=indices, head=head, embeddings=embeddings)

    def __str__(self) -> str:
        return self.name

    @property
    def lowest_depth(self) -> int:
        """The smallest depth at which all blocks named by index exist."""
        return 0 if isinstance(self.blocks, Blocks) else max(self.blocks, default=-1) + 1

    def resolve(self, depth: int, new_blocks: tuple[int, ...]) -> TrainedParts:
        """The trained parts of a model of `depth` blocks, of which `new_blocks` were added last.

        Raises:
            InvalidValueError: an index is beyond the depth, or nothing would be trained.
        """
        if self.blocks is Blocks.ALL:
            blocks: tuple[int, ...] = tuple(range(depth))
        elif self.blocks is Blocks.NEW:
            blocks = new_blocks
        else:
            blocks = self.blocks
        return TrainedParts(depth=depth, blocks=blocks, head=self.head, embeddings=self.embeddings)


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
"""The choices that recipes can name in their option `scope`."""


def get_trainable(name: str) -> Trainable:
    """A choice by name.

    Raises:
        InvalidValueError: the name is unknown.
    """
    return look_up(TRAINABLE_SETS, name, field="scope")
