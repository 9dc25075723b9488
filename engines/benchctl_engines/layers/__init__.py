"""Keras-style layers, models, losses and optimizers for every engine.

from benchctl_engines.layers import Conv2D, Dense, Flatten, Sequential

model = Sequential(
    [Conv2D(8, 3, activation="relu"), Flatten(), Dense(10)], input_shape=(28, 28, 1)
)
parameters = model.initial_parameters(np.random.default_rng(0))
...
logits = model.forward(ops, parameters, images, training=True)   # inside Workload.program
"""

from .initializers import INITIALIZERS, normal
from .layer import Call, Layer, LayerError, ParameterSpec
from .losses import binary_cross_entropy, mean_squared_error, softmax_cross_entropy
from .model import Input, Model, Sequential, Symbol
from .normalization import BatchNormalization, Dropout
from .optimizers import SGD, Adam, Optimizer
from .shaping import (
    Activation,
    Add,
    AveragePool2D,
    Concatenate,
    Flatten,
    GlobalAveragePool2D,
    LeakyReLU,
    MaxPool2D,
    ReLU,
    Reshape,
)
from .summary import LayerRow
from .weighted import Conv2D, Conv2DTranspose, Dense
from .weights import load_arrays, save_arrays

__all__ = [
    "INITIALIZERS",
    "SGD",
    "Activation",
    "Adam",
    "Add",
    "AveragePool2D",
    "BatchNormalization",
    "Call",
    "Concatenate",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool2D",
    "Input",
    "Layer",
    "LayerError",
    "LayerRow",
    "LeakyReLU",
    "MaxPool2D",
    "Model",
    "Optimizer",
    "ParameterSpec",
    "ReLU",
    "Reshape",
    "Sequential",
    "Symbol",
    "binary_cross_entropy",
    "load_arrays",
    "mean_squared_error",
    "normal",
    "save_arrays",
    "softmax_cross_entropy",
]
