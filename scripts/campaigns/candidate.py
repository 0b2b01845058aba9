"""A backward pass with a mistake, for `fcnet check`: the gradient of W is twice too large."""

import numpy as np


def backward(params, x, y):
    ((W, b),) = params
    delta = W @ x + b - y
    return [(2 * np.outer(delta, x), delta)]
