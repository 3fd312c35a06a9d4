"""Where a training stands, and what its parts share."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cifar_model.training.control import Control
from cifar_model.training.data import TrainingData
from cifar_model.training.folder import RunDirectory
from cifar_model.training.network import Networks
from cifar_model.training.settings import Settings

if TYPE_CHECKING:
    from cifar_model.training.batches import Batches

Report = Callable[[str, dict], None]  # called with "progress", "epoch" or "note", and a record


@dataclass
class State:
    """What a run must remember to go on: written into each checkpoint.

    epoch, epochs : finished epochs, and how many there were to be
    learning_rate : the settings' own
    best_accuracy, best_epoch : of the network that is kept; epoch 0 is one stopped within the first epoch
    rate_factor : what the recipe's learning rate is multiplied by, since somebody changed it
    seconds : of training, pauses not counted
    early_stopping : [best validation accuracy, epochs since], where that option is on
    """

    epoch: int = 0
    epochs: int = 0
    learning_rate: float = 0.0
    best_accuracy: float = -1.0
    best_epoch: int = 0
    rate_factor: float = 1.0
    seconds: float = 0.0
    early_stopping: list | None = None

    @classmethod
    def from_dict(cls, values: dict) -> "State":
        """From a checkpoint's state; what it lacks or has besides doesn't matter."""
        known = {item.name for item in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


@dataclass
class Training:
    """One training under way, as its callbacks and its end see it.

    precision : number format that is learned in, "float32" or "bfloat16"
    origin : what the card tells of the model that the run started from; {} for none
    row : the history row of the epoch that has just ended; None where the epoch was stopped before its end
    """

    settings: Settings
    directory: RunDirectory
    command: str
    report: Report
    control: Control
    data: TrainingData
    networks: Networks
    batches: "Batches"
    precision: str
    origin: dict
    state: State = field(default_factory=State)
    row: dict | None = None
