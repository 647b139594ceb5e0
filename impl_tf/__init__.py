"""The models, losses, regularizers and optimizers of the suite in TensorFlow's own idiom.

``tf.Module`` with explicit ``tf.Variable``s, gradients by ``tf.GradientTape``, whole epochs compiled by
``tf.function``. Keras is not used, but in ``keras_optimizer.py``, which hands it this package's optimizers. All other
files exist for each framework, with the same functions in the same order; notation, as everywhere in the suite, is the
course's: ``W[l]: (n_l, n_{l-1})``, ``b[l]: (n_l,)``, data batch first.
"""
