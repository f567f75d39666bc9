"""deepen: train language models by growing them deeper, and measure at equal compute whether it pays.

    import deepen

    study = deepen.Study(name="mine", model=..., arms=(deepen.Arm(name="full", recipe="full"), ...), ...)
    deepen.plan(study)                            # what it costs; trains nothing
    results = deepen.run(study, "runs/mine")      # trains, judges, draws the report
    results = deepen.load_results("runs/mine")    # the same results, later

Entry points
    run               run or continue a study in a folder
    plan              compute the cost of a study or a recipe
    judge             compare arms with the baseline at equal compute
    load_results      read a study's results.json
    grow              make a training state deeper
    recipes           the recipes: functions from a model and a token budget to a schedule

Checkpoints
    find_checkpoint       the checkpoint that a path means: of a run, of a study, or in Hugging Face's format
    Start                 the checkpoint from which every run of a study begins
    grow_checkpoint       write a deeper checkpoint, from one of a run or a folder in Hugging Face's format
    export_hugging_face   write a checkpoint as a folder that transformers loads

Defining a study
    Study, Arm, Evaluation, TaskFile              the arms to compare, and their evaluation
    fair                                          a study by the rules of a fair comparison
    Tuning                                        the trials that choose each arm's learning rate
    ModelConfig, PRESETS                          models
    TrainSettings, OptimizerSpec                  optimizer, precision, gradient clipping
    WSD, Cosine, Constant                         learning rates
    Ramp                                          batch or context along a run
    ExecutorChoice                                the machines that train

Defining a recipe
    Schedule, Phase, Part, Growth, Trainable      the schedule that a recipe returns
    Plateau                                       the end of a phase where the loss falls too slowly
    Ledger                                        exact FLOPs of training

Progress, results and errors
    StudyProgress, SegmentProgress, Preparation   what `run(..., on_progress=...)` reports
    Results, TrainState
    InvalidValueError, InvalidValuesError         values that cannot be used, with field and remedy
    RunError, Interrupted                         a run that ended early; complete steps are kept

Names are imported when they are first used, so that `import deepen` is fast and planning does not need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from deepen import recipes as recipes
    from deepen.api import run as run
    from deepen.compute.ledger import Ledger as Ledger
    from deepen.errors import InvalidValueError as InvalidValueError
    from deepen.errors import InvalidValuesError as InvalidValuesError
    from deepen.errors import RunError as RunError
    from deepen.growth.grow import grow as grow
    from deepen.growth.spec import Growth as Growth
    from deepen.interop.export import export_hugging_face as export_hugging_face
    from deepen.interop.growing import grow_checkpoint as grow_checkpoint
    from deepen.model.config import ModelConfig as ModelConfig
    from deepen.model.presets import PRESETS as PRESETS
    from deepen.planning import plan as plan
    from deepen.schedule.phase import Part as Part
    from deepen.schedule.phase import Phase as Phase
    from deepen.schedule.plateau import Plateau as Plateau
    from deepen.schedule.ramp import Ramp as Ramp
    from deepen.schedule.rate import WSD as WSD
    from deepen.schedule.rate import Constant as Constant
    from deepen.schedule.rate import Cosine as Cosine
    from deepen.schedule.schedule import Schedule as Schedule
    from deepen.schedule.trainable import Trainable as Trainable
    from deepen.study.define.evaluation import Evaluation as Evaluation
    from deepen.study.define.evaluation import TaskFile as TaskFile
    from deepen.study.define.executor import ExecutorChoice as ExecutorChoice
    from deepen.study.define.fair import fair as fair
    from deepen.study.define.start import Start as Start
    from deepen.study.define.study import Arm as Arm
    from deepen.study.define.study import Study as Study
    from deepen.study.define.tuning import Tuning as Tuning
    from deepen.study.judge.verdicts import judge as judge
    from deepen.study.results.results_file import load_results as load_results
    from deepen.study.results.schema import Results as Results
    from deepen.study.run.errors import Interrupted as Interrupted
    from deepen.study.run.progress import Preparation as Preparation
    from deepen.study.run.progress import SegmentProgress as SegmentProgress
    from deepen.study.run.progress import StudyProgress as StudyProgress
    from deepen.study.store.checkpoints import find_checkpoint as find_checkpoint
    from deepen.train.optim.spec import OptimizerSpec as OptimizerSpec
    from deepen.train.settings import TrainSettings as TrainSettings
    from deepen.train.state import TrainState as TrainState

_MODULES = {
    "run": "deepen.api",
    "Ledger": "deepen.compute.ledger",
    "InvalidValueError": "deepen.errors",
    "InvalidValuesError": "deepen.errors",
    "RunError": "deepen.errors",
    "grow": "deepen.growth.grow",
    "Growth": "deepen.growth.spec",
    "export_hugging_face": "deepen.interop.export",
    "grow_checkpoint": "deepen.interop.growing",
    "ModelConfig": "deepen.model.config",
    "PRESETS": "deepen.model.presets",
    "plan": "deepen.planning",
    "Part": "deepen.schedule.phase",
    "Phase": "deepen.schedule.phase",
    "Schedule": "deepen.schedule.schedule",
    "Plateau": "deepen.schedule.plateau",
    "Ramp": "deepen.schedule.ramp",
    "WSD": "deepen.schedule.rate",
    "Constant": "deepen.schedule.rate",
    "Cosine": "deepen.schedule.rate",
    "Trainable": "deepen.schedule.trainable",
    "ExecutorChoice": "deepen.study.define.executor",
    "fair": "deepen.study.define.fair",
    "Start": "deepen.study.define.start",
    "Arm": "deepen.study.define.study",
    "Evaluation": "deepen.study.define.evaluation",
    "Study": "deepen.study.define.study",
    "TaskFile": "deepen.study.define.evaluation",
    "Tuning": "deepen.study.define.tuning",
    "Results": "deepen.study.results.schema",
    "load_results": "deepen.study.results.results_file",
    "judge": "deepen.study.judge.verdicts",
    "Interrupted": "deepen.study.run.errors",
    "Preparation": "deepen.study.run.progress",
    "SegmentProgress": "deepen.study.run.progress",
    "StudyProgress": "deepen.study.run.progress",
    "find_checkpoint": "deepen.study.store.checkpoints",
    "OptimizerSpec": "deepen.train.optim.spec",
    "TrainSettings": "deepen.train.settings",
    "TrainState": "deepen.train.state",
}
"""The module of each public name; the imports above are the same list for type checkers."""

__all__ = ["recipes", *_MODULES]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "recipes":
        return import_module("deepen.recipes")
    if name in _MODULES:
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value
    raise AttributeError(f"module 'deepen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
