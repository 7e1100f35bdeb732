"""Settings of a model or a task: a frozen dataclass whose defaults are the paper's, changed by `name=value` texts."""

import contextlib
import types
from dataclasses import asdict, fields, replace
from typing import Literal, Union, get_args, get_origin, get_type_hints

from sims.mistakes import Mistake


class SettingError(Mistake):
    """A setting that does not exist or cannot hold what it was given."""


def change(settings, overrides):
    """Settings with some entries replaced.

    settings: dict of owner ("model", "task") -> dataclass instance; no two owners share a name.
    overrides: texts such as "d_m=20"; a value is read by the type of the field it goes to.
    Returns a dict like `settings`.
    Raises SettingError for an unknown name, a second value for one name, or a value of the wrong type.
    """
    owners = {entry.name: owner for owner, holder in settings.items() for entry in fields(holder)}
    changed = {owner: {} for owner in settings}
    for text in overrides:
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals:
            raise SettingError(f"--set {text}: found no '=', expected NAME=VALUE")
        if name not in owners:
            raise SettingError(f"--set {text}: found no setting called '{name}', expected one of: {', '.join(owners)}")
        owner = owners[name]
        if name in changed[owner]:
            raise SettingError(f"--set {text}: found a second value for '{name}', expected one")
        kind = get_type_hints(type(settings[owner]))[name]
        try:
            changed[owner][name] = _parse(value, kind)
        except ValueError as error:
            raise SettingError(f"--set {text}: found '{value}', expected {_describe(kind)}") from error
    return {owner: replace(holder, **changed[owner]) for owner, holder in settings.items()}


def default(kind, known):
    """The default settings of the dataclass `kind`, with those values of the dict `known` that it has a setting for."""
    names = {entry.name for entry in fields(kind)}
    return kind(**{name: value for name, value in known.items() if name in names})


def restore(kind, values, source):
    """An instance of the settings dataclass `kind` from a dict as `asdict` made it; `source` names the file it was read
    from."""
    if not isinstance(values, dict):
        raise SettingError(f"{source}: found {values!r}, expected the settings of {kind.__qualname__}")
    known = {entry.name for entry in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise SettingError(
            f"{source}: found the unknown setting '{unknown[0]}', expected some of: {', '.join(sorted(known))}"
        )
    hints = get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise SettingError(f"{source}: {name} is {value!r}, expected {_describe(hints[name])}")
    with found_in(source):
        return kind(**values)


@contextlib.contextmanager
def found_in(source):
    """Say of a SettingError within that what it complains of stands in the file `source`."""
    try:
        yield
    except SettingError as error:
        raise SettingError(f"{source}: {error}") from error


def require(holds, name, found, expected):
    """Raise SettingError unless a setting's value makes sense; for use in a dataclass's __post_init__."""
    if not holds:
        raise SettingError(f"setting {name}: found {found}, expected {expected}")


def as_plain(settings):
    """The settings as a dict that YAML can hold."""
    return asdict(settings)


def _parse(text, kind):
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(text)
        return text
    if _optional(kind):
        return None if text.lower() in ("none", "null") else _parse(text, _optional(kind))
    if kind is bool:
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refuse(text)
    return kind(text)


def _fits(value, kind):
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if _optional(kind):
        return value is None or _fits(value, _optional(kind))
    return type(value) is kind or (kind is float and type(value) is int)


def _describe(kind):
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if _optional(kind):
        return f"{_describe(_optional(kind))} or none"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text")


def _optional(kind):
    """The type T where `kind` is `T | None`, else None."""
    if get_origin(kind) in (types.UnionType, Union) and type(None) in get_args(kind):
        return next(option for option in get_args(kind) if option is not type(None))
    return None


def _refuse(text):
    raise ValueError(text)
