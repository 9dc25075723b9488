"""The training step of mlp.py in NumPy, its gradients derived by hand."""

import numpy as np
from benchctl_engines.manual.layers import sgd_update, softmax_cross_entropy
from mlp import Mlp


class MlpByHand(Mlp):
    """The same step for every engine, `numpy` included."""

    name = "mlp_by_hand"

    def by_hand(self, case):
        learning_rate = self.learning_rate(case)

        def train(parameters, inputs):
            x = inputs["x"]
            hidden = np.maximum(x @ parameters["w1"] + parameters["b1"], 0)
            logits = hidden @ parameters["w2"] + parameters["b2"]
            loss, dlogits = softmax_cross_entropy(logits, inputs["labels"])
            dhidden = dlogits @ parameters["w2"].T * (hidden > 0)
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
