"""This project's implementation of a formulation as a file that needs the framework alone, and code that uses it."""

from dataclasses import replace
from keyword import iskeyword

from conformance.data.wording import shown
from conformance.ejecting.components import COMPONENTS
from conformance.ejecting.eject import eject
from conformance.translation.translated import Translation

RATE = "learning_rate"
LAYERS = ("normalization", "layer")  # kinds whose component is a function of arrays that the layer needs others beside
LOOP = "keras.Model.compile takes it by way of impl_tf.keras_optimizer alone: the file is for a loop of one's own"


def ejected(found: Translation, module: str) -> tuple[str, Translation]:
    """The text of a file called ``module``, and the translation with the code that imports it.

    Raises ValueError for what is no module's name or cannot be ejected alone, NoFormatter (of
    ``conformance.ejecting.writing``) where ruff is not installed.
    """
    if not module.isidentifier() or iskeyword(module):
        raise ValueError(f"file={shown(module)} is not allowed: its name must be one that can be imported, as mine.py")
    if found.component not in COMPONENTS or found.kind in LAYERS:
        raise ValueError(f"{found.component} cannot be ejected alone: take the import, or eject a recipe that has it")
    keywords = dict(found.keywords)
    rate = keywords.pop(RATE, None) if found.kind == "schedule" else None
    text = eject(found.to, found.component, **keywords)
    optimizer = "params" if found.to == "torch" else ""
    inside = {"schedule": repr(rate), "optimizer": optimizer, "penalty": "", "clipping": ""}.get(found.kind)
    made = found.component if inside is None else f"{found.component}({inside})"
    notes = (*found.notes, LOOP) if (found.kind, found.to) == ("optimizer", "tf") else found.notes
    code = f"from {module} import {found.component}\n\n{found.kind} = {made}"
    return text, replace(found, code=code, notes=notes)
