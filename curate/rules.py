"""Rules: a recipe as conditions in SQL over the table of clips, each with its words for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from schemas.clip import CLIPS
from schemas.recipe import NUMERIC, Range, Recipe, RightsTerms, kind_of

SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Rule:
    """One reason to reject a clip.

    Attributes:
        name: what the ledger calls it; for a range, its column.
        wants: what it asks, in words and numbers, such as `>= 5`.
        fails: SQL over a row of clips; true where the clip is rejected, never null.
        detail: SQL that gives the words for a rejected row.
        reads: columns of clips that it needs.
    """

    name: str
    wants: str
    fails: str
    detail: str
    reads: tuple[str, ...]


def range_rules(recipe: Recipe) -> tuple[Rule, ...]:
    """The rules of `[keep]`, in the order they are written."""
    return tuple(_range_rule(name, wanted) for name, wanted in recipe.keep.items())


def rights_refusal(terms: RightsTerms, on: date) -> str:
    """SQL over a row of sources: why its rights do not allow it on this day, or null."""
    day = f"DATE {literal(on.isoformat())}"
    cases = [
        (f"rights_expires < {day}", "'the rights expired on ' || rights_expires"),
        (f"rights_start > {day}", "'the rights start on ' || rights_start"),
    ]
    if terms.stated:
        cases.append(("license IS NULL OR license = 'unstated'", "'nobody stated the rights'"))
    for use in terms.uses:
        cases.append((f"NOT coalesce(list_contains(rights_uses, {literal(use)}), false)", literal(f"the rights do not permit the use `{use}`")))
    if terms.any_of:
        cases.append(
            (f"license IS NULL OR license NOT IN {_tuple(terms.any_of)}", f"'licence ' || {_shown('license')} || {literal(_not_one_of(terms.any_of))}")
        )
    if terms.none_of:
        cases.append((f"license IN {_tuple(terms.none_of)}", f"'licence ' || {_shown('license')} || ' is refused'"))
    for place in terms.territories:
        covers = f"list_has_any(rights_territories, [{literal(place)}, 'worldwide'])"
        cases.append((f"NOT coalesce({covers}, false)", literal(f"the rights do not cover the territory {place}")))
    return "CASE " + " ".join(f"WHEN {condition} THEN {words}" for condition, words in cases) + " END"


def literal(text: str) -> str:
    """Text as an SQL literal; whatever it holds stays text."""
    return "'" + text.replace("\x00", "").replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def _range_rule(name: str, wanted: Range) -> Rule:
    type_ = CLIPS.field(name).type
    make = _number_cases if kind_of(type_) == NUMERIC else _text_cases
    wants, cases = make(name, wanted, type_)
    reason = f"coalesce(unmeasured[{literal(name)}], 'not measured')"
    cases = [(f"{identifier(name)} IS NULL", f"{literal(name + ' is null: ')} || {reason}"), *cases]
    fails = " OR ".join(f"coalesce({condition}, false)" for condition, _ in cases)
    detail = "CASE " + " ".join(f"WHEN {condition} THEN {words}" for condition, words in cases) + " END"
    return Rule(name, wants, fails, detail, (name, "unmeasured"))


Cases = list[tuple[str, str]]


def _number_cases(name: str, wanted: Range, type_: pa.DataType) -> tuple[str, Cases]:
    column, floating = identifier(name), pa.types.is_floating(type_)
    value = f"format('{{:.6g}}', {column})" if floating else f"CAST({column} AS VARCHAR)"
    cases = [(f"isnan({column})", literal(f"{name} is not a number"))] if floating else []
    wants = []
    for bound, against, kept in ((wanted.min, "<", ">="), (wanted.max, ">", "<=")):
        if bound is not None:
            cases.append((f"{column} {against} {bound!r}", f"{literal(name + ' ')} || {value} || {literal(f' {against} {bound:.6g}')}"))
            wants.append(f"{kept} {bound:.6g}")
    return " and ".join(wants), cases


def _text_cases(name: str, wanted: Range, type_: pa.DataType) -> tuple[str, Cases]:
    column, shown, many = identifier(name), _shown(identifier(name)), pa.types.is_list(type_)
    cases, wants = [], []
    if wanted.any_of:
        listed = f"list_has_any({column}, {_list(wanted.any_of)})" if many else f"{column} IN {_tuple(wanted.any_of)}"
        cases.append((f"NOT {listed}", f"{literal(name + ' ')} || {shown} || {literal(_not_one_of(wanted.any_of))}"))
        wants.append("one of " + ", ".join(wanted.any_of))
    if wanted.none_of:
        listed = f"list_has_any({column}, {_list(wanted.none_of)})" if many else f"{column} IN {_tuple(wanted.none_of)}"
        cases.append((listed, f"{literal(name + ' ')} || {shown} || {literal(' is refused: none of ' + ', '.join(wanted.none_of))}"))
        wants.append("none of " + ", ".join(wanted.none_of))
    return " and ".join(wants), cases


def _shown(column: str) -> str:
    """SQL for a text short enough to show, whatever it holds."""
    return f"coalesce('`' || left(CAST({column} AS VARCHAR), {SHOWN_CHARACTERS}) || '`', 'null')"


def _not_one_of(allowed: Sequence[str]) -> str:
    return f" is not one of {', '.join(allowed)}"


def _tuple(values: Sequence[str]) -> str:
    return f"({', '.join(map(literal, values))})"


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(literal, values))}]"
