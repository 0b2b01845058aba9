"""`FCNetRegressor`: numbers from examples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.data import Standardizer, fit_standardizer
from fcnet.estimators.base import NetworkEstimator
from fcnet.extras import extra
from fcnet.losses import get_loss
from fcnet.types import Loss

with extra("sklearn"):
    from sklearn.base import RegressorMixin


class FCNetRegressor(RegressorMixin, NetworkEstimator):  # type: ignore[misc]
    """A network (2.12) as a scikit-learn regressor, trained by `fcnet.fit`.

    Parameters have scikit-learn's names where they mean what `sklearn.neural_network.MLPRegressor`
    means by them. Computes in float64 for examples in float64, else in float32.

    Args:
        hidden_layer_sizes: the widths m_1, ..., m_{r-1} of the hidden layers; () for a line.
        loss: a name of `fcnet.LOSSES`, such as "poisson", whose mean is predicted; or a
            `fcnet.Loss`, whose output is.
        scale_target: train on standardised targets, where the loss takes any; so not for "poisson"
            or "logistic". `coefs_` and predictions are in the units of y either way.
        activation: a name or a `fcnet.Activation`.
        optimizer: a name of `fcnet.fit`'s; a factory, such as `def decayed(learning_rate): return
            optax.adamw(learning_rate, weight_decay=0.01)`; or a ready optax transformation, which
            has its own learning rate. A `functools.partial` is a factory too, but compiles anew in
            each copy that scikit-learn makes of the estimator, such as for a fold.
        alpha: the penalty alpha / 2 |W|^2 over the batch's weight, as in scikit-learn.
        batch_size: the examples of a step, or "auto" for 200; never more than there are.
        learning_rate_init: the learning rate of a name or a factory.
        max_iter: passes over the examples; all of them are made unless training stops early.
        random_state: an int for the same result in every run on the same machine.
        warm_start: let `fit` go on from the parameters of the last `fit`.
        early_stopping: stop where the validation loss has not improved for n_iter_no_change passes,
            and keep the parameters with which it was least.
        validation_fraction: the share of the examples to validate by, unless X_val is given.
        n_iter_no_change: passes without improvement.

    Attributes:
        coefs_, intercepts_: lists of NumPy arrays, of shapes (m_{k-1}, m_k) and (m_k,), as in
            scikit-learn, transposed from the notes' W.
        loss_curve_: the training loss after each pass, as `fcnet.train.History` has it: on
            standardised targets, without penalty, and where there are many examples of a sample.
        validation_scores_: the metric of the validation examples after each pass, as
            `fcnet.train.History` has it: R^2 of all outputs together, accuracy for "logistic", NaN
            for a loss of one's own. None without such examples; `score` is scikit-learn's.
        n_iter_: passes made.
        n_features_in_, feature_names_in_: what X was like.

    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> model = FCNetRegressor(16, learning_rate_init=0.01, random_state=0).fit(X, 3 * abs(X[:, 0]))
    >>> model.predict(np.array([[-0.5], [0.5]])).round(1).tolist(), model.n_iter_
    ([1.5, 1.5], 200)
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        *,
        loss: Any = "squared_error",
        scale_target: Any = True,
        activation: Any = "relu",
        optimizer: Any = "adam",
        alpha: Any = 1e-4,
        batch_size: Any = "auto",
        learning_rate_init: Any = 1e-3,
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
        """One pass more over these examples, as `fit` but without early stopping."""
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """The predicted targets, in the shape that y had: (n,) or (n, m_r)."""
        o = self._outputs(X)
        with jax.enable_x64(o.dtype == np.float64):
            o = np.array(jax.vmap(self._loss().mean)(jnp.asarray(o)))
        return o if self._columns else o[:, 0]

    def __sklearn_tags__(self) -> Any:
        """Targets may have several columns."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _observe(self, y: np.ndarray, go_on: bool) -> None:
        if not go_on:
            self._columns = y.ndim == 2

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return y.astype(np.float64).reshape(len(y), -1)

    def _loss(self) -> Loss:
        return get_loss(self.loss)

    def _scales(self, Y: np.ndarray, weights: np.ndarray, loss: Loss) -> Standardizer:
        if self.scale_target and loss.is_scalable:
            return fit_standardizer(Y, weights)
        return super()._scales(Y, weights, loss)
