"""`python -m deepen`: the command, for launchers that start modules, such as torchrun."""

import sys

from deepen.cli.entry import entry

sys.exit(entry())
