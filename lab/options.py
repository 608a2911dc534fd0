"""Command-line options, declared as the fields of a frozen dataclass.

`option` gives a field its help text, range and choices. `parse` builds the dataclass from the
command line, `options_from_config` from a `config.json`.
"""

import argparse
import dataclasses
import difflib
import math
import re
import sys
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from lab.errors import Fault, Mistake
from lab.files import at_home, check_path
from lab.text import shortened

Options = TypeVar("Options")


def option(
    default: Any,
    help: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    choices: Collection[str] | None = None,
    most: float = math.inf,
    const: Any = None,
    folder: bool = False,
    switch: bool = False,
    heading: str | None = None,
    old_name: str | None = None,
) -> Any:
    """A dataclass field that is also a command-line option.

    default: the value if the option is not given.
    low, high: the range of a number, both ends included.
    choices: the allowed strings.
    most: the largest number of values of an option that takes several.
    const: the value if the option is given without one (`--resume`), as in argparse.
    folder: whether the path must be an existing folder.
    switch: whether a switch has no `--no-` form.
    heading: heading in --help above this option and those that follow.
    old_name: name in earlier versions of the lab, which an old config.json may contain.
    """
    return dataclasses.field(default=default, metadata=locals())


def flag_of(name: str) -> str:
    """The name of an option on the command line: `lr_g` -> `--lr-g`."""
    return "--" + name.replace("_", "-")


def as_typed(name: str, given: dict[str, Any]) -> str:
    """The option as it was typed: `--lr-g 0.1`, `--dry-run`."""
    value = given[name]
    if isinstance(value, bool):
        return flag_of(name) if value else "--no-" + flag_of(name).removeprefix("--")
    return f"{flag_of(name)} {_shown(value)}"


def refuse_others(given: dict[str, Any], allowed: tuple[str, ...], why: str) -> None:
    """Mistake if `given` has an option outside `allowed`; {} in `why` lists these."""
    for name in given:
        if name not in allowed:
            reason = why.format(", ".join(map(flag_of, allowed)))
            raise Mistake(f"{as_typed(name, given)}: {reason}")


def parse(kind: type[Options], argv: list[str] | None = None, recipes: Mapping = {}) -> Options:
    """Build `kind` from the command line, whose values override those of the recipe.

    recipes: for each `--recipe`, the values that differ from the dataclass defaults.
    Raises Mistake, with the option, its value and what to do, for any wrong input.
    """
    given = given_options(kind, argv, recipes)
    recipe = recipes.get(given.get("recipe", getattr(kind, "recipe", None)), {})
    return kind(**{**recipe, **given})


def given_options(kind: type, argv: list[str] | None = None, recipes: Mapping = {}) -> dict:
    """The options that were given on the command line, converted and checked."""
    about = (sys.modules[kind.__module__].__doc__ or "").strip().split("\n\n")[0]
    parser = _Parser(description=about, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    group: Any = parser
    for field, value_type in (declared := _declared(kind)):
        if field.metadata["heading"]:
            group = parser.add_argument_group(field.metadata["heading"])
        _add(group, field, value_type, recipes)
    names = [(field.metadata["old_name"], field.name) for field, _ in declared]
    renamed = {flag_of(old): flag_of(new) for old, new in names if old}
    for word in sys.argv[1:] if argv is None else argv:
        if (old := word.partition("=")[0]) in renamed:
            raise Mistake(f"{old}: is now called {renamed[old]}")
    given = vars(parser.parse_args(argv))
    return {f.name: _checked(f, type_, given[f.name]) for f, type_ in declared if f.name in given}


def options_from_config(kind: type[Options], content: Any, path: Path) -> Options:
    """Build `kind` from the options in the `config.json` at `path`, with the checks of `parse`.

    Raises Fault, since the file may be damaged or from another version of the lab.
    """
    if not isinstance(content, dict):
        raise Fault(f"{path}: its options are missing")
    values = {}
    for field, value_type in _declared(kind):
        value = content.get(field.name, content.get(field.metadata["old_name"], field.default))
        if value is None and "None" in str(field.type):  # it was not given
            values[field.name] = None
            continue
        is_tuple, is_switch = typing.get_origin(value_type) is tuple, value_type is bool
        if (is_tuple, is_switch) != (isinstance(value, list | tuple), isinstance(value, bool)):
            wanted = "a list" if is_tuple else "true or false" if is_switch else "a single value"
            raise Fault(f"{path}: {flag_of(field.name)} is {value!r}, {wanted} is expected")
        words = [str(item) for item in value] if is_tuple else value if is_switch else str(value)
        try:
            values[field.name] = _checked(field, value_type, words)
        except Mistake as mistake:
            raise Fault(f"{path}: {mistake}") from None
    return kind(**values)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are Mistakes of one line."""

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), file=file)  # argparse's own ignores a full disk

    def error(self, message: str) -> NoReturn:
        typed = re.search(r"unrecognized arguments: (--[\w-]+)", message)
        known = [flag for flag in self._option_string_actions if flag not in ("-h", "--help")]
        longer = [flag for flag in known if typed and flag.startswith(typed[1])]
        near = longer or (difflib.get_close_matches(typed[1], known, n=1) if typed else [])
        hint = f"; did you mean {near[0]}?" if near else " (--help lists the options)"
        raise Mistake(message.replace("argument ", "", 1) + hint)


def _add(group: Any, field: dataclasses.Field, value_type: Any, recipes: Mapping) -> None:
    """Add one field to argparse, as text, which `_checked` converts with better error messages."""
    limits = f", {_range_text(field)}" if _range_text(field) else ""
    text = f"{field.metadata['help']}{limits}{_default_text(field, recipes)}".replace("%", "%%")
    keywords: dict[str, Any] = {"help": text, "dest": field.name}
    if value_type is bool:
        switch = field.metadata["switch"]
        keywords["action"] = "store_true" if switch else argparse.BooleanOptionalAction
    else:
        choices, const = field.metadata["choices"], field.metadata["const"]
        is_tuple = typing.get_origin(value_type) is tuple
        item_type = typing.get_args(value_type)[0] if is_tuple else value_type
        letter = {int: "N", float: "X", Path: "PATH"}.get(item_type, "NAME")
        keywords["metavar"] = "{" + ",".join(choices) + "}" if choices else letter
        keywords |= {"const": const, "nargs": "+" if is_tuple else "?" if const else None}
    group.add_argument(flag_of(field.name), **keywords)


def _checked(field: dataclasses.Field, value_type: Any, raw: Any) -> Any:
    """The option's text converted to the type of its annotation, or a Mistake."""
    if typing.get_origin(value_type) is not tuple:
        return raw if value_type is bool else _converted(field, value_type, raw)
    text = " ".join(raw)
    _refuse_decimal_comma(field, text)
    words = text.replace(",", " ").split()
    if field.default == () and (words == ["none"] or not raw):  # config.json has []
        return ()
    if not words:
        raise Mistake(f"{flag_of(field.name)} '': is empty, give one value or more")
    if len(words) > (most := field.metadata["most"]):
        raise Mistake(f"{flag_of(field.name)}: {len(words)} values given, at most {most}")
    return tuple(_converted(field, typing.get_args(value_type)[0], word) for word in words)


def _converted(field: dataclasses.Field, value_type: type, text: str) -> Any:
    """One word of the command line as an int, a float, a path or a choice."""
    flag, facts, typed = flag_of(field.name), field.metadata, shortened(text, 80)
    if value_type in (int, float):
        noun = "a whole number" if value_type is int else "a number"
        wanted = f"give {noun} {_range_text(field)}".strip()
        try:
            value = value_type(text)
        except ValueError:
            _refuse_decimal_comma(field, text)
            raise Mistake(f"{flag} {typed!r}: {wanted}") from None
        if math.isnan(value):
            raise Mistake(f"{flag} {typed}: is not a number, {wanted}")
        if not facts["low"] <= value <= facts["high"]:
            raise Mistake(f"{flag} {typed}: out of range, {wanted}")
        return value
    if facts["choices"] and text not in facts["choices"]:
        raise Mistake(f"{flag} {typed!r}: choose one of {', '.join(facts['choices'])}")
    if not text.strip() or "\0" in text:
        raise Mistake(f"{flag} {typed!r}: is empty; give a value or leave the option out")
    path = at_home(text)
    if value_type is Path:
        check_path(flag, path, facts["folder"])
        return path
    return text if facts["choices"] or not text.startswith("~") else str(path)


def _refuse_decimal_comma(field: dataclasses.Field, text: str) -> None:
    """Mistake for `0,1` in options that take fractions; `1, 2` are two numbers."""
    if "int" in str(field.type):
        return
    begins = "(?<=:)" if "str" in str(field.type) else r"(?<![\w.,])"
    if met := re.search(begins + r"(\d+),(\d+)(,\d+)*(?![\w.,])", text):
        point, blank = f"{met[1]}.{met[2]}", f"{met[1]} {met[2]}"
        two = f", or {blank} if two are meant" * ("tuple[float" in str(field.type))
        typed = f"{flag_of(field.name)} {shortened(text, 80)!r}"
        raise Mistake(f"{typed}: write {point} with a point{two}")


def _declared(kind: type) -> list[tuple[dataclasses.Field, Any]]:
    """Every option with its type; `int | None` counts as int, since None means "not given"."""
    hints = typing.get_type_hints(kind).values()
    kinds = (typing.get_args(x)[0] if isinstance(x, types.UnionType) else x for x in hints)
    return list(zip(dataclasses.fields(kind), kinds, strict=True))


def _range_text(field: dataclasses.Field) -> str:
    """`from 1 to 100`; integers with all digits, since they may be typed, others shortened."""
    ends = (field.metadata["low"], field.metadata["high"])
    low, high = (f"{end:g}" if isinstance(end, float) else end for end in ends)
    return "" if math.inf in ends else f"from {low} to {high}"


def _default_text(field: dataclasses.Field, recipes: Mapping) -> str:
    """` (default: 64; classic: 128)`; nothing for a switch, or for None, "not given"."""
    if field.default is None or field.metadata["switch"]:
        return ""
    values = {"default": field.default}
    values |= {name: row[field.name] for name, row in recipes.items() if field.name in row}
    return f" ({'; '.join(f'{name}: {_shown(value)}' for name, value in values.items())})"


def _shown(value: Any) -> str:
    if value is None:
        return "depends on the images"
    if isinstance(value, tuple):
        return " ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
