"""Measurements that were not made: frames with the times that a test wants."""

from benchmarks.frames import Measured, cold_frame, profile_frame, rounds_frame, times_frame
from benchmarks.profiling import CALL, STEPS


def rounds(**seconds):
    """Two processes of NumPy's ``digits``; ``seconds`` of a step by contender, the same in both."""
    return rounds_frame(
        (process, "numpy", "cpu", {"workload": "digits", "contender": name.replace("_", " "), "seconds": values})
        for process in range(2)
        for name, values in seconds.items()
    )


def measured(**seconds):
    made = rounds(**seconds)
    first_steps = [("numpy", "cpu", "fit", {"first step": 0.5, "second step": 0.002, "peak memory": 120.0})] * 3
    imports = [("numpy", "cpu", "import numpy", {"import": 0.1, "peak memory": 30.0})] * 3
    profile = [
        ("numpy", "cpu", {"workload": "digits", "contender": contender, "part": part, "seconds": seconds})
        for contender in ("fit", "best")
        for part, seconds in ((CALL, -1e-9), (STEPS, 2e-6), ("numpy.matmul", 1e-6))
    ]
    machine = {
        "processor": "A processor", "cores": 2, "system": "Linux x86_64", "python": "3.11.7",
        "packages": {"numpy": "2.4.6"}, "device": "cpu", "load before": 0.1,
    }  # fmt: skip
    return Measured(made, times_frame(made), cold_frame([*first_steps, *imports]), profile_frame(profile), machine)
