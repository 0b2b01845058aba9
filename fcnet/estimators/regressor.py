"""`FCNetRegressor`: a network that predicts numbers."""

from typing import Any

import numpy as np

from fcnet.data.preprocess import unstandardize
from fcnet.estimators.base import NetworkEstimator
from fcnet.extras import extra
from fcnet.losses import get_loss
from fcnet.train.defaults import ALL_PASSES
from fcnet.types import Loss

with extra("sklearn"):
    from sklearn.base import RegressorMixin


class FCNetRegressor(RegressorMixin, NetworkEstimator):  # type: ignore[misc]
    """A network (2.12) as a scikit-learn regressor, trained by `fcnet.fit`.

    A parameter that means the same as in `sklearn.neural_network.MLPRegressor` has the same name.
    Computes in float32 for examples in float32, else in float64: examples in float16 are widened.
    Predictions, and the arrays of the last layer, have the wider precision of this and the targets.
    Columns of X are not standardised: put `sklearn.preprocessing.StandardScaler` before it.

    Args:
        hidden_layer_sizes: the widths m_1, ..., m_{r-1} of the hidden layers; () for none.
        loss: a name of `fcnet.LOSSES`, such as "poisson", or a `fcnet.Loss`. `predict` returns the
            loss's `mean` of the outputs.
        scale_target: train on standardised targets, if the loss takes any real targets and its mean
            is the output itself; this excludes "poisson" and "logistic". Their means and deviations
            are those of all targets since the first call, where `partial_fit` or `warm_start` goes
            on. `coefs_` and predictions are in the units of y in either case.
        activation: a name or a `fcnet.Activation`.
        optimizer: a name that `fcnet.fit` takes; a factory, such as `def decayed(learning_rate):
            return optax.adamw(learning_rate, weight_decay=0.01)`; or a ready-made optax
            transformation, which has its own learning rate. A `functools.partial` is a factory too,
            but JAX compiles anew for each copy of the estimator, such as one for a fold.
        alpha: the weight of the penalty alpha / 2 |W|^2, divided by the sum of the batch's weights
            as in scikit-learn. "auto" divides 6 by the sum of all weights instead, at least by
            100, those of earlier calls of `partial_fit` too: the more examples, the less the
            penalty matters.
        batch_size: the number of examples in a step, or "auto" for 200; at most n.
        learning_rate_init: the learning rate of a name or a factory.
        max_iter: the number of passes over the examples, unless training stops early.
        random_state: an int for the same result in every run on the same machine.
        warm_start: whether `fit` continues from the parameters of the last `fit`.
        early_stopping: stop when the validation loss has not improved for n_iter_no_change passes,
            and keep the parameters with the least validation loss.
        validation_fraction: the share of the examples to validate on, unless X_val is given.
        n_iter_no_change: passes without improvement.

    Attributes:
        coefs_, intercepts_: lists of NumPy arrays, of shapes (m_{k-1}, m_k) and (m_k,), as in
            scikit-learn, transposed from the notes' W.
        loss_curve_: the training loss after each pass, as in `fcnet.History`: on standardised
            targets, without the penalty, and on a sample if there are many examples.
        validation_scores_: the loss's metric on the validation examples after each pass, by
            default R^2 over all outputs. None without validation examples. `score` is
            scikit-learn's.
        n_iter_: the number of passes made.
        n_features_in_, feature_names_in_: the number and the names of the columns of X.

    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> model = FCNetRegressor(16, learning_rate_init=0.01, random_state=0).fit(X, 3 * abs(X[:, 0]))
    >>> model.predict(np.array([[-0.5], [0.5]])).round(1).tolist(), model.n_iter_
    ([1.5, 1.5], 200)
    """

    _switches = ("warm_start", "early_stopping", "scale_target")

    def __init__(
        self,
        hidden_layer_sizes: Any = ALL_PASSES.hidden,
        *,
        loss: Any = "squared_error",
        scale_target: Any = True,
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
        super().__init__(
            hidden_layer_sizes,
            activation=activation,
            optimizer=optimizer,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            random_state=random_state,
            warm_start=warm_start,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
        )
        self.loss = loss
        self.scale_target = scale_target

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "FCNetRegressor":
        """Make one more pass over these examples, without early stopping.

        Args:
            X, y, sample_weight: as for `fit`.

        Returns:
            The estimator itself.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """The predicted targets, in the shape and the units of y: (n,) or (n, m_r).

        Args:
            X: examples, shape (n, d).
        """
        standardised = self._means(self._outputs(X))
        mean = unstandardize(self._target, standardised).astype(self._target_dtype)
        return mean if self._columns else mean[:, 0]

    def __sklearn_tags__(self) -> Any:
        """Targets may have several columns."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _observe(self, y: np.ndarray, warm: bool) -> None:
        if y.dtype.kind not in "biuf":
            raise TypeError(f"y must hold numbers, got dtype {y.dtype}")
        if not warm:
            self._columns = y.ndim == 2

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return y.astype(np.float64).reshape(len(y), -1)

    def _loss(self) -> Loss:
        return get_loss(self.loss)

    def _scales_targets(self, loss: Loss) -> bool:
        return bool(self.scale_target and loss.is_scalable)

    def _precision_of(self, y: np.ndarray, dtype: np.dtype) -> np.dtype:
        return np.result_type(dtype, y.dtype)
