"""The same three mistakes under `jax.jit`."""

import jax
import jax.numpy as jnp


def wrong_shape():
    @jax.jit
    def product(x, w):
        return x @ w  # wrong_shape

    product(jnp.ones((4, 3)), jnp.ones((4, 2)))


def nan():
    @jax.jit
    def loss(x):
        y = x - 2.0
        root = jnp.sqrt(y)  # nan
        return jnp.sum(root * root)

    jax.config.update("jax_debug_nans", True)
    try:
        loss(jnp.ones(3))
    finally:
        jax.config.update("jax_debug_nans", False)


def missing_feed():
    @jax.jit
    def loss(x, scale):
        return jnp.sum(x * scale)

    loss(jnp.ones(3))  # missing_feed
