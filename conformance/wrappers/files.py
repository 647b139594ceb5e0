"""A file that ``conformance eject`` wrote, as an implementation: its own functions, called with what is drawn for it.

The target of a file is ``conformance.wrappers.files:PATH``: the attributes of this module that no name of Python can
have are paths, each an adapter. The file is a module like any other, and runs in a worker process like any other. What
it draws for a training it is given instead, by the names of the functions that draw it; all else is as it is written.
"""

import ast
import importlib
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.registry import available, load
from conformance.adapters.session import Session, Training, TrainingState, Unsupported
from conformance.problems.problem import Problem
from conformance.problems.tape import Tape
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.recipes.choosing import find
from conformance.recipes.files import RecipeError
from conformance.recipes.recipe import Recipe
from reference_numpy import models, optimizers, regularizers
from reference_numpy._common import is_weight

PREFIX = f"{__name__}:"
SESSIONS = {"numpy": "arrays_files", "torch": "torch_files", "tf": "keras_files", "jax": "jax_files"}
_IMPORTED = {"torch": "torch", "tensorflow": "tf", "jax": "jax"}
_NEEDED = ("initialize", "Model", "example_losses", "data_loss", "train_step", "fit", "predict", "DTYPE")
_COMMAND = re.compile(r"^    conformance eject \w+ --recipe (\S+) --dtype (\w+)$", re.MULTILINE)


class FileAdapter:
    """The file at ``path`` on the devices of its framework. Raises ValueError for a file that was not ejected."""

    path: Path
    recipe: Recipe | str | None

    def __init__(self, device: str) -> None:
        self.device, self.framework = device, framework_of(self.path)
        self.own = load(available()[self.framework])(device)
        self.module = loaded(self.path)

    def versions(self) -> Mapping[str, str]:
        return self.own.versions()

    def settings(self) -> Mapping[str, Any]:
        return self.own.settings()

    def session(self, problem: Problem) -> "FileSession":
        dtypes = re.findall(r"float\d+", repr(self.module.DTYPE))
        if dtypes != [problem.dtype.name]:
            raise Unsupported(f"{self.path.name} computes in {', '.join(dtypes)} alone: ask for that, --dtype")
        found = importlib.import_module(f"conformance.wrappers.{SESSIONS[self.framework]}")
        session: FileSession = found.Session(self.module, problem)
        return session


def __getattr__(name: str) -> type[FileAdapter]:
    path = Path(name)
    if not path.is_absolute():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: must be the absolute path of a file")
    return type("FileAdapter", (FileAdapter,), {"path": path, "recipe": recipe_of(path)})


def recipe_of(path: Path) -> Recipe | str | None:
    """The recipe that a file says it was written for, in its precision; its name alone where that is not known."""
    found = _COMMAND.search(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return None
    try:
        return find(found[1]).model_copy(update={"dtypes": (found[2],)})
    except RecipeError:
        return found[1]


def framework_of(path: Path) -> str:
    """The framework that a file imports. Raises ValueError for what is no Python or was not ejected."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), path.name)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path.name} cannot be read as Python: {error}") from error
    defined = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    defined |= {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    lacking = [name for name in _NEEDED if name not in defined and name not in ("initialize", "Model")]
    if lacking or not defined & {"initialize", "Model"}:
        raise ValueError(
            f"{path.name} lacks {', '.join(lacking) or 'Model'}: must be a file that `conformance eject` wrote for a"
            " recipe; code of your own is named as package.module:attribute"
        )
    imported = {alias.name.split(".")[0] for n in tree.body if isinstance(n, ast.Import) for alias in n.names}
    return next((framework for name, framework in _IMPORTED.items() if name in imported), "numpy")


def loaded(path: Path) -> ModuleType:
    """A file as a module. Raises ValueError with what it raises."""
    specification = spec_from_file_location(f"ejected_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = module_from_spec(specification)
    sys.modules[module.__name__] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # whatever it raises
        raise ValueError(f"{path.name} cannot be imported: {type(error).__name__}: {error}") from error
    return module


class Snapshot(NamedTuple):
    """Where a training is."""

    parameters: Tensors
    slots: dict[str, Tensors]
    statistics: Tensors


@dataclass
class Watched:
    """What is seen of a training from outside: where it was after each epoch, and what decided when it stopped."""

    epochs: list[Snapshot] = field(default_factory=list)
    stopping: Any = None

    @property
    def best_epoch(self) -> int:
        """Counted from 1; 0 without early stopping."""
        return 0 if self.stopping is None else int(self.stopping.best_epoch)


class FileSession(Session, ABC):
    """The functions of an ejected file for one problem; a framework's class converts and calls."""

    def __init__(self, module: ModuleType, problem: Problem) -> None:
        self.module, self.problem = module, problem
        self.double = problem.dtype == np.float64

    # ------------------------------------------------------------------ what a framework's class has

    @abstractmethod
    def tensor(self, value: Array) -> Any:
        """The framework's tensor of an array."""

    @abstractmethod
    def initial(self, sizes: tuple[int, ...], seed: int) -> Tensors:
        """The initial parameters of the file's model with so many inputs and outputs; a network has its own."""

    @abstractmethod
    def outputs(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        """The model's outputs ``(m, n_L)`` in inference."""

    @abstractmethod
    def hidden(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        """The logits, and what else is seen of a forward pass, by the reference's names."""

    @abstractmethod
    def trained(self, problem: Problem, watched: Watched, given: dict[str, Any]) -> tuple[Any, Snapshot]:
        """The file's ``fit`` on a problem, watched: its history and where it ended; ``given``: keywords."""

    def taped(self, tape: Tape) -> dict[str, Callable[..., Any]]:
        """The functions in whose place a training takes what is on the tape; an epoch's generator is its number."""
        return {
            "epoch_generator": lambda epoch: epoch,
            "visiting_order": lambda epoch, examples: self.order(tape, epoch, examples),
            "draw_masks": lambda epoch, examples: self.masks(tape, epoch),
            "draw_augmentations": lambda epoch, x: self.draws(tape, epoch),
        }

    # ------------------------------------------------------------------ what a session offers

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        if self.is_network:
            raise Unsupported("a file draws the weights of its own layers and no others")
        with changed(self.module, HIDDEN_UNITS=(), DEPTH=1):
            return self.initial((shape[1], shape[0]), seed)["W1"]

    def standardize(self, train_x: Array, x: Array) -> Array:
        statistics = self._own("standardization_statistics")(self.tensor(train_x))
        return np.asarray(self._own("standardize")(self.tensor(x), *statistics))

    def augment(self, x: Array, draws: list[Array]) -> Array:
        return np.asarray(self._own("augment")(self.tensor(x), [self.tensor(drawn) for drawn in draws]))

    def clip(self, gradients: Tensors) -> Tensors:
        return arrays(self._own("clip")(self.tensors(gradients)))

    def constrain(self, parameters: Tensors) -> Tensors:
        return arrays(self._own("constrain")(self.tensors(parameters)))

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        found = self.hidden(parameters, x, masks, statistics)
        is_plain = not masks and not self.has_statistics
        in_inference = statistics is not None or is_plain
        outputs = self.outputs(parameters, x, statistics or {}) if in_inference else NOT_OFFERED
        return dict.fromkeys(self._inside(parameters), NOT_OFFERED) | found | {self.problem.outputs: outputs}

    def _inside(self, parameters: Tensors) -> list[str]:
        """What there is in the model, by the reference's names."""
        if self.is_network:
            return [name for name in self.problem.places if name not in {*parameters, *self.statistics}]
        layers = range(1, self.problem.depth + 1)
        inside = [f"{stem}{layer}" for layer in layers for stem in "ZA"]
        return inside + [f"N{layer}" for layer in layers if f"gamma{layer}" in parameters]

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        outputs = self.outputs(parameters, x, statistics)
        if self.problem.recipe.model.output == "softmax":
            return np.asarray(outputs.argmax(axis=1))
        labels = (outputs > 0.5).astype(np.int64)
        return labels[:, 0] if labels.shape[1] == 1 else labels

    def initial_parameters(self, seed: int) -> Tensors:
        return self.initial(self.sizes, seed)

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        if start is not None:
            raise Unsupported("an ejected file trains from the beginning, and does not go on")
        return self._fit(problem, checkpoint_epochs, self.taped(problem.tape))

    def fit_natively(self, problem: Problem, seed: int, checkpoint_epochs: tuple[int, ...]) -> Training:
        return self._fit(problem, checkpoint_epochs, {"SEED": seed})

    def another_session(self, problem: Problem) -> Session:
        if problem.recipe.model != self.problem.recipe.model:
            raise Unsupported("an ejected file has one model")
        return type(self)(self.module, problem)

    # ------------------------------------------------------------------ and how

    def _fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], changes: Mapping[str, Any]) -> Training:
        """The file's training, with ``changes`` of the file's names."""
        given: dict[str, Any] = {}
        if problem.train_weights is not None:
            given["example_weights"] = self.tensor(problem.train_weights)
        if problem.stops_early and problem.validation is not None:
            given["validation"] = tuple(map(self.tensor, problem.validation))
        watched, make = Watched(), getattr(self.module, "EarlyStopping", None)

        def stopping(*arguments: Any) -> Any:
            assert make is not None
            watched.stopping = make(*arguments)
            return watched.stopping

        with changed(self.module, EPOCHS=problem.recipe.epochs, EarlyStopping=stopping, **changes):
            history, end = self.trained(problem, watched, given)
        epochs = {epoch: seen for epoch, seen in enumerate(watched.epochs, start=1) if epoch in checkpoint_epochs}
        return Training(
            costs=np.asarray(history.costs, problem.dtype),
            learning_rates=np.asarray(history.learning_rates),
            gradient_norms=np.asarray(history.gradient_norms, problem.dtype),
            parameters=end.parameters,
            slots=watched.epochs[-1].slots,
            checkpoints={epoch: seen.parameters for epoch, seen in epochs.items()},
            validation_costs=self._validation_costs(problem, history),
            best_epoch=watched.best_epoch,
            statistics=end.statistics,
            checkpoint_slots={epoch: seen.slots for epoch, seen in epochs.items()},
            checkpoint_statistics={epoch: seen.statistics for epoch, seen in epochs.items()},
        )

    def _validation_costs(self, problem: Problem, history: Any) -> Array:
        """Those of every epoch; a file looks at them only where they stop a training."""
        if problem.validation is not None and not problem.stops_early:
            return NOT_OFFERED
        return np.asarray(getattr(history, "validation_costs", []), problem.dtype)

    def order(self, tape: Tape, epoch: int, examples: int) -> Any:
        """The order in which an epoch visits the examples."""
        return self.tensor(np.arange(examples) if tape.batch_order is None else tape.batch_order[epoch])

    def masks(self, tape: Tape, epoch: int) -> dict[int, Any]:
        """An epoch's dropout masks by layer."""
        return {layer: self.tensor(masks[epoch]) for layer, masks in tape.dropout_masks.items()}

    def draws(self, tape: Tape, epoch: int) -> list[Any]:
        """What an epoch's augmentations drew."""
        return [self.tensor(drawn[epoch]) for drawn in tape.augmentation_draws]

    def tensors(self, values: Mapping[Any, Array]) -> dict[Any, Any]:
        """The framework's tensors by name."""
        return {name: self.tensor(value) for name, value in values.items()}

    def of_batch(self, masks: Masks | None, weights: Array | None) -> dict[str, Any]:
        """What a step is given beside inputs and targets, by keyword."""
        given: dict[str, Any] = {} if weights is None else {"example_weights": self.tensor(weights)}
        return given | ({"masks": self.tensors(masks)} if masks else {})

    @property
    def penalties(self) -> tuple[Any, ...]:
        """The file's penalties."""
        names = self.problem.recipe.named(*regularizers.PENALTIES)
        return () if not names else (self.module.penalty,) if len(names) == 1 else tuple(self.module.penalties)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The slots of the recipe's optimizer."""
        component = self.problem.recipe.optimizer
        return tuple(optimizers.OPTIMIZERS[component.name](**component.keywords).init({}).slots)

    @property
    def has_statistics(self) -> bool:
        """Whether the model has running averages."""
        return bool(self.statistics)

    @cached_property
    def statistics(self) -> Tensors:
        """The running averages before training."""
        found: Tensors = models.initial_statistics(self.problem.build_model(models))
        return found

    @property
    def is_network(self) -> bool:
        """Whether the model is a network of layers."""
        return self.problem.recipe.is_network

    @property
    def sizes(self) -> tuple[int, ...]:
        """What the file's model is made with: the numbers of inputs and outputs, for a network of layers nothing."""
        if self.is_network:
            return ()
        return self.problem.features, int(self.problem.tape.initial_parameters[f"W{self.problem.depth}"].shape[0])

    @property
    def weight_names(self) -> list[str]:
        """The names of the weights, which penalties are of."""
        return list(filter(is_weight, self.problem.tape.initial_parameters))

    def _own(self, name: str) -> Any:
        """A function of the file. Raises Unsupported where it has none of that name."""
        if not hasattr(self.module, name):
            raise Unsupported(f"the file has no {name}")
        return getattr(self.module, name)


def arrays(tensors: Mapping[str, Any]) -> Tensors:
    """Copies of a framework's tensors as arrays, by name."""
    return {name: np.asarray(tensor).copy() for name, tensor in tensors.items()}


@contextmanager
def changed(module: ModuleType, **values: Any) -> Iterator[None]:
    """A module with others of its names, those that it has, for as long as the context lasts."""
    before = {name: getattr(module, name) for name in values if hasattr(module, name)}
    for name in before:
        setattr(module, name, values[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)
