"""The lecture's first lines on the engine `static`."""

from benchctl_engines import static as tf

a = tf.constant(1)
print(a)
with tf.Session() as session:
    print(session.run(a))
