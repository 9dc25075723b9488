"""The lecture's first lines as they stood there, on TensorFlow's graphs."""

import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
a = tf.constant(1)
print(a)
with tf.Session() as session:
    print(session.run(a))
