"""The misprints of the notes that change what a program computes, with their corrections."""

from typing import NamedTuple


class Misprint(NamedTuple):
    """A place in the notes, what is printed there, and what this package reads instead."""

    where: str
    printed: str
    reading: str


MISPRINTS = (
    Misprint(
        "Section 1, linear models",
        "logistic regression is h = theta^T x, linear in theta",
        "only its logit is; the hypothesis is the sigmoid of it",
    ),
    Misprint(
        "(1.2), mean square",
        "J is the mean-square cost",
        "half of it, because of the 1/2 in (1.1); libraries mean the whole",
    ),
    Misprint(
        "Section 1, scaling the cost",
        "multiplying the cost by a scalar keeps its minima",
        "by a positive one; with 0 every point is a minimum, with -1 the maxima are",
    ),
    Misprint(
        "(2.2), one layer",
        "the single neuron is a network with 1 layer",
        "its layer ends in a ReLU, which (2.12) with r = 1 does not have",
    ),
    Misprint(
        "(2.3), negative prices",
        "ReLU is there so that no price is negative",
        "the output of (2.3) is linear, as Footnote 3 says, so a price can be",
    ),
    Misprint(
        "(2.4), Figure 2",
        "Figure 2 shows the fully-connected network",
        "Figure 3 does; Figure 2 has 5 of the 12 edges",
    ),
    Misprint(
        "Figure 3, caption",
        "a_j = ReLU of the sum of (w_j)_i x_i over i = 1..m",
        "over i = 1..d, and plus b_j, as in (2.5)",
    ),
    Misprint(
        "(2.12), number of neurons",
        "a neuron has a non-linearity, and m_1 + ... + m_r are neurons",
        "the sum counts the m_r linear outputs too: m hidden units make m + 1 neurons",
    ),
    Misprint(
        "(2.19)",
        "z = W x by (2.8), where there is a bias",
        "by (2.9) without biases; with them the collapse also has W^[2] b^[1] + b^[2]",
    ),
    Misprint(
        "Section 2, identity activation",
        "without activations the network simply performs linear regression",
        "same functions, unless a hidden layer is the narrowest; another cost, with a saddle at 0",
    ),
    Misprint(
        "(2.21), penultimate layer",
        "the learned features are a^[r]",
        "a^[r-1]; a^[r] is the output",
    ),
    Misprint(
        "Section 3, title",
        "backpropagation is auto-differentiation",
        "it is the reverse mode; the forward mode costs as many times f as f has inputs",
    ),
    Misprint(
        "Theorem 3.1, ReLU",
        "ReLU is an elementary differentiable function",
        "not at 0, where with no value of ReLU'(0) the chain rule is always true",
    ),
    Misprint(
        "Footnote 4",
        "partials that are zero cost nothing, so less than l operations can do",
        "so if only the others are stored; an array of all l takes l writes",
    ),
    Misprint(
        "Section 3.2, aim",
        "the gradient of h is computed",
        "that of J is, (o - y) times the gradient of h",
    ),
    Misprint(
        "Section 3.2, 1{z >= 0}",
        "the derivative of ReLU(z) is 1{z >= 0}",
        "by convention ReLU'(0) = 1, here and in Algorithm 5; libraries have others",
    ),
    Misprint(
        "Section 3.3, output",
        "every partial needs at least the output o",
        "that of an inactive unit does not: it is 0 whatever o is",
    ),
    Misprint(
        "Section 3.3, (md)^2",
        "all partials together take at least (md)^2 operations",
        "if each starts from x; from one stored forward pass, two layers take O(md)",
    ),
    Misprint(
        "(3.12), scope",
        "the rule only works for z = W u",
        "for z = W u + b as well, but only where J depends on u through z alone",
    ),
    Misprint(
        "Algorithm 4, line 3",
        "(o - y) W^[2]^T",
        "W^[2]^T delta^[2], as in Algorithm 5: the same for one output, and right for more",
    ),
    Misprint(
        "Section 3.4, derivation",
        "(3.15) invoked with z <- a",
        "with z <- z: sigma' is taken at z",
    ),
    Misprint(
        "Algorithm 5, line 1",
        "store a^[k] and z^[k] for k = 1..r-1, and J",
        "also a^[0] = x, for layer 1, and z^[r], for line 2; J is not needed",
    ),
    Misprint(
        "Algorithm 5, line 2",
        "delta^[r] = z^[r] - o, which is 0",
        "delta^[r] = z^[r] - y",
    ),
    Misprint(
        "Algorithm 5, line 3",
        "k runs to 1, so line 5 stops at layer 2",
        "line 5 also runs for k = 0: layer 1 has a gradient too",
    ),
    Misprint(
        "Section 3.5, last sentence",
        "dJ/dW^[k] is computed from delta^[k]",
        "and from a^[k-1]",
    ),
    Misprint(
        "(4.2), sizes",
        "b is 4 x 1, and W X is 4 x 3",
        "m x 1 and m x n; 4 was d, and nothing has 4 rows but X",
    ),
    Misprint(
        "(4.2), broadcasting",
        "b is added to every column by broadcasting",
        "as an (m, 1) array; an (m,) array is an error, or a silent mistake where n = m",
    ),
    Misprint(
        "(4.4), names",
        "X, W and b stand for their own transposes",
        "other names: where d = m, the W of (4.2) fits (4.4) and gives something else",
    ),
    Misprint(
        "Section 4, packages",
        "packages put examples in rows and so transpose all matrices",
        "scikit-learn and PyTorch have examples in rows, yet W as outputs x inputs",
    ),
)
"""The misprints in the order of the notes; each is shown in `tests/notes/test_misprints*.py`."""
