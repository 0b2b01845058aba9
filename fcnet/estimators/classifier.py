"""`FCNetClassifier`: a network that predicts classes."""

from typing import Any

import numpy as np
from scipy.sparse import issparse

from fcnet.estimators.arguments import check_one_kind
from fcnet.estimators.base import NetworkEstimator
from fcnet.extras import extra
from fcnet.losses import LOSSES
from fcnet.types import Loss

with extra("sklearn"):
    from sklearn.base import ClassifierMixin
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import column_or_1d


class FCNetClassifier(ClassifierMixin, NetworkEstimator):  # type: ignore[misc]
    """A network (2.12) as a scikit-learn classifier, trained by `fcnet.fit`.

    For two classes there is one output, with the logistic loss. For more, there is one output for
    each class, with the softmax cross-entropy. If examples have several labels, in columns of 0 and
    1, each label has an output with the logistic loss. Arguments and attributes are those of
    `FCNetRegressor`, without `loss` and `scale_target`; scores are accuracies. The twin is
    `sklearn.neural_network.MLPClassifier`.

    Attributes:
        classes_: the labels, sorted, in the order of `predict_proba`'s columns.

    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> model = FCNetClassifier(16, learning_rate_init=0.1, random_state=0)
    >>> model.fit(X, ["same", "other", "other", "same"]).predict(X).tolist()
    ['same', 'other', 'other', 'same']
    """

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "FCNetClassifier":
        """Make one more pass over these examples, without early stopping.

        Args:
            X, y, sample_weight: as for `fit`.
            classes: all labels, including those of later calls; needed in the first call. Columns
                of 0 and 1 tell their number themselves: there, classes may be left out, or be
                the numbers of the columns, or such columns.

        Returns:
            The estimator itself.

        Raises:
            ValueError: as `fit`; in the first call without classes, and for others later.
        """
        if not hasattr(self, "coefs_"):
            if type_of_target(y, input_name="y").startswith("multilabel"):
                self._learn_labels(y.toarray() if issparse(y) else np.asarray(y))
            elif classes is None:
                raise ValueError("classes must be given in the first call to partial_fit")
            else:
                self._learn_labels(np.asarray(classes))
        if classes is not None and not np.array_equal(_distinct(classes), self.classes_):
            raise ValueError(
                f"classes are {self.classes_} since the first call, got {_distinct(classes)}"
            )
        return self._partial_fit(X, y, sample_weight)

    def decision_function(self, X: Any) -> np.ndarray:
        """The logits, which are the network's outputs: (n,) for two classes, else (n, m_r).

        Args:
            X: examples, shape (n, d).
        """
        o = self._outputs(X)
        return o[:, 0] if o.shape[1] == 1 else o

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, shape (n, number of classes), in the order of `classes_`.

        Args:
            X: examples, shape (n, d).
        """
        o = self._outputs(X)
        if o.shape[1] == 1:
            o = np.hstack([-o, o])  # 1 - sigmoid(o) is sigmoid(-o), with all its digits
        return self._means(o)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each example, shape (n,); for labels 0 and 1, (n, m_r).

        Args:
            X: examples, shape (n, d).
        """
        o = self.decision_function(X)
        return self._labels.inverse_transform(o, threshold=0)

    def __sklearn_tags__(self) -> Any:
        """An example may have several labels."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @property
    def _multilabel(self) -> bool:
        return self._labels.y_type_.startswith("multilabel")

    def _learn_labels(self, y: np.ndarray) -> None:
        self._labels = LabelBinarizer().fit(y)
        self.classes_ = self._labels.classes_
        if len(self.classes_) < 2:
            (label,) = self.classes_.tolist()
            raise ValueError(f"y has 1 class, {label!r}: expected two or more")

    def _observe(self, y: np.ndarray, warm: bool) -> None:
        check_one_kind("y", y)
        check_classification_targets(y)
        if type_of_target(y) == "multiclass-multioutput":
            raise ValueError(
                "y has columns of classes, expected one such column, or columns of 0 and 1: "
                "sklearn.multioutput.MultiOutputClassifier fits a network to each"
            )
        if not warm:
            self._learn_labels(self._labels_of(y))

    def _classes(self, y: np.ndarray) -> np.ndarray | None:
        return None if self._multilabel else np.unique(self._labels_of(y), return_inverse=True)[1]

    def _encode(self, y: np.ndarray) -> np.ndarray:
        y = self._labels_of(y)
        if (y.ndim == 2) != self._multilabel:
            wanted = f"(n, {len(self.classes_)})" if self._multilabel else "(n,)"
            raise ValueError(f"y has shape {y.shape}, expected {wanted}, as in the first call")
        if y.ndim == 1 and (unknown := np.setdiff1d(y, self.classes_)).size:
            raise ValueError(f"y has classes {unknown} that are not among {self.classes_}")
        return self._labels.transform(y).astype(np.float64)

    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _loss(self) -> Loss:
        one = self._multilabel or len(self.classes_) == 2
        return LOSSES["logistic" if one else "softmax_cross_entropy"]


def _distinct(classes: Any) -> np.ndarray:
    """The labels in a list of them, sorted; those of columns of 0 and 1 are their numbers."""
    array = np.asarray(classes)
    return np.arange(array.shape[1]) if array.ndim == 2 else np.unique(array)
