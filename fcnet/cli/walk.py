"""`fcnet walk`: a page on which one watches Algorithm 5 while a small network learns."""

from pathlib import Path
from typing import Any

from fcnet.cli.options import Command, count, option, positive, seed
from fcnet.files import write_file


def walk(network: str, steps: int, learning_rate: float, seed: int, out: Path) -> None:
    """Train a network, write the page of its steps, and print where it is."""
    import jax

    from fcnet import plot

    start, draws = jax.random.split(jax.random.key(seed))
    page = plot.walk(
        **NETWORKS[network](start), key=draws, learning_rate=learning_rate, steps=steps
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, page.encode())
    print(f"{out}: open it in a browser")


def house(key: Any) -> dict[str, Any]:
    """Figure 2's network, and 60 made-up houses whose prices such a network gives."""
    import jax
    import jax.numpy as jnp

    from fcnet.network import init
    from fcnet.notes import EDGES, INPUTS, MASK, house_network
    from fcnet.types import Layer

    start, houses = jax.random.split(key)
    first, last = init(start, (len(INPUTS), len(EDGES), 1))
    X = jax.random.normal(houses, (60, len(INPUTS)))
    theta = jnp.array([1.0, 0.5, 0.2, 1.0, 0.3, -0.5, 1.0, 0.1, 1.0, 0.5, 1.0, -0.5])
    return {
        "params": (Layer(first.W * MASK, first.b), last),
        "X": X,
        "Y": jax.vmap(house_network, (None, 0))(theta, X)[:, None],
        "edges": (MASK, jnp.ones(last.W.shape, bool)),
        "names": (INPUTS, tuple(EDGES), ("price",)),
        "title": "Figure 2, the house network, learns",
    }


def xor(key: Any) -> dict[str, Any]:
    """A 2-4-1 network, and the four examples of XOR."""
    import jax.numpy as jnp

    from fcnet.network import init

    return {
        "params": init(key, (2, 4, 1)),
        "X": jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
        "Y": jnp.array([[0.0], [1.0], [1.0], [0.0]]),
        "title": "A network learns XOR",
    }


NETWORKS = {"house": house, "xor": xor}
"""What `fcnet.plot.walk` takes for a network, by its name."""

COMMAND = Command(
    walk,
    "write a page on which one watches Algorithm 5 while a small network learns",
    (
        "fcnet walk house",
        "fcnet walk xor --steps 1000 --out xor.html",
    ),
    {
        "network": {
            "choices": tuple(NETWORKS),
            "metavar": "NETWORK",
            "help": "house, Figure 2 of the notes, or xor; fcnet.plot.walk shows any other",
        },
        "--steps": option(250, "of Algorithm 1, one example in each", type=count(0, 100_000)),
        "--learning-rate": option(0.1, "alpha", type=positive, metavar="ALPHA"),
        "--seed": option(0, "for the first parameters and the examples", type=seed),
        "--out": option(Path("walk.html"), "the page to write", type=Path, metavar="FILE"),
    },
)
