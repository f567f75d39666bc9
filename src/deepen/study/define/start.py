"""The checkpoint from which every run of a study begins, as a value. Needs no torch.

checkpoint = find_checkpoint("runs/small")
Study(model=replace(checkpoint.model, depth=24), start=Start.at(checkpoint), ...)
"""

from dataclasses import dataclass, field
from pathlib import Path

from deepen.interop.checkpoint import Checkpoint
from deepen.interop.history import Event, last_position
from deepen.schedule.grid import round_up_to_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """The checkpoint from which every run of a study begins; make one with `Start.at`.

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
    def at(checkpoint: Checkpoint) -> "Start":
        """The start at a checkpoint.

        Raises:
            InvalidValueError: deepen cannot train its model, or its files are incomplete.
        """
        depth = checkpoint.model.depth  # whether it can be trained is known before its weights are hashed
        return Start(path=checkpoint.folder, sha256=checkpoint.sha256, depth=depth, history=checkpoint.history)

    def first_token(self, fingerprint: str, window: int, seed: int) -> int:
        """Where in the order of windows a run begins: after what the checkpoint's run has read, if it is the same.

        Args:
            fingerprint: identifies the data.
            window: the largest context, in tokens.
            seed: seed of the order of windows.
        """
        read = last_position(self.history)
        if read is None or (read.fingerprint, read.window, read.seed) != (fingerprint, window, seed):
            return 0
        return round_up_to_steps(read.tokens, window) * window
