"""What functions and dataclasses declare: the defaults and types of arguments, and fields."""

import ast
from collections.abc import Collection, Mapping


def default_of(function: ast.FunctionDef, argument: str) -> ast.expr | None:
    """The default of an argument, None if it has none."""
    positional = [*function.args.posonlyargs, *function.args.args]
    defaults = dict(zip([each.arg for each in reversed(positional)], reversed(function.args.defaults), strict=False))
    named = {
        each.arg: default for each, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    }
    return (defaults | named).get(argument)


def fields_of(held: ast.ClassDef) -> list[str]:
    """The fields of a dataclass, in their order; [] for any other class."""
    if not any("dataclass" in ast.dump(decorator) for decorator in held.decorator_list):
        return []
    return [
        each.target.id for each in held.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    ]


def field_given(call: ast.Call, fields: list[str], field: str) -> ast.expr | None:
    """What a call of a dataclass gives for a field."""
    place = fields.index(field)
    if place < len(call.args):
        return call.args[place]
    return next((keyword.value for keyword in call.keywords if keyword.arg == field), None)


def may_be_none(annotation: ast.expr, aliases: Mapping[str, ast.expr], classes: Collection[str]) -> bool:
    """Whether a type has None in it, by itself or by another name; one whose definition is not known may."""
    for part in (each.strip() for each in ast.unparse(annotation).split("|")):
        alias = aliases.get(part)
        if part in ("None", "Any") or (alias is not None and may_be_none(alias, aliases, classes)):
            return True
        if alias is None and "__" in part and part.isidentifier() and part not in classes:
            return True
    return False
