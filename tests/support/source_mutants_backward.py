"""Source mutants of backpropagation, descent and sampling, each with the test that notices it."""

from typing import Any

import test_backpropagation as backprop
import test_descent as sgd
import test_descent_estimates as estimates
import test_invariants as invariants
import test_losses as losses
import test_network as network
import test_sums as sums
from test_sampling_uniformity import RARE, many, p_subsets

from support.problems import Case
from support.source_mutants import mutants

AUTODIFF = backprop.test_agrees_with_autodiff_of_the_named_choices
SQUARE = {"case": Case((3, 3, 3), n=3, activation="tanh", loss="poisson")}
RECURSION = "delta = (W_above.T @ delta) * sigma.derivative(z)"
LINE_2 = "delta = J.derivative(trace.a[-1], target) * sigma_r.derivative(trace.z[-1])"

BACKPROP = mutants(
    "backpropagation.py",
    (
        "line 2: z - o, as printed",
        LINE_2,
        "delta = J.derivative(trace.a[-1], trace.z[-1]) * sigma_r.derivative(trace.z[-1])",
        invariants.test_without_biases_every_layer_has_the_same_inner_product,
    ),
    (
        "line 2: no derivative of the output activation",
        LINE_2,
        "delta = J.derivative(trace.a[-1], target)",
        backprop.test_a_delta_is_the_gradient_for_something_added_to_z,
    ),
    (
        "line 2: the residual of z",
        LINE_2,
        "delta = J.derivative(trace.z[-1], target) * sigma_r.derivative(trace.z[-1])",
        invariants.test_an_output_activation_enters_line_2_by_its_derivative,
    ),
    (
        "line 2: o - y for every loss",
        LINE_2,
        "delta = (trace.a[-1] - target) * sigma_r.derivative(trace.z[-1])",
        invariants.test_line_2_is_prediction_minus_target_for_every_likelihood,
        {"loss": "poisson"},
    ),
    (
        "line 2: residuals clipped",
        LINE_2,
        "delta = jnp.clip(J.derivative(trace.a[-1], target), -1, 1)"
        " * sigma_r.derivative(trace.z[-1])",
        invariants.test_the_gradient_is_linear_in_the_residual,
    ),
    (
        "line 4: W for its transpose",
        RECURSION,
        "delta = (W_above @ delta) * sigma.derivative(z)",
        AUTODIFF,
        SQUARE,
    ),
    (
        "line 4: no derivative of the activation",
        RECURSION,
        "delta = W_above.T @ delta",
        invariants.test_what_a_relu_unit_takes_in_balances_what_it_hands_on,
    ),
    (
        "line 4: the derivative at a for that at z",
        RECURSION,
        "delta = (W_above.T @ delta) * sigma.derivative(sigma.function(z))",
        backprop.test_equals_exact_fractions_ties_included,
    ),
    (
        "line 4: the activation for its derivative",
        RECURSION,
        "delta = (W_above.T @ delta) * sigma.function(z)",
        invariants.test_a_deep_linear_network_has_its_gradient_in_closed_form,
    ),
    (
        "line 4: the mask from the sign of a",
        RECURSION,
        "delta = (W_above.T @ delta) * (sigma.function(z) != 0)",
        backprop.test_a_dead_layer_below_zero_biases_ties_the_next,
    ),
    (
        "line 4: too large by a hundredth of a percent",
        RECURSION,
        "delta = (W_above.T @ delta) * sigma.derivative(z) * 1.0001",
        network.test_a_thousand_layers,
    ),
    (
        "line 5: the factors exchanged",
        "jnp.outer(d, a_below)",
        "jnp.outer(a_below, d)",
        backprop.test_gradients_are_outer_products_in_the_parameters_shapes,
    ),
    (
        "line 5: the activations of the layer itself",
        "zip(delta, trace.a[:-1], strict=True)",
        "zip(delta, trace.a[1:], strict=True)",
        AUTODIFF,
        SQUARE,
    ),
    (
        "line 5: something added to the diagonal",
        "jnp.outer(d, a_below)",
        "jnp.outer(d, a_below) + jnp.eye(d.size, a_below.size)",
        invariants.test_one_example_gives_matrices_of_rank_one,
    ),
    (
        "line 5: no gradient for the biases",
        "Layer(W=jnp.outer(d, a_below), b=d)",
        "Layer(W=jnp.outer(d, a_below), b=0 * d)",
        backprop.test_gradients_are_outer_products_in_the_parameters_shapes,
    ),
    (
        "a batch: the sum for the weights",
        "jnp.matmul(_transposed(delta), a_below, preferred_element_type=kind) / n",
        "jnp.matmul(_transposed(delta), a_below, preferred_element_type=kind)",
        invariants.test_central_differences_have_no_error_but_rounding,
    ),
    (
        "a batch: the sum for the biases",
        "delta.sum(0, dtype=kind) / n",
        "delta.sum(0)",
        invariants.test_a_batch_gives_the_mean_of_its_examples,
    ),
    (
        "a batch: the first example's delta for the biases",
        "delta.sum(0, dtype=kind) / n",
        "delta[0]",
        invariants.test_a_batch_gives_the_mean_of_its_examples,
    ),
    (
        "a batch: shares of the sum, divided by n once more",
        "relative[:, None] * delta",
        "share[:, None] * delta",
        losses.test_weights_are_shares_of_the_examples,
    ),
    (
        "a batch: added up in its own dtype",
        "jnp.matmul(_transposed(delta), a_below, preferred_element_type=kind)",
        "_transposed(delta) @ a_below",
        sums.test_a_mean_is_finite_where_its_sum_is_not,
        {"dtype": "float16", "name": "none"},
    ),
)

FORWARD = [
    *mutants(
        "network.py",
        (
            "forward: the first bias for all units",
            "layer.W @ a[-1] + layer.b",
            "layer.W @ a[-1] + layer.b[0]",
            invariants.test_hidden_units_may_change_places,
        ),
    ),
    *mutants(
        "activations.py",
        (
            "relu: a threshold other than 0",
            "jnp.maximum(z, 0)",
            "jnp.maximum(z, 0.01)",
            invariants.test_a_relu_unit_may_be_scaled_in_and_unscaled_out,
        ),
    ),
]

STEP = "p - alpha.astype(p.dtype) * g"

SGD = mutants(
    "descent.py",
    (
        "uphill",
        STEP,
        "p + alpha.astype(p.dtype) * g",
        sgd.test_descent_on_a_quadratic,
        {"steps": 2},
    ),
    (
        "the learning rate squared",
        STEP,
        "p - alpha.astype(p.dtype) ** 2 * g",
        invariants.test_every_parameter_moves_by_the_gradient_at_the_old_ones,
    ),
    ("no step at all", STEP, "p", invariants.test_units_that_start_equal_stay_equal),
    (
        "one step too few",
        "lax.fori_loop(0, steps, lambda i, p: _step(p, gradient(p, X, Y), alpha), params)",
        "lax.fori_loop(1, steps, lambda i, p: _step(p, gradient(p, X, Y), alpha), params)",
        invariants.test_a_network_of_zeros_learns_nothing_but_its_last_bias,
        {"slope_at_zero": 0.5},
    ),
    (
        "whole blocks only",
        "lax.fori_loop(0, jnp.minimum(length, steps - start), step, params)",
        "lax.fori_loop(0, length, step, params)",
        sgd.test_exactly_so_many_steps,
        {"steps": 1025},
    ),
    (
        "the first batch again and again",
        "batches[i]",
        "batches[0]",
        sgd.test_algorithm_1_draws_each_example_equally_often,
    ),
    (
        "other examples' targets",
        "gradient(params, X[batch], Y[batch])",
        "gradient(params, X[batch], Y[batch[::-1]])",
        sgd.test_algorithm_2_is_this_loop,
        {"batch_size": 3},
    ),
    (
        "one example whatever the batch size",
        "gradient(params, X[batch], Y[batch])",
        "gradient(params, X[batch[:1]], Y[batch[:1]])",
        sgd.test_with_all_examples_algorithm_2_is_descent_for_every_key,
    ),
)


def subsets_are_equally_likely(fc: Any, key: Any) -> None:
    assert p_subsets(many(fc.sample_batch, key, 6, 3, 20_000), 6, 3) > RARE


SAMPLING = mutants(
    "sampling.py",
    (
        "with replacement",
        "jnp.where((taken == draw[None]).any(0), instead, draw)",
        "draw",
        estimates.test_so_do_the_steps_that_are_taken,
    ),
    (
        "never the last index",
        "n - batch_size + jnp.arange(batch_size, dtype=jnp.int32)",
        "n - batch_size - 1 + jnp.arange(batch_size, dtype=jnp.int32)",
        subsets_are_equally_likely,
    ),
    (
        "draws below j for draws up to j",
        "uniform_below(keys, last + 1)",
        "uniform_below(keys, last)",
        subsets_are_equally_likely,
    ),
    (
        "the same key for every step",
        "fold_in(key, step)",
        "fold_in(key, 0 * step)",
        sgd.test_n_steps_do_not_see_all_n_examples,
    ),
)
