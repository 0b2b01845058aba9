"""Tables: files, their schema, data sets, standardisation, and networks on a file's columns."""

from fcnet.data.datasets import Dataset as Dataset
from fcnet.data.datasets import ames as ames
from fcnet.data.datasets import as_dataset as as_dataset
from fcnet.data.datasets import folds as folds
from fcnet.data.datasets import kinked_prices as kinked_prices
from fcnet.data.datasets import mnist_5k as mnist_5k
from fcnet.data.datasets import random_split as random_split
from fcnet.data.datasets import sacramento as sacramento
from fcnet.data.examples import Examples as Examples
from fcnet.data.examples import make_examples as make_examples
from fcnet.data.model import TableModel as TableModel
from fcnet.data.model import load_model as load_model
from fcnet.data.model import predict as predict
from fcnet.data.model import save_model as save_model
from fcnet.data.onnx import to_onnx as to_onnx
from fcnet.data.preprocess import Standardizer as Standardizer
from fcnet.data.preprocess import fit_standardizer as fit_standardizer
from fcnet.data.preprocess import standardize as standardize
from fcnet.data.preprocess import unscaled as unscaled
from fcnet.data.preprocess import unstandardize as unstandardize
from fcnet.data.read import Table as Table
from fcnet.data.read import read_table as read_table
from fcnet.data.schema import Field as Field
from fcnet.data.schema import read_schema as read_schema
