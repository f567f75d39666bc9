"""The trainers that deepen can be compared with: what a user would choose instead. Needs no torch.

`other_steps.py` takes steps with them. To add one, add an entry here and a function there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from deepen.errors import InvalidValueError


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherTrainer:
    """A trainer, the modules that it needs, and the command that installs them."""

    name: str
    modules: tuple[str, ...] = ()
    install: str = ""

    def check_installed(self) -> None:
        """Raise an InvalidValueError if a module is missing."""
        if missing := [module for module in self.modules if find_spec(module) is None]:
            problem = f"{self.name} needs {', '.join(missing)}"
            raise InvalidValueError(problem, field="against", value=self.name, remedy=self.install)


OTHER_TRAINERS = {
    trainer.name: trainer
    for trainer in (
        OtherTrainer(
            name="transformers",
            modules=("transformers", "accelerate"),
            install="pip install transformers accelerate",
        ),
        OtherTrainer(
            name="litgpt",
            modules=("litgpt", "lightning"),
            # Not an extra: it requires an older huggingface-hub than transformers, though nothing here uses that.
            install="pip install --no-deps litgpt lightning lightning-utilities torchmetrics",
        ),
        OtherTrainer(name="loop"),
    )
}
"""Other trainers by name. `loop` is a plain loop around deepen's network, compiled as a whole."""


def check_installed(names: Iterable[str]) -> None:
    """Raise an InvalidValueError if the library of one of these trainers is missing."""
    for name in names:
        OTHER_TRAINERS[name].check_installed()
