"""Networks on the columns of a file, which `fcnet train` stores and `fcnet predict` reads."""

from fcnet.tabular.columns import learn_features as learn_features
from fcnet.tabular.columns import read_table as read_table
from fcnet.tabular.model import TableModel as TableModel
from fcnet.tabular.model import load_model as load_model
from fcnet.tabular.model import predict as predict
from fcnet.tabular.model import save_model as save_model
