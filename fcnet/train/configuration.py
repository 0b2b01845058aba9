"""What a run is, as text: a checkpoint is gone on from only where all of it is the same."""

import json
import re
import zlib
from typing import Any

import jax
import numpy as np
import optax
from jax import Array

from fcnet.train.data import key_data, take_rows
from fcnet.train.loop import Data, State, descend
from fcnet.train.optimizer import build
from fcnet.train.run import Plan


def configuration(plan: Plan, state: State, key: Array, **choices: object) -> dict[str, str]:
    """What a run is: by name what people choose, by checksum its data and its compiled step."""
    W = [layer.W for layer in state.params]
    optimizer = plan.optimizer
    ready = isinstance(optimizer, optax.GradientTransformation)
    rows = {
        "sizes": (W[0].shape[1], *(layer.shape[0] for layer in W)),
        "dtype": W[0].dtype,
        "activation": plan.objective.activation.name,
        "output_activation": plan.objective.output_activation.name,
        "loss": plan.objective.loss.name,
        "gradient": plan.objective.gradient,
        "optimizer": "ready-made" if ready else getattr(optimizer, "__name__", "a factory"),
        "hyperparameters": json.dumps(plan.hyperparameters, sort_keys=True),
        "evaluate_every": plan.evaluate_every,
        "patience": plan.patience,
        "precision": plan.precision,
        **choices,
        "key": key_data(key).tolist(),
        "data's checksum": checksum(*jax.tree.leaves((plan.seen, plan.held_out))),
        "compiled step": checksum(np.frombuffer(program(plan, state).encode(), np.uint8)),
        "jax": jax.__version__,
    }
    return {name: str(value) for name, value in rows.items()}


def program(plan: Plan, state: State) -> str:
    """One step as JAX traces it: the optimiser's own constants and schedules are part of it."""

    def step(state: State, batch: Data, hyperparameters: Any) -> State:
        optimizer = build(plan.optimizer, hyperparameters)
        return descend(state, batch, objective=plan.objective, optimizer=optimizer)

    batch = take_rows(plan.seen, np.zeros(1, int))
    traced = str(jax.make_jaxpr(step)(state, batch, plan.hyperparameters))
    return re.sub(r"0x[0-9a-f]+", "", traced)  # addresses of Python's functions


def checksum(*arrays: Any) -> str:
    """A checksum of some arrays' values."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, crc)
    return f"{crc:08x}"
