"""Scikit-learn estimators over `fcnet.fit`; needs the extra `sklearn`."""

from fcnet.estimators.classifier import FCNetClassifier as FCNetClassifier
from fcnet.estimators.regressor import FCNetRegressor as FCNetRegressor
