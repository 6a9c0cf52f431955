"""Recipes as text: read from YAML, changed by dotted overrides, explained where they are wrong, listed key by key, and written out.

Unknown keys and wrong types are errors that name the nearest valid key; keys of earlier versions name the new one.
"""

import difflib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from raterhf.errors import UserError
from raterhf.recipe import Recipe
from raterhf.recipe_base import Section
from raterhf.yaml_reader import parse_yaml, read_yaml

SectionT = TypeVar("SectionT", bound=Section)
SHOWN = 100  # characters of a wrong value that an error shows
# Keys of earlier versions: an error that names the new one.
RENAMED = {
    "probes": "monitor",
    "tensorboard": "logger",
    "raters.own_dim": "raters.idiosyncratic_dim",
    "reward.site": "reward.conditioning",
    "reward.slip_rate": "reward.label_noise",
    "policy.own_noise": "policy.options.idiosyncratic",
    "policy.target_kl": "policy.options.target_kl",
    "policy.choices": "policy.options.choices",
}


def shipped() -> dict[str, Path]:
    """The recipes that come with the project, by name: beside the package in a checkout, inside it when installed."""
    for folder in (Path(str(files("raterhf"))) / "recipes", Path(__file__).parents[1] / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and apply `key.sub=value` overrides, values in YAML. Raises UserError that names key and remedy."""
    path = Path(path)
    if not path.exists():
        known = ", ".join(shipped()) or "none"
        raise UserError(f"recipe {path} does not exist; shipped recipes: {known} (`raterhf recipes ls`, `raterhf recipes cp NAME`)")
    raw = read_yaml(path, "recipe")
    if not isinstance(raw, dict):
        raise UserError(f"recipe {path} must be a mapping of keys, not {type(raw).__name__}")
    return make_recipe(raw, str(path), overrides)


def make_recipe(raw: dict, source: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe of keys, which `key.sub=value` overrides change in place. Raises UserError that names key and remedy."""
    begun: dict[str, str] = {}
    for override in overrides:
        begun |= _apply(raw, override)
    return parse_recipe(raw, source, begun)


def parse_recipe(raw: dict, source: str, begun: dict[str, str] | None = None) -> Recipe:
    """Check a recipe's keys, types and stages. `begun` are sections that the file lacks, by the override that names one of their keys."""
    return _checked(Recipe, raw, f"recipe {source}", begun or {})


def check_options(options: type[SectionT], given: dict, source: str, above: tuple[str, ...]) -> SectionT:
    """Keys that stand in a recipe under `above`, by a schema of their own. Raises UserError that names `source`, the key and the nearest
    valid one."""
    return _checked(options, given, source, {}, above)


def _checked(model: type[SectionT], raw: dict, source: str, begun: dict[str, str], above: tuple[str, ...] = ()) -> SectionT:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(model, item, begun, above) for item in error.errors()]
        raise UserError(f"{source}:\n  " + "\n  ".join(lines)) from error


def _apply(raw: dict, override: str) -> dict[str, str]:
    """Set what `key.sub=value` says; returns the section that it begins, if it does, with the override."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"override {override!r} must be KEY=VALUE, for example policy.beta=0.1")
    try:
        parsed = parse_yaml(value)
    except ValueError as error:
        raise UserError(f"override {override!r}: its value is not a YAML value ({error}); quote it where it is text") from error
    *parents, last = key.split(".")
    begun = {parents[0]: override} if parents and raw.get(parents[0]) is None else {}
    for name in parents:
        if not isinstance(raw.get(name), dict):
            raw[name] = {}
        raw = raw[name]
    raw[last] = parsed
    return begun


def _explain(model: type[Section], item: ErrorDetails, begun: dict[str, str], above: tuple[str, ...]) -> str:
    """One pydantic error as `key: what is wrong; what to do`. `above` is where the model's keys stand in the recipe."""
    inside = [str(part) for part in item["loc"]]
    key = ".".join([*above, *inside])
    if item["type"] == "extra_forbidden":
        if key in RENAMED:
            return f"`{key}` is called `{RENAMED[key]}` now; rename it"
        valid = _fields_at(model, inside[:-1])
        if not valid:
            return f"unknown key `{key}`; nothing can be set there: remove it"
        near = difflib.get_close_matches(inside[-1], valid, n=1, cutoff=0)
        return f"unknown key `{key}`; did you mean `{'.'.join([*above, *inside[:-1], *near])}`? (valid: {', '.join(sorted(valid))})"
    if item["type"] == "missing":
        section = inside[0]
        if section in begun:
            return f"`{key}` is missing: the recipe has no section `{section}`, which {begun[section]} begins; add {key}=VALUE too"
        return f"`{key}` is missing; write it into the recipe, or add {key}=VALUE"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    given = repr(item["input"])
    given = given if len(given) <= SHOWN else given[: SHOWN - 3] + "..."
    return f"`{key}` is {given}: {item['msg'][0].lower()}{item['msg'][1:]}"


def _fields_at(model: type[Section], path: list[str]) -> list[str]:
    for name in path:
        if name in model.model_fields:  # else it is a name that the recipe gives one of several sections
            model = _sections_of(model.model_fields[name].annotation)[0]
    return list(model.model_fields)


def _sections_of(annotation: Any) -> list[type[Section]]:
    """The section that a field holds, or none: it may be optional."""
    options = getattr(annotation, "__args__", (annotation,))
    return [option for option in options if isinstance(option, type) and issubclass(option, Section)]


def keys() -> list[tuple[str, str, str]]:
    """Every key of a recipe with its default, as YAML, and its help."""
    found = []
    for name, field in Recipe.model_fields.items():
        section = _sections_of(field.annotation)
        found += field_rows(section[0], f"{name}.") if section else [_row(name, field)]
    return found


def field_rows(section: type[Section], above: str) -> list[tuple[str, str, str]]:
    """The keys of one section and of the sections in it, after the keys `above` it."""
    rows = []
    for key, field in section.model_fields.items():
        rows.append(_row(above + key, field))
        named = "NAME." if get_origin(field.annotation) is dict else ""
        for inner in _sections_of(field.annotation):
            rows += field_rows(inner, f"{above}{key}.{named}")
    return rows


def _row(key: str, field: FieldInfo) -> tuple[str, str, str]:
    default = "required" if field.is_required() else json.dumps(field.get_default(call_default_factory=True), default=str)
    return key, default, " ".join((field.description or "").split())


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML, every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
