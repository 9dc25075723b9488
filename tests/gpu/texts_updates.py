"""What launches over many tensors compile: plain SGD, and the rules of optimizers."""

from __future__ import annotations

from collections.abc import Iterator

from texts import generated

from benchctl_engines.eager.multi_tensor import written_rule
from benchctl_engines.kernels.cuda_many import write_many
from benchctl_engines.kernels.cuda_source import Index
from benchctl_engines.kernels.cuda_state import scaled_body
from benchctl_engines.layers import SGD, Adam

MOMENTUM, ADAM = SGD(0.1, 0.9, nesterov=True), Adam()


@generated("updates")
def update_texts() -> Iterator[tuple[str, str]]:
    """(name, text) for few tensors, for as many as a launch takes, and for 64-bit positions."""
    for dtype in ("float32", "float64"):
        bodies = {
            "sgd": (scaled_body(dtype, 0.1)[0], 0),
            "momentum": (written_rule("momentum", MOMENTUM._moved_by_velocity, 3, 0, dtype)[0], 0),
            "adam": (written_rule("adam", ADAM._moved, 4, 2, dtype)[0], 2),
        }
        for (name, (body, shared)), tensors in zip(bodies.items(), (100, 3, 50), strict=True):
            text = write_many(body, shared, tensors, Index(False)).text
            yield f"{name} of {tensors} tensors of {dtype}", text
    yield "sgd of wide tensors", write_many(scaled_body("float32", 0.1)[0], 0, 2, Index(True)).text
