"""The trainer: one compiled program for a block of steps, and a host loop between blocks."""

from fcnet.train.checkpoint import CheckpointError as CheckpointError
from fcnet.train.history import FitResult as FitResult
from fcnet.train.history import History as History
from fcnet.train.history import Interrupted as Interrupted
from fcnet.train.history import NonFiniteError as NonFiniteError
from fcnet.train.store import Checkpoints as Checkpoints
