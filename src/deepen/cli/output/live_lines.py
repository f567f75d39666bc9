"""Progress at the bottom of a terminal: a line for the command, and one for each running segment.

    quickstart ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  12 %  2 of 20 runs  about 4 min left
      arm               seed  depth        step    loss    tokens/s
      full +3              0     12  120 of 500  5.8123      12,345
      two-phase S=4        1      3    0 of 250       –    starting

The cursor stays visible, at the beginning of an empty line below, so that a process that is killed leaves the
terminal as the shell needs it. rich's own thread draws, so a terminal that is slow, or stopped by Ctrl-S, does not
delay training.
"""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deepen.cli.output.progress_status import ProgressStatus, shorten_arms
from deepen.cli.output.stderr import STDERR
from deepen.study.run.progress import SegmentProgress

_REFRESH_PER_SECOND = 2

_NOT_MEASURED = "-"

_OTHER_LINES = 5
"""Lines that are not a segment's: the command's, the header, the number of hidden segments, and two empty ones."""


class LiveLines:
    """Shows progress inside a `with` block; the command's line stays on the screen afterwards.

    Args:
        name: the name of what is running.
    """

    def __init__(self, name: str) -> None:
        self._status = ProgressStatus(name)
        self.update = self._status.update
        self._console = _Console(file=cast(TextIO, STDERR), markup=False, emoji=False, highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=_REFRESH_PER_SECOND,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )

    def __enter__(self) -> "LiveLines":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._status.end()
        self._live.transient = self._status.latest is None
        self._live.stop()

    def print_above(self, text: str) -> None:
        """Print text above the lines, wrapped by the terminal only."""
        self._console.print(Text(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        latest = self._status.latest
        if latest is None:
            return ""
        if self._status.is_over:
            return self._command_line(latest.share)
        segments = [self._segment_lines(running)] if (running := self._status.running) else []
        return Group(self._command_line(latest.share), *segments, "")

    def _command_line(self, share: float | None) -> Table:
        status, width = self._status, self._console.width
        line = Table.grid(padding=(0, 2, 0, 0), expand=True)
        line.add_column(max_width=width // 3)
        line.add_column(ratio=1)
        bar = ProgressBar(total=None if share is None else 1.0, completed=share or 0.0)
        cells: list[RenderableType] = [self._shortened(status.name), bar]
        for words, max_width in ((status.share, width), (status.detail, 3 * width // 5), (status.time, width)):
            if words:
                line.add_column(no_wrap=True, max_width=max_width)
                cells.append(self._shortened(words))
        line.add_row(*cells)
        return line

    def _segment_lines(self, segments: Sequence[SegmentProgress]) -> Table:
        shown = segments[: max(1, self._console.height - _OTHER_LINES)]
        lines = Table.grid(padding=(0, 2, 0, 0))
        lines.add_column()
        for width in (4, 5, 12, 7, 10):
            lines.add_column(no_wrap=True, justify="right", min_width=width)
        lines.add_row(
            *(Text(name, style="dim") for name in ("  arm", "seed", "depth", "step", "loss", "tokens/s"))
        )
        for segment in shown:
            lines.add_row(self._shortened(f"  {shorten_arms(segment.arms)}"), *_numbers(segment))
        if len(shown) < len(segments):
            lines.add_row(f"  and {len(segments) - len(shown)} more")
        return lines

    def _shortened(self, name: str) -> Text:
        """A name that ends in an ellipsis where the terminal is too narrow for it."""
        encoding = self._console.encoding
        printable = name.replace("\n", " ").encode(encoding, "backslashreplace").decode(encoding)
        return Text(printable, no_wrap=True, overflow="ellipsis" if encoding.startswith("utf") else "crop")


class _Console(Console):
    """A console that does not hide the cursor."""

    def show_cursor(self, show: bool = True) -> bool:
        """Leave the cursor as it is."""
        return False


def _numbers(segment: SegmentProgress) -> list[str]:
    """The columns of a segment after its arms."""
    if segment.is_evaluating:
        speed = "evaluating"
    elif segment.loss is None:
        speed = "starting"
    else:
        speed = _NOT_MEASURED if segment.tokens_per_second is None else f"{segment.tokens_per_second:,.0f}"
    return [
        str(segment.seed),
        str(segment.depth),
        f"{segment.step:,} of {segment.steps:,}",
        _NOT_MEASURED if segment.loss is None else f"{segment.loss:.4f}",
        speed,
    ]
