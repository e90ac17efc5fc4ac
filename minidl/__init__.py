"""Neural networks in memory that is planned once and then reused: training, inference and evaluation on NumPy."""

from .check import check_layer
from .configuration import MultiLayerConfiguration, NeuralNetConfiguration
from .data import DataSet
from .inputs import InputType
from .layers import Layer, ParamSpec
from .network import MultiLayerNetwork
from .truncation import BackpropType
from .workspaces import ArrayType, LayerWorkspaceMgr, WorkspaceMode
from .workspaces.manager import workspace

__all__ = [
    "ArrayType",
    "BackpropType",
    "DataSet",
    "InputType",
    "Layer",
    "LayerWorkspaceMgr",
    "MultiLayerConfiguration",
    "MultiLayerNetwork",
    "NeuralNetConfiguration",
    "ParamSpec",
    "WorkspaceMode",
    "check_layer",
    "workspace",
]

__version__ = "0.1.0"
