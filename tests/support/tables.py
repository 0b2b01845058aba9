"""Tables as tests look at them: a schema and its examples together."""

from typing import Any, NamedTuple

import numpy as np

from fcnet.data.examples import make_examples
from fcnet.data.leaks import with_giveaways
from fcnet.data.learn import learn_schema
from fcnet.data.read import Table, in_memory
from fcnet.data.schema import Field


class Learned(NamedTuple):
    features: tuple[Field, ...]
    target: Field
    missing: dict[str, str]
    X: np.ndarray
    Y: np.ndarray
    rows: np.ndarray


def learned(table: Table, target: str, **given: Any) -> Learned:
    """What the columns of a table are, and its examples."""
    file = in_memory(table)
    schema = learn_schema(file, target, **given)
    X, Y, rows = make_examples(schema, file)
    schema = with_giveaways(schema, X, Y)
    return Learned(schema.features, schema.target, dict(schema.missing), X, Y, rows)
