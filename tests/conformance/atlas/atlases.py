"""Atlases, for the tests."""

from dataclasses import replace

from conformance.atlas.evidence import UNMAPPED, Atlas, Evidence, Fault, Surprise

HOSTILE = "<script>alert(1)</script>|`_*"


def of(call, formulation, **others):
    """The evidence of an optimizer, Adam unless said."""
    facts = {"kind": "optimizer", "component": "adam", "framework": call.partition(".")[0], "version": "1.0"}
    return Evidence(**facts | {"call": call, "target": call, "formulation": formulation} | others)


def atlas(**changes):
    """Two Adams that differ, the first twice, a built-in that nobody knows, a fault, a surprise; names that escape."""
    torch = of("torch.optim.Adam", "adam()", digits={"float64": 14.2, "float32": 6.1}, edges={"gradient 1": "-0.001"},
               defaults={"eps": "1e-08"}, keywords={"learning_rate": 0.001})  # fmt: skip
    position = {"epsilon_position": "before_correction"}
    keras = of("keras.optimizers.Adam", 'adam(epsilon_position="before_correction")', edges={"gradient 1": "-0.0009"},
               rounded=("learning_rate",), note=HOSTILE, keywords=position)  # fmt: skip
    other = of(f"torch.optim.{HOSTILE}", "", component="", standing=UNMAPPED, reason=HOSTILE)
    again = replace(torch, component="adamw")
    evidence = [torch, keras, other, again] if not changes else [of("torch.optim.Adam", **changes)]
    fault = Fault("strides", ("torch",), "what it is", "shown = True", True, HOSTILE)
    pair = Surprise("adam", torch.call, keras.call, (torch.formulation, keras.formulation), (0.5, 0.6), 0.1)
    return Atlas({"torch": {"torch": "1.0"}, "keras": {}}, evidence, [fault], [pair])
