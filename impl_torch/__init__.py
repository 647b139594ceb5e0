"""The suite's models, losses, regularizers, optimizers and training loop, as PyTorch writes them.

Models are ``nn.Module``, optimizers ``torch.optim.Optimizer``, gradients come from autograd, and everything runs on
the device and in the dtype that the model has. The normative equations, with their sources, are in
``reference_numpy``; a docstring here gives the formula in one line and says where PyTorch's own built-in differs.
Layers count from 1, ``W[l]`` has shape ``(n_l, n_{l-1})``, ``b[l]`` shape ``(n_l,)``, and ``m`` is the number of
examples.
"""
