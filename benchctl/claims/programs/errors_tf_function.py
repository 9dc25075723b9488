"""The same three mistakes under `tf.function`."""

import tensorflow as tf


def wrong_shape():
    @tf.function
    def product(x, w):
        return x @ w  # wrong_shape

    product(tf.ones((4, 3)), tf.ones((4, 2)))


def nan():
    @tf.function
    def loss(x):
        y = x - 2.0
        root = tf.sqrt(y)  # nan
        return tf.reduce_sum(root * root)

    tf.debugging.enable_check_numerics()
    try:
        loss(tf.ones(3))
    finally:
        tf.debugging.disable_check_numerics()


def missing_feed():
    @tf.function
    def loss(x, scale):
        return tf.reduce_sum(x * scale)

    loss(tf.ones(3))  # missing_feed
