"""A training run that ends by SIGKILL, at a given event or at any time by its parent.

    python killed_run.py FOLDER RESULT [EVENT COUNT]

The run resumes from the checkpoints in FOLDER and writes its parameters to RESULT. With an event,
such as "replace", it kills itself when the event happens the COUNT-th time.
"""

import builtins
import os
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import fcnet
from fcnet import files
from fcnet.train import run
from fcnet.train.fit import fit

STEPS, EVERY = 1500, 10


def kill_at(event, count):
    """Make the program kill itself at the COUNT-th event of a kind."""
    left = [count]

    def happens():
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(function):
        return lambda *args, **named: (happens(), function(*args, **named))[1]

    def after(function):
        return lambda *args, **named: (function(*args, **named), happens())[0]

    def half_written(*args, **named):
        file = builtins.open(*args, **named)  # noqa: SIM115
        write = file.write

        class Half:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, raw):
                write(raw[: len(raw) // 2])
                file.flush()
                happens()
                write(raw[len(raw) // 2 :])

        return Half()

    events = {
        "half written": (files, "open", half_written),
        "before replace": (os, "replace", before(os.replace)),
        "after replace": (os, "replace", after(os.replace)),
        "before removal": (Path, "unlink", before(Path.unlink)),
        "block boundary": (run, "advance", after(run.advance)),
    }
    setattr(*events[event])


def main(folder, result, event=None, count="1"):
    if event is not None:
        kill_at(event, int(count))
    key = jax.random.key(0)
    X = jax.random.normal(key, (50, 4))
    print("ready", flush=True)
    trained = fit(
        fcnet.init(key, (4, 5, 1)), X, jnp.abs(X[:, :1]), key=key, batch_size=8, steps=STEPS,
        hyperparameters={"learning_rate": 0.01}, evaluate_every=EVERY, sampling="epoch",
        validation=0.2, patience=10**6, checkpoint=folder, resume=True,
    )  # fmt: skip
    np.savez(result, *jax.tree.leaves((trained.params, trained.opt_state)), *trained.history)


if __name__ == "__main__":
    main(*sys.argv[1:])
