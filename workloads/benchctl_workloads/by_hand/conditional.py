"""The workload `conditional` in NumPy: Python's own branches and loops, gradients by hand.

Without control flow everything that could be computed is, and `where` selects.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchctl_engines.contract import Array, ByHand
from benchctl_engines.manual.array_module import array_module

Arrays = Mapping[str, Array]


def step(form: str, steps: int, branchless: bool, gradient: bool) -> ByHand:
    """One step of a case."""
    forward_and_back = {
        ("branch", False): _branches,
        ("branch", True): _selections,
        ("loop", False): _loop,
        ("loop", True): _loop,
        ("while", False): _iterations,
        ("while", True): _masked_iterations,
    }[form, branchless]

    def run(parameters: dict[str, Array], inputs: Arrays) -> Arrays:
        return forward_and_back(parameters, inputs, steps, gradient)

    return run


def _layer(h: Array, w: Array, b: Array) -> Array:
    result: Array = array_module(h).tanh(h * w + b)
    return result


def _layer_back(g: Array, h: Array, y: Array, w: Array) -> tuple[Array, Array, Array]:
    """Gradients of h, w and b for y = tanh(h * w + b): 1 - y^2 is the derivative of tanh."""
    d = g * (1 - y * y)
    return d * w, d * h, d


def _branches(parameters: Arrays, inputs: Arrays, steps: int, gradient: bool) -> Arrays:
    w, b, v = (parameters[name] for name in "wbv")
    gates = inputs["gates"]
    states = [inputs["x"]]
    for place in range(steps):
        h = states[-1]
        states.append(_layer(h, w, b) if gates[place] > 0 else h * v)
    results = {"h": states[-1], "loss": states[-1].sum()}
    if not gradient:
        return results
    xp = array_module(w)
    g = xp.ones_like(w)
    dw, db, dv = xp.zeros_like(w), xp.zeros_like(b), xp.zeros_like(v)
    for place in reversed(range(steps)):
        h, y = states[place], states[place + 1]
        if gates[place] > 0:
            g, one_w, one_b = _layer_back(g, h, y, w)
            dw += one_w
            db += one_b
        else:
            dv += g * h
            g = g * v
    return {**results, "grad_x": g, "grad_w": dw, "grad_b": db, "grad_v": dv}


def _selections(parameters: Arrays, inputs: Arrays, steps: int, gradient: bool) -> Arrays:
    w, b, v = (parameters[name] for name in "wbv")
    xp = array_module(w)
    chosen = inputs["gates"] > 0
    states, layers = [inputs["x"]], []
    for place in range(steps):
        h = states[-1]
        layers.append(_layer(h, w, b))
        states.append(xp.where(chosen[place], layers[-1], h * v))
    results = {"h": states[-1], "loss": states[-1].sum()}
    if not gradient:
        return results
    g = xp.ones_like(w)
    dw, db, dv = xp.zeros_like(w), xp.zeros_like(b), xp.zeros_like(v)
    for place in reversed(range(steps)):
        h = states[place]
        to_layer, to_product = xp.where(chosen[place], g, 0), xp.where(chosen[place], 0, g)
        through_layer, one_w, one_b = _layer_back(to_layer, h, layers[place], w)
        dw += one_w
        db += one_b
        dv += to_product * h
        g = through_layer + to_product * v
    return {**results, "grad_x": g, "grad_w": dw, "grad_b": db, "grad_v": dv}


def _loop(parameters: Arrays, inputs: Arrays, steps: int, gradient: bool) -> Arrays:
    w, rows = parameters["w"], inputs["rows"]
    xp = array_module(w)
    states = xp.empty((steps + 1, w.size), w.dtype)
    states[0] = inputs["x"]
    for place in range(steps):
        states[place + 1] = _layer(states[place], w, rows[place])
    results = {"h": states[-1], "loss": states[1:].sum()}
    if not gradient:
        return results
    g, dw, drows = xp.zeros_like(w), xp.zeros_like(w), xp.empty_like(rows)
    for place in reversed(range(steps)):
        # Every state is summed into the loss, and read by the next.
        g, one_w, drows[place] = _layer_back(g + 1, states[place], states[place + 1], w)
        dw += one_w
    return {**results, "grad_x": g, "grad_w": dw, "grad_rows": drows}


def _iterations(parameters: Arrays, inputs: Arrays, steps: int, gradient: bool) -> Arrays:
    w, b = parameters["w"], parameters["b"]
    states = [inputs["x"]]
    done = inputs["start"]
    while done < inputs["count"] and len(states) <= steps:
        states.append(_layer(states[-1], w, b))
        done = done + 1
    results = {"h": states[-1], "loss": states[-1].sum()}
    if not gradient:
        return results
    xp = array_module(w)
    g, dw, db = xp.ones_like(w), xp.zeros_like(w), xp.zeros_like(b)
    for place in reversed(range(len(states) - 1)):
        g, one_w, one_b = _layer_back(g, states[place], states[place + 1], w)
        dw += one_w
        db += one_b
    return {**results, "grad_x": g, "grad_w": dw, "grad_b": db}


def _masked_iterations(parameters: Arrays, inputs: Arrays, steps: int, gradient: bool) -> Arrays:
    w, b = parameters["w"], parameters["b"]
    xp = array_module(w)
    states, layers, masks = [inputs["x"]], [], []
    for place in range(steps):
        masks.append(inputs["start"] + place < inputs["count"])
        layers.append(_layer(states[-1], w, b))
        states.append(xp.where(masks[-1], layers[-1], states[-1]))
    results = {"h": states[-1], "loss": states[-1].sum()}
    if not gradient:
        return results
    g, dw, db = xp.ones_like(w), xp.zeros_like(w), xp.zeros_like(b)
    for place in reversed(range(steps)):
        inside = xp.where(masks[place], g, 0)
        through, one_w, one_b = _layer_back(inside, states[place], layers[place], w)
        dw += one_w
        db += one_b
        g = through + xp.where(masks[place], 0, g)
    return {**results, "grad_x": g, "grad_w": dw, "grad_b": db}
