"""The checkpoint from which every run of a study begins, as a value. Needs no torch."""

from dataclasses import dataclass, field
from pathlib import Path

from deepen.interop.checkpoint import DeepenCheckpoint
from deepen.interop.history import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """The checkpoint from which every run of a study begins; make one with `Start.at(find_checkpoint(folder))`.

    Attributes:
        path: its folder; results depend only on its content.
        sha256: identifies the content.
        depth: its blocks.
        history: what made it, for model cards.
    """

    path: Path = field(metadata={"identity": False})
    sha256: str
    depth: int
    history: tuple[Event, ...] = field(default=(), metadata={"identity": False})

    @staticmethod
    def at(checkpoint: DeepenCheckpoint) -> "Start":
        """The start at a checkpoint.

        Raises:
            InvalidValueError: deepen cannot train its model, or its files are incomplete.
        """
        return Start(
            path=checkpoint.folder,
            sha256=checkpoint.sha256,
            depth=checkpoint.model.depth,
            history=checkpoint.history,
        )
