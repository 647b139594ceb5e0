"""How often a process of the command looks for garbage."""

import gc


def collect_rarely() -> None:
    """Leave what was imported alone, and look for garbage less often.

    A run makes very many small objects and little garbage, beside frameworks of a million objects that stay: by the
    usual thresholds it spends a tenth of its time looking for it.
    """
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
