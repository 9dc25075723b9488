"""A workload of one's own: one training step of two dense layers."""

import numpy as np

from benchctl_engines.manual.layers import sgd_update, softmax_cross_entropy
from benchctl_workloads import Axis, Cost, Outputs, Workload

FEATURES = 784
CLASSES = 10


class Mlp(Workload):
    """Two dense layers on random data, softmax cross-entropy, plain SGD."""

    name = "mlp"
    summary = "training step of two dense layers"
    axes = (
        Axis("batch", 64, sweep=(1, 64, 256)),
        Axis("width", 256, values=(64, 256, 1024)),
    )

    def inputs(self, case, rng):
        x = rng.standard_normal((case["batch"], FEATURES), dtype="float32")
        return {"x": x, "labels": rng.integers(0, CLASSES, case["batch"])}

    def parameters(self, case, rng):
        width = case["width"]
        w1 = rng.standard_normal((FEATURES, width), dtype="float32") * (2 / FEATURES) ** 0.5
        w2 = rng.standard_normal((width, CLASSES), dtype="float32") * (1 / width) ** 0.5
        b1 = rng.standard_normal(width, dtype="float32") * 0.01
        b2 = rng.standard_normal(CLASSES, dtype="float32") * 0.01
        return {"w1": w1, "b1": b1, "w2": w2, "b2": b2}

    def program(self, ops, parameters, inputs, case):
        hidden = ops.bias_add(ops.matmul(inputs["x"], parameters["w1"]), parameters["b1"])
        hidden = ops.relu(hidden)
        logits = ops.bias_add(ops.matmul(hidden, parameters["w2"]), parameters["b2"])
        loss = ops.softmax_cross_entropy(logits, inputs["labels"])
        return Outputs(values={"loss": loss}, objective=loss)

    def step(self, case):
        return "training"

    def cost(self, case):
        batch, width = case["batch"], case["width"]
        first, second = FEATURES * width, width * CLASSES
        parameters = first + second + width + CLASSES
        # Forward, gradient of the weights, gradient of the input; the data needs no gradient.
        flops = 2 * batch * (2 * first + 3 * second) + 2 * parameters
        moved = 4 * (batch * FEATURES + 2 * parameters + 1) + 8 * batch
        return Cost(flops, moved, parameters)

    def by_hand(self, case):
        learning_rate = self.learning_rate(case)

        def train(parameters, inputs):
            x = inputs["x"]
            hidden = np.maximum(x @ parameters["w1"] + parameters["b1"], 0)
            logits = hidden @ parameters["w2"] + parameters["b2"]
            loss, dlogits = softmax_cross_entropy(logits, inputs["labels"])
            dhidden = (dlogits @ parameters["w2"].T) * (hidden > 0)
            gradients = {
                "w1": x.T @ dhidden,
                "b1": dhidden.sum(axis=0),
                "w2": hidden.T @ dlogits,
                "b2": dlogits.sum(axis=0),
            }
            for name, gradient in gradients.items():
                sgd_update(parameters[name], gradient, learning_rate)
            return {"loss": loss}

        return train
