"""How a run may end other than well."""


class BadInput(Exception):
    """The run cannot start as asked: a device, a data set or an implementation is not there."""


class Incomplete(Exception):
    """The run could not be carried out to its end."""
