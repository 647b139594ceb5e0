"""The models, losses, regularizers and optimizers of the suite in JAX: pure functions of pytrees, ``jit``, ``scan``.

Notation follows Andrew Ng's Deep Learning Specialization ("the course"): layers count from 1, ``W[l]`` has shape
``(n_l, n_{l-1})``, ``b[l]`` shape ``(n_l,)``, and ``m`` is the number of examples. Data is batch first, ``x: (m, n_0)``
(the course writes its transpose). The equations with their sources are those of ``reference_numpy``; nothing here
imports anything but JAX, optax, NumPy and the standard library.

No global setting is touched. float64 needs ``jax.enable_x64``; on accelerators matrix products may run in a lower
precision (TF32, bfloat16) unless ``jax_default_matmul_precision`` says otherwise. Both are the caller's to choose.
"""
