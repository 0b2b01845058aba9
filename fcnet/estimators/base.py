"""What both estimators share: parameters, checks of the data, and training by `fcnet.fit`."""

from typing import Any, TypeVar

import jax
import numpy as np
import optax
from scipy.sparse import issparse

from fcnet.checks import as_count, as_positive, check_type, check_unmasked
from fcnet.data.preprocess import (
    Moments,
    Standardizer,
    combined,
    moments,
    standardize,
    standardizer_of,
    unscaled,
)
from fcnet.estimators.arguments import WeightedRows, as_groups, as_number, check_no_dates, held_out
from fcnet.estimators.coefs import to_arrays, to_params
from fcnet.extras import extra
from fcnet.keys import fold_in, key_of, split_keys
from fcnet.network import batch_forward
from fcnet.rowwise import by_rows
from fcnet.sampling import INT32_MAX
from fcnet.train.defaults import ALL_PASSES, LEAST_EXAMPLES
from fcnet.train.fit import fit
from fcnet.train.mesh import to_host
from fcnet.train.penalty import penalised
from fcnet.train.start import init_small
from fcnet.types import Loss

with extra("sklearn"):
    from sklearn.base import BaseEstimator, is_regressor
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

E = TypeVar("E", bound="NetworkEstimator")  # typing.Self fails when tests check types

SWITCH: Any = (bool, np.bool_)
FLOATS = (np.float64, np.float32)


class NetworkEstimator(BaseEstimator):  # type: ignore[misc]
    """The common part. A subclass defines the loss, and how targets become Y."""

    _switches: tuple[str, ...] = ("warm_start", "early_stopping")
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    n_iter_: int
    _target: Standardizer
    _seen: Moments | None  # of all targets since the first call
    _dtype: np.dtype
    _target_dtype: np.dtype
    _opt_state: Any
    _passes: int
    _weight: float

    def __init__(
        self,
        hidden_layer_sizes: Any = ALL_PASSES.hidden,
        *,
        activation: Any = "relu",
        optimizer: Any = "adam",
        alpha: Any = "auto",
        batch_size: Any = "auto",
        learning_rate_init: Any = ALL_PASSES.learning_rate,
        max_iter: Any = 200,
        random_state: Any = None,
        warm_start: Any = False,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        n_iter_no_change: Any = 10,
    ) -> None:
        """Store the arguments and do no more, as scikit-learn asks."""
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.optimizer = optimizer
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.random_state = random_state
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change

    def fit(
        self: E,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        groups: Any = None,
    ) -> E:
        """Train for max_iter passes over the examples, or until early stopping ends it.

        Args:
            X: examples, shape (n, d): an array, or a DataFrame, whose names are kept.
            y: targets, shape (n,) or (n, m_r).
            sample_weight: a weight for each example, shape (n,). An example of weight 0 is left
                out. One of weight 2 counts twice in the mean loss of its batch; if one batch holds
                all examples, this equals giving it twice.
            X_val, y_val: validation examples; without them, `early_stopping` takes a share of X,
                and of each class. A Pipeline transforms X_val if its `transform_input` names it.
            groups: labels, shape (n,): examples of one label, such as those of one patient, are
                either all validated on or all trained on.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for data that do not fit, with what was expected.
            fcnet.NonFiniteError: if training diverges.
        """
        for name in self._switches:
            check_type(name, getattr(self, name), SWITCH, "True or False")
        warm = bool(self.warm_start) and hasattr(self, "coefs_")
        if not warm:
            self.__dict__.pop("coefs_", None)  # if this fit fails, no fitted network remains
        data = self._examples(X, y, sample_weight, reset=not warm)
        self._observe(data.Y, warm)
        seed = self._seed()
        validation = None
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: got only one of them")
        if X_val is not None:
            validation = self._examples(X_val, y_val, None, reset=False)
        elif self.early_stopping:
            rng = check_random_state(seed)
            held = held_out(
                data.X,
                data.weights,
                self.validation_fraction,
                rng,
                classes=self._classes(data.Y),
                groups=as_groups(groups, sample_weight, len(data.X)),
            )
            data, validation = data.rows(~held), data.rows(held)
        patience = None
        if self.early_stopping:
            patience = as_count("n_iter_no_change", self.n_iter_no_change, least=1)
        passes = as_count("max_iter", self.max_iter, least=1)
        return self._with(self._trained(data, validation, seed, passes, patience, warm))

    def _partial_fit(self: E, X: Any, y: Any, sample_weight: Any) -> E:
        """One more pass, from the optimiser's last state, without early stopping."""
        warm = hasattr(self, "coefs_")
        data = self._examples(X, y, sample_weight, reset=not warm)
        self._observe(data.Y, warm or hasattr(self, "classes_"))
        losses, passes = (self.loss_curve_, self.n_iter_) if warm else ([], 0)
        opt_state = self._opt_state if warm else None
        trained = self._trained(data, None, self._seed(), 1, None, warm, opt_state)
        trained["loss_curve_"] = [*losses, *trained["loss_curve_"]]
        trained["n_iter_"] += passes
        return self._with(trained)

    def _with(self: E, attributes: dict[str, Any]) -> E:
        """This estimator with new attributes: all of them, or none if Ctrl-C comes before."""
        self.__dict__.update(attributes)
        return self

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(INT32_MAX))

    def _examples(self, X: Any, y: Any, weights: Any, *, reset: bool) -> WeightedRows:
        """The arguments as arrays, X of a floating dtype, without examples of weight 0."""
        for name, values in (("X", X), ("y", y), ("sample_weight", weights)):
            check_unmasked(name, values)
        check_no_dates(X)
        numeric = is_regressor(self)
        X, y = validate_data(
            self, X, y, dtype=FLOATS, multi_output=True, y_numeric=numeric, reset=reset
        )
        if issparse(y):
            y = y.toarray()
        weights = _check_sample_weight(weights, X, dtype=X.dtype, ensure_non_negative=True)
        if not weights.any():
            raise ValueError("sample_weight is zero for all samples: expected a positive one")
        return WeightedRows(X, y, weights).rows(weights > 0)

    def _trained(
        self,
        data: WeightedRows,
        validation: WeightedRows | None,
        seed: int,
        passes: int,
        patience: int | None,
        warm: bool,
        opt_state: Any = None,
    ) -> dict[str, Any]:
        """The attributes after `fcnet.fit` on a new network or on this one."""
        Y, loss = self._encode(data.Y), self._loss()
        n, d = data.X.shape
        batch_size = self._batch_size(n)
        per_pass = -(-n // batch_size)
        weight = float(data.weights.sum())
        everything = weight + (0 if opt_state is None else self._weight)
        penalty = self._penalty(n, batch_size, weight, everything)
        sizes = self._sizes(d, Y.shape[1], warm)
        dtype = self._dtype if warm else data.X.dtype
        seen, target = self._scales(Y, data.weights, loss, warm)
        with jax.enable_x64(dtype == np.float64):
            key = fold_in(key_of(seed), self._passes if warm else 0)
            start_key, fit_key = split_keys(key, 2)
            if warm:
                start = to_params(self.coefs_, self.intercepts_, target, dtype)
            else:
                start = init_small(start_key, sizes, dtype)
            optimizer, hyperparameters = penalised(self.optimizer, self._rate(), penalty)
            held = None
            if validation is not None:
                held_Y = standardize(target, self._encode(validation.Y))
                held = validation.X, held_Y, validation.weights
            result = fit(
                start,
                data.X,
                standardize(target, Y),
                key=fit_key,
                batch_size=batch_size,
                steps=passes * per_pass,
                optimizer=optimizer,
                hyperparameters=hyperparameters,
                sampling="full" if batch_size == n else "epoch",
                activation=self.activation,
                loss=loss,
                weights=data.weights,
                validation=held,
                evaluate_every=per_pass,
                patience=patience,
                opt_state=opt_state,
            )
        target_dtype = self._target_dtype if warm else self._precision_of(data.Y, dtype)
        coefs, intercepts = to_arrays(result.params, target, target_dtype)
        passes_made = len(result.history.step) - 1
        scores = None if validation is None else result.history.validation_metric[1:].tolist()
        return {
            "coefs_": coefs,
            "intercepts_": intercepts,
            "loss_curve_": result.history.loss[1:].tolist(),
            "validation_scores_": scores,
            "n_iter_": passes_made,
            "_target": target,
            "_seen": seen,
            "_dtype": dtype,
            "_target_dtype": target_dtype,
            "_opt_state": to_host(result.opt_state),
            "_passes": passes_made + (self._passes if warm else 0),
            "_weight": everything,
        }

    def _scales(
        self, Y: np.ndarray, weights: np.ndarray, loss: Loss, warm: bool
    ) -> tuple[Moments | None, Standardizer]:
        """The moments of all targets since the first call, and by them the scales of Y."""
        if not self._scales_targets(loss):
            return None, unscaled(Y.shape[1])
        seen = moments(Y, weights)
        if warm and self._seen is not None:
            seen = combined(self._seen, seen)
        return seen, standardizer_of(seen)

    def _rate(self) -> float | None:
        """The learning rate; None for a ready-made optimiser, which has its own."""
        if isinstance(self.optimizer, optax.GradientTransformation | optax.MultiSteps):
            return None
        as_positive("learning_rate_init", self.learning_rate_init)
        return self.learning_rate_init

    def _batch_size(self, n: int) -> int:
        """The number of examples in a batch, of n."""
        if _is_auto(self.batch_size):
            return min(ALL_PASSES.batch_size, n)
        return min(as_count("batch_size", self.batch_size, least=1), n)

    def _penalty(self, n: int, batch_size: int, weight: float, everything: float) -> float:
        """The factor of |W|^2 / 2, for n examples of this weight; `everything` counts earlier ones.

        alpha is divided by the size of a batch, as in scikit-learn.
        """
        if _is_auto(self.alpha):
            return ALL_PASSES.l2 / max(everything, LEAST_EXAMPLES)
        alpha = as_number("alpha", self.alpha)
        if not 0 <= alpha < np.inf:
            raise ValueError(f"alpha must be 0 or more, and finite, got {self.alpha!r}")
        return alpha * n / (batch_size * weight)

    def _sizes(self, d: int, m_r: int, warm: bool) -> tuple[int, ...]:
        """The sizes (d, m_1, ..., m_r); those of the fitted network, where training continues."""
        widths = np.atleast_1d(self.hidden_layer_sizes).tolist()
        hidden = [as_count("hidden_layer_sizes", width, least=1) for width in widths]
        sizes = (d, *hidden, m_r)
        if warm:
            now = (self.coefs_[0].shape[0], *(W.shape[1] for W in self.coefs_))
            if now != sizes:
                raise ValueError(
                    f"the fitted network has sizes {now}, but the data and hidden_layer_sizes now "
                    f"make sizes {sizes}: keep them the same, or set warm_start=False for a new "
                    "network"
                )
        return sizes

    def _outputs(self, X: Any) -> np.ndarray:
        """The network's outputs for new examples, shape (n, m_r); standardised targets, if any."""
        check_is_fitted(self, "coefs_")
        check_unmasked("X", X)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        with jax.enable_x64(self._dtype == np.float64):
            params = to_params(self.coefs_, self.intercepts_, self._target, self._dtype)
            return np.array(batch_forward(params, X, activation=self.activation))

    def _means(self, o: np.ndarray) -> np.ndarray:
        """The means of the targets that these outputs stand for, in the same shape."""
        with jax.enable_x64(o.dtype == np.float64):
            return np.array(by_rows(jax.vmap(self._loss().mean), o))

    def _observe(self, y: np.ndarray, warm: bool) -> None:
        """Check targets; unless training continues, store what later ones must be like."""
        raise NotImplementedError

    def _classes(self, y: np.ndarray) -> np.ndarray | None:
        """The class of each example as a number; None for targets that are none."""
        return None

    def _encode(self, y: np.ndarray) -> np.ndarray:
        """The targets that the loss takes, shape (n, m_r)."""
        raise NotImplementedError

    def _loss(self) -> Loss:
        """The loss to minimise."""
        raise NotImplementedError

    def _scales_targets(self, loss: Loss) -> bool:
        """Whether Y is standardised for training; by default it is not."""
        return False

    def _precision_of(self, y: np.ndarray, dtype: np.dtype) -> np.dtype:
        """The dtype of predictions and of the last layer, whose units are those of y."""
        return dtype


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"
