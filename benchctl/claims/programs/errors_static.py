"""Three mistakes on the engine `static`; the line of each is marked."""

import numpy as np

from benchctl_engines import static as tf
from benchctl_engines.static import Graph, PassSwitches


def wrong_shape():
    with Graph().as_default():
        x = tf.placeholder("float32", (4, 3))
        w = tf.variable(np.ones((4, 2), "float32"))
        tf.matmul(x, w)  # wrong_shape


def nan():
    with Graph().as_default() as graph:
        x = tf.placeholder("float32", (3,))
        y = x - 2.0
        root = tf.sqrt(y)  # nan
        loss = tf.sum(root * root)
    with tf.Session(graph, switches=PassSwitches(check_nan=True)) as session:
        session.run(loss, {x: np.ones(3, "float32")})


def missing_feed():
    with Graph().as_default() as graph:
        x = tf.placeholder("float32", (3,))
        scale = tf.placeholder("float32", ())
        loss = tf.sum(x * scale)
    with tf.Session(graph) as session:
        session.run(loss, {x: np.ones(3, "float32")})  # missing_feed
