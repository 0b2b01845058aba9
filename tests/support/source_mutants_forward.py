"""Source mutants of activations, losses and network, each with the test that notices it."""

import test_activations as activations
import test_losses as losses
import test_network as network

from support.source_mutants import mutants

CLOSED = activations.test_value_and_derivative_have_their_closed_forms
SLOPES = activations.test_derivative_agrees_with_autodiff_and_differences
AT_ZERO = activations.test_at_zero_the_derivative_of_relu_is_one

ACTIVATIONS = mutants(
    "activations.py",
    (
        "relu: NaN becomes 0",
        "jnp.maximum(z, 0)",
        "jnp.where(z >= 0, z, 0)",
        activations.test_nan_stays_nan,
        {"name": "relu"},
    ),
    (
        "relu: the absolute value",
        "jnp.maximum(z, 0)",
        "jnp.abs(z)",
        activations.test_relu_splits_numbers_into_their_halves,
    ),
    (
        "relu: the tangent is 0 at 0",
        "jnp.where(z >= 0, dz, jnp.zeros_like(dz))",
        "jnp.where(z > 0, dz, jnp.zeros_like(dz))",
        AT_ZERO,
    ),
    (
        "relu: the derivative is 0 at 0",
        "(z >= 0).astype(z.dtype)",
        "(z > 0).astype(z.dtype)",
        AT_ZERO,
    ),
    (
        "sigmoid: the derivative takes a for z",
        "s * (1 - s)",
        "z * (1 - z)",
        CLOSED,
        {"name": "sigmoid"},
    ),
    (
        "tanh: the square is left out",
        "(1 + t) * (1 - t)",
        "1 - t",
        SLOPES,
        {"name": "tanh"},
    ),
    (
        "identity: its derivative is itself",
        'Activation("identity", _identity, jnp.ones_like)',
        'Activation("identity", _identity, _identity)',
        SLOPES,
        {"name": "identity"},
    ),
    (
        "leaky_relu: another slope in the derivative",
        "jnp.full_like(z, 0.01)",
        "jnp.full_like(z, 0.1)",
        CLOSED,
        {"name": "leaky_relu"},
    ),
    (
        "softplus: the derivative of something similar",
        'Activation("softplus", jax.nn.softplus, jax.nn.sigmoid)',
        'Activation("softplus", jax.nn.softplus, jnp.tanh)',
        SLOPES,
        {"name": "softplus"},
    ),
    (
        "gelu: the approximation by tanh",
        "jax.nn.gelu(z, approximate=False)",
        "jax.nn.gelu(z, approximate=True)",
        CLOSED,
        {"name": "gelu"},
    ),
    (
        "gelu: the product rule without its z",
        "z * norm.pdf(z)",
        "norm.pdf(z)",
        SLOPES,
        {"name": "gelu"},
    ),
    (
        "silu: the derivative with s for 1 - s",
        "s * (1 + z * (1 - s))",
        "s * (1 + z * s)",
        SLOPES,
        {"name": "silu"},
    ),
    (
        "elu: the derivative grows for z > 0",
        "jnp.exp(jnp.minimum(z, 0))",
        "jnp.exp(z)",
        CLOSED,
        {"name": "elu"},
    ),
)

VALUES = losses.test_value_and_derivative_have_their_closed_forms
DIFFERENCES = losses.test_derivative_agrees_with_differences

LOSSES = mutants(
    "losses.py",
    (
        "squared_error: no 1/2",
        "jnp.sum(wide**2) / 2",
        "jnp.sum(wide**2)",
        losses.test_example_loss_is_half_the_square_of_the_residual,
    ),
    (
        "squared_error: the mean over the outputs",
        "jnp.sum(wide**2) / 2",
        "jnp.mean(wide**2) / 2",
        DIFFERENCES,
        {"name": "squared_error"},
    ),
    (
        "logistic: the sign of the logit",
        "jax.nn.softplus(o) - y * o",
        "jax.nn.softplus(-o) - y * o",
        VALUES,
        {"name": "logistic"},
    ),
    (
        "logistic: the logit taken for the probability",
        "jax.nn.sigmoid(o) - y",
        "o - y",
        DIFFERENCES,
        {"name": "logistic"},
    ),
    (
        "softmax_cross_entropy: each class by itself",
        "jax.nn.softmax(o) - y",
        "jax.nn.sigmoid(o) - y",
        VALUES,
        {"name": "softmax_cross_entropy"},
    ),
    (
        "softmax_cross_entropy: the largest logit for all of them",
        "logsumexp(o)",
        "jnp.max(o)",
        DIFFERENCES,
        {"name": "softmax_cross_entropy"},
    ),
    (
        "poisson: the target multiplies in the derivative",
        "return jnp.exp(o) - y",
        "return jnp.exp(o) - y * o",
        DIFFERENCES,
        {"name": "poisson"},
    ),
    (
        "mean_loss: the sum",
        "jnp.mean(losses)",
        "jnp.sum(losses)",
        losses.test_mean_loss_is_the_mean_of_the_examples,
        {"loss": "squared_error"},
    ),
    (
        "mean_loss: weights that are no shares",
        "known / where(total > 0, total, 1)",
        "known / n",
        losses.test_weights_are_shares_of_the_examples,
    ),
)

LOOPS = network.test_forward_agrees_with_loops

NETWORK = mutants(
    "network.py",
    (
        "forward: no bias",
        "layer.W @ a[-1] + layer.b",
        "layer.W @ a[-1]",
        LOOPS,
        {"sizes": (5, 4, 3, 2)},
    ),
    (
        "forward: z handed on in place of a",
        "layer.W @ a[-1] + layer.b",
        "layer.W @ (z or a)[-1] + layer.b",
        network.test_the_output_is_affine_and_the_hidden_layers_are_not,
    ),
    (
        "forward: the hidden activation at the output too",
        "[hidden] * (len(layers) - 1) + [output]",
        "[hidden] * len(layers)",
        network.test_one_layer_has_no_relu_unless_it_is_asked_for,
    ),
    (
        "features: the pre-activations",
        "forward_trace(params, x, activation=activation).a[-2]",
        "forward_trace(params, x, activation=activation).z[-2]",
        network.test_the_output_is_linear_in_the_features,
    ),
    (
        "init: weights the other way round",
        "numbers.reshape(m, m_below)",
        "numbers.reshape(m_below, m)",
        network.test_init_gives_the_notes_shapes_and_zero_biases,
    ),
    (
        "init: the variance for linear layers",
        "2 / m_below",
        "1 / m_below",
        network.test_init_keeps_the_size_of_the_signal_through_relu_layers,
    ),
    (
        "init: one key for all layers",
        "_draw(k, m, m_below, most, dtype)",
        "_draw(key, m, m_below, most, dtype)",
        network.test_init_draws_normal_weights_of_variance_two_over_fan_in,
    ),
    (
        "count_params: one bias a layer",
        "(m_below + 1) * m",
        "m_below * m + 1",
        network.test_counts,
        {"sizes": (4, 3, 1), "parameters": 19, "neurons": 4},
    ),
    (
        "count_neurons: the inputs too",
        "sum(_as_sizes(sizes)[1:])",
        "sum(_as_sizes(sizes))",
        network.test_counts,
        {"sizes": (4, 3, 1), "parameters": 19, "neurons": 4},
    ),
)
