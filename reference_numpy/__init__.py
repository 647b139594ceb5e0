"""The normative definition of every model, loss, regularizer and optimizer of the suite, in pure NumPy.

Notation follows Andrew Ng's Deep Learning Specialization ("the course"): layers count from 1, ``W[l]`` has shape
``(n_l, n_{l-1})``, ``b[l]`` shape ``(n_l,)``, and ``m`` is the number of examples. Data is batch first, ``x: (m, n_0)``
(the course writes its transpose). Nothing here imports anything but NumPy.
"""
