"""A whole training in each framework with every choice open: text that ``conformance eject`` reads, and never imports.

Names in capitals are what a recipe chooses. Where one is a word, a flag or nothing, the conditions on it are decided
when a file is written; numbers stay, as constants of that file. ``REPLACED`` names what a skeleton has in the place of
a definition of the package: the same for one training, in fewer words.
"""
