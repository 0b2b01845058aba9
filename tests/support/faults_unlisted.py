"""Faults that the table of mistakes does not have: the checker places them and says unknown."""

import numpy as np

from support.faults import DB, DELTA, DW, everywhere, hidden, output, through, wide
from support.faulty_backprop import Fault, slope

UNLISTED_FAULTS = (
    *everywhere("unknown", lambda m, k, v: np.tanh(v)),
    *everywhere("unknown", lambda m, k, v: np.sin(3 * v)),
    *everywhere("unknown", lambda m, k, v: v * (1 + abs(v))),
    *everywhere("unknown", lambda m, k, v: v**3),
    *everywhere("unknown", lambda m, k, v: np.sign(v) * np.sqrt(abs(v))),
    *everywhere("unknown", lambda m, k, v: v + 0.01 * v.std() + 0.3 * v),
    *everywhere("unknown", lambda m, k, v: v * np.linspace(0.9, 1.2, v.shape[-1])),
    *everywhere("unknown", lambda m, k, v: np.where(v > 0, v, 0.2 * v)),
    *everywhere("unknown", lambda m, k, v: v / (1e-3 + np.sqrt((v * v).mean()))),
    *everywhere("unknown", lambda m, k, v: v + 0.1 * np.cos(np.arange(v.size)).reshape(v.shape)),
    Fault("unknown", DELTA, lambda m, k, v: v * slope(m, k) ** 2, hidden),
    Fault("unknown", DELTA, lambda m, k, v: m.back[k] * np.sqrt(abs(slope(m, k)) + 0.1), hidden),
    Fault("unknown", DELTA, lambda m, k, v: m.back[k] * (m.Z[k] > 0.3), hidden),
    Fault("unknown", DELTA, lambda m, k, v: m.back[k] * (m.Z[k] > m.Z[k].mean()), hidden),
    Fault("unknown", DELTA, through(lambda m, k, v: m.W[k + 1] * 1.01 + 0.01), hidden),
    Fault("unknown", DELTA, through(lambda m, k, v: np.roll(m.W[k + 1], 1, 1)), hidden),
    Fault("unknown", DELTA, through(lambda m, k, v: np.tanh(m.W[k + 1])), hidden),
    Fault("unknown", DELTA, through(lambda m, k, v: np.cos(m.W[k + 1])), hidden),
    Fault("unknown", DELTA, lambda m, k, v: v + 0.1 * m.A[k], hidden),
    Fault("unknown", DELTA, lambda m, k, v: v + 0.1 * m.Z[k], hidden),
    Fault("unknown", DELTA, lambda m, k, v: (m.mean - 0.9 * m.Y) * m.share, output),
    Fault("unknown", DELTA, lambda m, k, v: (m.mean**2 - m.Y) * m.share, output),
    Fault("unknown", DELTA, lambda m, k, v: v / (1 + m.Y**2), output),
    Fault("unknown", DELTA, lambda m, k, v: np.arctan(m.mean - m.Y) * m.share, output),
    Fault("unknown", DW, lambda m, k, v: m.D[k].T @ np.tanh(m.A[k - 1])),
    Fault("unknown", DW, lambda m, k, v: m.D[k].T @ (m.A[k - 1] + 0.1)),
    Fault("unknown", DW, lambda m, k, v: m.D[k].T @ (m.A[k - 1] * (m.A[k - 1] > 0.2))),
    Fault("unknown", DW, lambda m, k, v: v + 0.1 * m.W[k] ** 2),
    Fault("unknown", DW, lambda m, k, v: v - v.mean()),
    Fault("unknown", DW, lambda m, k, v: v - v.mean(0), wide),
    Fault("unknown", DB, lambda m, k, v: v + 0.1 * m.b[k] ** 2),
    Fault("unknown", DB, lambda m, k, v: v + 0.2 * m.A[k].sum(0)),
    Fault("unknown", DB, lambda m, k, v: v * (1 + m.b[k])),
    Fault("unknown", DB, lambda m, k, v: v - v.mean() / 2, wide),
)
