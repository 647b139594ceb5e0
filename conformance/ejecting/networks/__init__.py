"""A network of layers as code: each layer in a line or a few, with the shape of what it gives, and no layer besides."""

from conformance.ejecting.networks.jax import JaxWriter
from conformance.ejecting.networks.numpy import NumpyWriter
from conformance.ejecting.networks.tf import TfWriter
from conformance.ejecting.networks.torch import TorchWriter
from conformance.ejecting.networks.writer import Writer

WRITERS: dict[str, type[Writer]] = {"numpy": NumpyWriter, "torch": TorchWriter, "tf": TfWriter, "jax": JaxWriter}
