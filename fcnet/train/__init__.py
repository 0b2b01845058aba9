"""The trainer: one compiled program for a block of steps, and a host loop between blocks."""

from fcnet.train.checkpoint import CheckpointError as CheckpointError
from fcnet.train.checkpoint import Checkpoints as Checkpoints
from fcnet.train.types import FitResult as FitResult
from fcnet.train.types import History as History
from fcnet.train.types import Interrupted as Interrupted
from fcnet.train.types import NonFiniteError as NonFiniteError
