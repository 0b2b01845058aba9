"""Five programs with named intermediate values, their backward passes by hand, and planted faults.

Each backward pass calls `step(name, value, ...)` for the gradient of each named value. The keywords
are what people write there by mistake; `step` returns one of these where a fault is planted.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name as name


class Program(NamedTuple):
    """A function, its backward pass `(step, *args) -> gradient`, and arguments of it."""

    function: Callable[..., Any]
    backward: Callable[..., Any]
    draw: Callable[[np.random.Generator], tuple[Any, ...]]


class Steps:
    """Collects the gradients of named values; plants one fault, if one is given.

    A fault is (name, kind): a kind of `EDITS`, or a keyword of the step.
    """

    def __init__(self, fault: tuple[str, str] | None = None) -> None:
        self.fault, self.found, self.faults = fault, {}, []

    def __call__(self, name: str, value: Any, **mistakes: Callable[[], Any]) -> Any:
        edits = {kind: lambda edit=edit: edit(value) for kind, edit in EDITS.items()} | mistakes
        self.faults += [(name, kind) for kind, make in edits.items() if _differs(make(), value)]
        if self.fault is not None and self.fault[0] == name:
            value = edits[self.fault[1]]()
        self.found[name] = value
        return value


def _differs(wrong: np.ndarray, value: np.ndarray) -> bool:
    if wrong.shape != value.shape:
        return True
    size = max(abs(wrong).max(), abs(value).max())
    return abs(wrong - value).max() > 0.01 * size and size > 1e-9  # less is all rounding


def _one_index(value: np.ndarray) -> np.ndarray:
    value = value.copy()
    value.reshape(-1)[value.size // 2] *= 1.5
    return value


EDITS = {
    "factor": lambda v: v * 2,
    "sign": lambda v: -v,
    "zero": np.zeros_like,
    "divided": lambda v: v / len(v) if v.ndim else v / 3,
    "transposed": lambda v: v.T.copy() if v.ndim == 2 and len(v) == len(v.T) else v,
    "shifted": lambda v: np.roll(v, 1, 0) if v.ndim else v,
    "one entry": _one_index,
    "summed": lambda v: v.sum(0, keepdims=True) + 0 * v if v.ndim else v,
}
"""Mistakes that can be made anywhere; a few change nothing at some places."""


def gradient_of(program: Program, fault: tuple[str, str] | None = None) -> Callable[..., Any]:
    """The candidate: (gradient, gradients of the named values)."""

    def gradient(*args: Any) -> Any:
        step = Steps(fault)
        return program.backward(step, *args), step.found

    return gradient


def faults_of(program: Program, args: tuple[Any, ...]) -> list[tuple[str, str]]:
    """The faults that change a step at these arguments."""
    step = Steps()
    program.backward(step, *args)
    return step.faults


def batch_norm(params, X, w):
    mean = name(X.mean(0), "mean")
    centred = name(X - mean, "centred")
    square = name(centred**2, "square")
    var = name(square.mean(0), "var")
    inverse = name(1 / jnp.sqrt(var + 1e-3), "inverse")
    xhat = name(centred * inverse, "xhat")
    out = name(params["gamma"] * xhat + params["beta"], "out")
    t = name(jnp.tanh(out), "t")
    return jnp.sum(t * w)


def batch_norm_back(step, params, X, w):
    n = len(X)
    mean = X.mean(0)
    centred = X - mean
    var = (centred**2).mean(0)
    inverse = 1 / np.sqrt(var + 1e-3)
    xhat = centred * inverse
    t = np.tanh(params["gamma"] * xhat + params["beta"])
    dt = step("t", w.copy())
    dout = step("out", (1 - t * t) * dt, unsquared=lambda: (1 - t) * dt)
    dxhat = step("xhat", params["gamma"] * dout, no_gamma=lambda: dout + 0)
    dinverse = step(
        "inverse",
        (centred * dxhat).sum(0),
        mean=lambda: (centred * dxhat).mean(0),
        normed=lambda: (xhat * dxhat).sum(0),
    )
    dvar = step(
        "var",
        -(inverse**3) / 2 * dinverse,
        no_half=lambda: -(inverse**3) * dinverse,
        power=lambda: -(inverse**2) / 2 * dinverse,
    )
    dsquare = step(
        "square", np.ones_like(X) * dvar / n, unbiased=lambda: np.ones_like(X) * dvar / (n - 1)
    )
    dcentred = step(
        "centred",
        2 * centred * dsquare + inverse * dxhat,
        no_square=lambda: inverse * dxhat,
        no_xhat=lambda: 2 * centred * dsquare,
        no_two=lambda: centred * dsquare + inverse * dxhat,
    )
    dmean = step(
        "mean", -dcentred.sum(0), mean=lambda: -dcentred.mean(0), plus=lambda: dcentred.sum(0)
    )
    del dmean
    return {"gamma": (dout * xhat).sum(0), "beta": dout.sum(0)}


def attention(params, X, w):
    q = name(X @ params["Q"], "q")
    k = name(X @ params["K"], "k")
    v = name(X @ params["V"], "v")
    scores = name(q @ k.T / np.sqrt(q.shape[1]), "scores")
    e = name(jnp.exp(scores), "e")
    total = name(e.sum(1, keepdims=True), "total")
    p = name(e / total, "p")
    o = name(p @ v, "o")
    r = name(X + o, "r")
    t = name(jnp.tanh(r), "t")
    return jnp.sum(w * t)


def attention_back(step, params, X, w):
    q, k, v = X @ params["Q"], X @ params["K"], X @ params["V"]
    root = X.dtype.type(np.sqrt(q.shape[1]))
    e = np.exp(q @ k.T / root)
    total = e.sum(1, keepdims=True)
    p = e / total
    t = np.tanh(X + p @ v)
    dt = step("t", w.copy())
    dr = step("r", (1 - t * t) * dt, no_slope=lambda: dt + 0)
    do = step("o", dr.copy())
    dp = step("p", do @ v.T, swapped=lambda: (v @ do.T).copy())
    dtotal = step(
        "total",
        -(dp * e).sum(1, keepdims=True) / total**2,
        power=lambda: -(dp * e).sum(1, keepdims=True) / total,
        axis=lambda: -(dp * e).sum(0)[:, None] / total**2,
    )
    de = step(
        "e", dp / total + dtotal, no_total=lambda: dp / total, turned=lambda: dp / total + dtotal.T
    )
    dscores = step("scores", de * e, softmax=lambda: de * p)
    dv = step("v", p.T @ do, turned=lambda: p @ do)
    dk = step(
        "k", dscores.T @ q / root, turned=lambda: dscores @ q / root, no_root=lambda: dscores.T @ q
    )
    dq = step("q", dscores @ k / root, turned=lambda: dscores.T @ k / root)
    return {"K": X.T @ dk, "Q": X.T @ dq, "V": X.T @ dv}


def convolution(params, X, w):
    pad = name(jnp.pad(X, ((0, 0), (0, 0), (1, 1))), "pad")
    z = name(
        jax.lax.conv_general_dilated(
            pad, params["K"], (1,), "VALID", dimension_numbers=("NCH", "OIH", "NCH")
        ),
        "z",
    )
    biased = name(z + params["b"][:, None], "biased")
    h = name(jnp.maximum(biased, 0), "h")
    pool = name(h.reshape(*h.shape[:2], -1, 2).mean(-1), "pool")
    flat = name(pool.reshape(len(X), -1), "flat")
    o = name(flat @ params["U"], "o")
    r = name(o - w, "r")
    return jnp.sum(r**2) / len(X)


def convolution_back(step, params, X, w):
    K, n = params["K"], len(X)
    pad = np.pad(X, ((0, 0), (0, 0), (1, 1)))
    length, width = X.shape[2], K.shape[2]
    windows = np.stack([pad[:, :, i : i + length] for i in range(width)], -1)
    biased = np.einsum("nclk,ock->nol", windows, K) + params["b"][:, None]
    h = np.maximum(biased, 0)
    pool = h.reshape(*h.shape[:2], -1, 2).mean(-1)
    flat = pool.reshape(n, -1)
    r = flat @ params["U"] - w
    dr = step("r", 2 * r / n, no_two=lambda: r / n, no_n=lambda: 2 * r)
    do = step("o", dr.copy())
    dflat = step("flat", do @ params["U"].T)
    dpool = step("pool", dflat.reshape(pool.shape))
    dh = step(
        "h",
        np.repeat(dpool, 2, -1) / 2,
        no_half=lambda: np.repeat(dpool, 2, -1),
        tiled=lambda: np.concatenate([dpool, dpool], -1) / 2,
    )
    dbiased = step(
        "biased", dh * (biased > 0), no_slope=lambda: dh + 0, wrong_side=lambda: dh * (biased < 0)
    )
    dz = step("z", dbiased.copy())
    parts = np.einsum("nol,ock->nclk", dz, K)
    turned = np.einsum("nol,ock->nclk", dz, K[:, :, ::-1])

    def spread(parts):
        dpad = np.zeros_like(pad)
        for i in range(width):
            dpad[:, :, i : i + length] += parts[..., i]
        return dpad

    step("pad", spread(parts), turned=lambda: spread(turned))
    dK = np.einsum("nol,nclk->ock", dz, windows)
    return {"K": dK, "U": flat.T @ do, "b": dbiased.sum((0, 2))}


STEPS = 3


def recurrent(params, X, h, w):
    for t in range(1, STEPS + 1):
        u = name(jax.nn.sigmoid(params["Wu"] @ X[t - 1] + params["Uu"] @ h), f"u{t}")
        g = name(params["Wn"] @ X[t - 1], f"g{t}")
        s = name(params["Un"] @ (u * h), f"s{t}")
        n = name(jnp.tanh(g + s), f"n{t}")
        h = name(u * h + (1 - u) * n, f"h{t}")
    return jnp.sum(w * h**2)


def recurrent_back(step, params, X, h, w):
    us, ns, hs = [], [], [h]
    for x in X[:STEPS]:
        u = 1 / (1 + np.exp(-(params["Wu"] @ x + params["Uu"] @ hs[-1])))
        n = np.tanh(params["Wn"] @ x + params["Un"] @ (u * hs[-1]))
        us.append(u)
        ns.append(n)
        hs.append(u * hs[-1] + (1 - u) * n)
    grads = {key: np.zeros_like(value) for key, value in params.items()}
    dh = step(f"h{STEPS}", 2 * w * hs[-1], no_two=lambda: w * hs[-1])
    for t in range(STEPS, 0, -1):
        u, n, h, x = us[t - 1], ns[t - 1], hs[t - 1], X[t - 1]
        dn = step(f"n{t}", dh * (1 - u), gate=lambda u=u, dh=dh: dh * u)
        ds = step(f"s{t}", dn * (1 - n * n), no_slope=lambda dn=dn: dn + 0)
        dg = step(f"g{t}", dn * (1 - n * n), half=lambda dn=dn, n=n: dn * (1 - n))
        back = params["Un"].T @ ds
        du = step(
            f"u{t}",
            dh * (h - n) + back * h,
            no_candidate=lambda dh=dh, h=h, back=back: dh * h + back * h,
            no_reset=lambda dh=dh, h=h, n=n: dh * (h - n),
            no_state=lambda n=n, dh=dh, back=back, h=h: -dh * n + back * h,
        )
        dzu = du * u * (1 - u)
        grads["Un"] += np.outer(ds, u * h)
        grads["Wn"] += np.outer(dg, x)
        grads["Wu"] += np.outer(dzu, x)
        grads["Uu"] += np.outer(dzu, h)
        below = dh * u + back * u + params["Uu"].T @ dzu
        if t > 1:
            dh = step(
                f"h{t - 1}",
                below,
                no_gate=lambda dh=dh, u=u, back=back: dh * u + back * u,
                no_carry=lambda u=u, back=back, dzu=dzu: back * u + params["Uu"].T @ dzu,
                no_candidate=lambda dh=dh, u=u, dzu=dzu: dh * u + params["Uu"].T @ dzu,
            )
    return grads


def language(params, tokens, labels):
    """Embedding, a layer with batch norm, softmax and cross-entropy: every step has a name."""
    n = len(tokens)
    emb = name(params["C"][tokens], "emb")
    embcat = name(emb.reshape(n, -1), "embcat")
    pre = name(embcat @ params["W1"] + params["b1"], "pre")
    mean = name(pre.mean(0, keepdims=True), "mean")
    diff = name(pre - mean, "diff")
    diff2 = name(diff**2, "diff2")
    var = name(diff2.sum(0, keepdims=True) / (n - 1), "var")
    inverse = name((var + 1e-3) ** -0.5, "inverse")
    raw = name(diff * inverse, "raw")
    act = name(params["gain"] * raw + params["shift"], "act")
    h = name(jnp.tanh(act), "h")
    logits = name(h @ params["W2"] + params["b2"], "logits")
    largest = name(logits.max(1, keepdims=True), "largest")
    norm = name(logits - largest, "norm")
    counts = name(jnp.exp(norm), "counts")
    total = name(counts.sum(1, keepdims=True), "total")
    share = name(1 / total, "share")
    probs = name(counts * share, "probs")
    logprobs = name(jnp.log(probs), "logprobs")
    picked = name(logprobs[jnp.arange(n), labels], "picked")
    return -picked.mean()


def language_back(step, params, tokens, labels):
    n, rows = len(tokens), np.arange(len(tokens))
    emb = params["C"][tokens]
    embcat = emb.reshape(n, -1)
    pre = embcat @ params["W1"] + params["b1"]
    diff = pre - pre.mean(0, keepdims=True)
    var = (diff**2).sum(0, keepdims=True) / (n - 1)
    inverse = (var + 1e-3) ** -0.5
    raw = diff * inverse
    h = np.tanh(params["gain"] * raw + params["shift"])
    logits = h @ params["W2"] + params["b2"]
    norm = logits - logits.max(1, keepdims=True)
    counts = np.exp(norm)
    total = counts.sum(1, keepdims=True)
    share = 1 / total
    probs = counts * share
    dpicked = step(
        "picked", -np.ones_like(probs[:, 0]) / n, no_n=lambda: -np.ones_like(probs[:, 0])
    )
    dlogprobs = np.zeros_like(probs)
    dlogprobs[rows, labels] = dpicked
    dlogprobs = step("logprobs", dlogprobs)
    dprobs = step("probs", dlogprobs / probs, times=lambda: dlogprobs * probs)
    dshare = step(
        "share",
        (counts * dprobs).sum(1, keepdims=True),
        mean=lambda: (counts * dprobs).mean(1, keepdims=True),
    )
    dtotal = step(
        "total", -(share**2) * dshare, plus=lambda: share**2 * dshare, power=lambda: -share * dshare
    )
    dcounts = step(
        "counts",
        share * dprobs + dtotal,
        no_total=lambda: share * dprobs,
        no_share=lambda: np.ones_like(counts) * dtotal,
    )
    dnorm = step("norm", counts * dcounts, probs=lambda: probs * dcounts)
    # -dnorm.sum(1) is 0 but for rounding: softmax does not change when all logits move together
    dlargest = step(
        "largest",
        -dnorm.sum(1, keepdims=True),
        one_only=lambda: -dnorm.max(1, keepdims=True),
    )
    at = np.zeros_like(logits)
    at[rows, logits.argmax(1)] = 1
    dlogits = step("logits", dnorm + at * dlargest, halved=lambda: dnorm / 2 + at * dlargest)
    dh = step("h", dlogits @ params["W2"].T)
    dact = step("act", (1 - h * h) * dh, unsquared=lambda: (1 - h) * dh, no_slope=lambda: dh + 0)
    draw = step("raw", params["gain"] * dact, no_gain=lambda: dact + 0)
    dinverse = step(
        "inverse",
        (diff * draw).sum(0, keepdims=True),
        normed=lambda: (raw * draw).sum(0, keepdims=True),
    )
    dvar = step("var", -(inverse**3) / 2 * dinverse, power=lambda: -(inverse**2) / 2 * dinverse)
    ones = np.ones_like(diff)
    ddiff2 = step("diff2", ones * dvar / (n - 1), biased=lambda: ones * dvar / n)
    ddiff = step(
        "diff",
        inverse * draw + 2 * diff * ddiff2,
        no_var=lambda: inverse * draw,
        no_two=lambda: inverse * draw + diff * ddiff2,
        no_raw=lambda: 2 * diff * ddiff2,
    )
    dmean = step("mean", -ddiff.sum(0, keepdims=True), plus=lambda: ddiff.sum(0, keepdims=True))
    dpre = step(
        "pre",
        ddiff + ones * dmean / n,
        no_mean=lambda: ddiff + 0,
        no_n=lambda: ddiff + ones * dmean,
    )
    dembcat = step("embcat", dpre @ params["W1"].T)
    demb = step(
        "emb", dembcat.reshape(emb.shape), turned=lambda: dembcat.reshape(emb.shape)[:, ::-1]
    )
    dC = np.zeros_like(params["C"])
    np.add.at(dC, tokens, demb)
    return {
        "C": dC,
        "W1": embcat.T @ dpre,
        "b1": dpre.sum(0),
        "gain": (raw * dact).sum(0),
        "shift": dact.sum(0),
        "W2": h.T @ dlogits,
        "b2": dlogits.sum(0),
    }


def _language_arguments(r):
    shapes = {
        "C": (7, 2),
        "W1": (6, 5),
        "b1": (5,),
        "gain": (5,),
        "shift": (5,),
        "W2": (5, 7),
        "b2": (7,),
    }
    params = {key: r.normal(size=shape) for key, shape in shapes.items()}
    return params, r.integers(7, size=(8, 3)), r.integers(7, size=8)


def _recurrent_arguments(r):
    params = {
        key: r.normal(size=(4, 3 if key[0] == "W" else 4)) / 2 for key in ("Wu", "Uu", "Wn", "Un")
    }
    return params, r.normal(size=(3, 3)), r.normal(size=4), r.normal(size=4)


NAMED = {
    "batch norm": Program(
        batch_norm,
        batch_norm_back,
        lambda r: (
            {"gamma": r.normal(size=4), "beta": r.normal(size=4)},
            r.normal(size=(6, 4)) + 1,
            r.normal(size=(6, 4)),
        ),
    ),
    "attention": Program(
        attention,
        attention_back,
        lambda r: (
            {key: r.normal(size=(3, 3)) / 2 for key in "QKV"},
            r.normal(size=(5, 3)),
            r.normal(size=(5, 3)),
        ),
    ),
    "convolution": Program(
        convolution,
        convolution_back,
        lambda r: (
            {"K": r.normal(size=(3, 2, 3)), "b": r.normal(size=3), "U": r.normal(size=(9, 2))},
            r.normal(size=(4, 2, 6)),
            r.normal(size=(4, 2)),
        ),
    ),
    "recurrent": Program(recurrent, recurrent_back, _recurrent_arguments),
    "language": Program(language, language_back, _language_arguments),
}
