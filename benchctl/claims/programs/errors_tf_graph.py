"""The same three mistakes on TensorFlow's graphs, as the lecture used them."""

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_eager_execution()


def wrong_shape():
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, (4, 3))
        w = tf.constant(np.ones((4, 2), "float32"))
        tf.matmul(x, w)  # wrong_shape


def nan():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, (3,))
        y = x - 2.0
        root = tf.sqrt(y)  # nan
        loss = tf.reduce_sum(root * root)
        checks = tf.add_check_numerics_ops()
    with tf.Session(graph=graph) as session:
        session.run([loss, checks], {x: np.ones(3, "float32")})


def missing_feed():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, (3,))
        scale = tf.placeholder(tf.float32, ())
        loss = tf.reduce_sum(x * scale)
    with tf.Session(graph=graph) as session:
        session.run(loss, {x: np.ones(3, "float32")})  # missing_feed
