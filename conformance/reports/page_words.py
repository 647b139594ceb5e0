"""The words of the page: what a reader who does not know the project must be told."""

from conformance.reports.page_data import INCOMPLETE

# A verdict is told by a sign, a colour and its name, so that none of them is needed.
SYMBOLS = {
    "fail": "✗",
    "missing": "∅",
    "crashed": "!",
    "timeout": "‖",
    INCOMPLETE: "…",
    "inconclusive": "≈",
    "diverged": "∞",
    "unsupported": "○",
    "pass": "✓",
}

ABOUT = (
    "The same small trainings (recipes) are made by several implementations. Each is compared with a reference that"
    " computes in float64, the oracle: tensor by tensor, step by step. An error may be as large as its allowance, which"
    " follows from how far rounding alone was seen to move that tensor."
)

GLOSSARY = {
    "pass": "The error is within its allowance.",
    "fail": "The error exceeds its allowance, and rounding does not explain it.",
    "missing": "The oracle has this tensor, the implementation did not give it.",
    "crashed": "The implementation raised an exception.",
    "timeout": "The implementation took too long, or too much memory, and was ended.",
    "inconclusive": "Nothing can be said: rounding alone could move this tensor so far, or a known fault could hide."
    " Neither a pass nor a failure.",
    "diverged": "The training leaves the range of its precision, as the reference's does. Not counted as a failure.",
    "unsupported": "The implementation does not offer this. Not counted as a failure.",
    INCOMPLETE: "Planned, and not done yet.",
    "oracle": "The reference in float64, from the same numbers.",
    "recipe": "One training in full: data, model, optimizer, and everything else that it depends on.",
    "error": "The largest difference from the oracle, in units of the oracle's largest value; of a curve, of its value"
    " at that step.",
    "floor": "How far rounding alone was seen to move a tensor: the largest error of seven runs of the reference that"
    " round differently.",
    "allowance": "How large an error may be: 8 times the floor and 16 units of roundoff, for every tensor alike.",
    "ceiling": "The least error that a known fault would make on a tensor by which it is seen. It should be far above"
    " the allowance.",
    "formulation": "Which of the published variants of a formula is meant.",
}

CHECKS = {
    "initialization": "the initial weights that it draws itself, by their statistics",
    "forward": "activations, in training and in inference",
    "loss": "losses, penalties and costs",
    "gradients": "gradients of the cost by every parameter and by the input",
    "gradient_check": "slopes of its own cost by differences, beside its own gradient",
    "update": "single steps of its optimizer, from given gradients",
    "teacher_forced": "each step of a training, started from the oracle's state",
    "free_running": "the whole training, as a user runs it",
    "native": "a training with random draws of its own",
}
