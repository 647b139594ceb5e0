"""How large a recipe may be. What is larger is refused before anything is loaded, drawn or built."""

MOST_EPOCHS = 100_000
MOST_EXAMPLES = 1_000_000
MOST_UNITS = 65_536  # of a layer
MOST_AXES = 32  # of a shape, as the reference has it
MOST_REGULARIZERS = 20
MOST_STEPS = 1_000_000
MOST_PARAMETERS = 20_000_000
MOST_UPDATES = 10**11  # steps x parameters: hours in each implementation
MOST_TAPE_BYTES = 2 * 2**30
MOST_DATA_BYTES = 2 * 2**30
MOST_HISTORY = 1_000  # differences that L-BFGS keeps
MOST_STATE_BYTES = 4 * 2**30  # of the differences that it keeps, in float64
MOST_LAYERS = 200  # of a network, those inside others too
MOST_NESTED_LAYERS = 8  # layers in each other
MOST_VALUE_BYTES = 4 * 2**30  # of what the layers of a network compute from all examples, in float64
