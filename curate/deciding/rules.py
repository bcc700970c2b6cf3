"""Rules: a recipe as conditions in SQL over the table of clips, each with its words for a person."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from schemas.clip import CLIPS
from schemas.recipe import NUMERIC, Range, Recipe, RightsTerms, kind_of
from schemas.rights import covering
from schemas.source import STATUS_OK

SHOWN_CHARACTERS = 80
REASONS = "unmeasured"
"""The column of clips that says why others are null."""


@dataclass(frozen=True)
class Case:
    """One way to be rejected, and how the ledger says it.

    Attributes:
        when: SQL over a row of clips.
        words: why; its first `{}` is filled by the number or the text, where there is one.
        number: SQL for the number.
        text: SQL for the text, where it is no number.
    """

    when: str
    words: str
    number: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Rule:
    """One reason to reject a clip.

    Attributes:
        name: what the ledger calls it; for a range, its column.
        wants: what it asks, in words and numbers, such as `>= 5`.
        fails: SQL over a row of clips; true where the clip is rejected, never null.
        cases: the ways to be rejected by it, of which the first that holds is told.
        reads: columns of clips that it needs.
    """

    name: str
    wants: str
    fails: str
    cases: tuple[Case, ...]
    reads: tuple[str, ...]


def range_rules(recipe: Recipe) -> tuple[Rule, ...]:
    """The rules of `[keep]`, in the order they are written."""
    return tuple(_range_rule(name, wanted) for name, wanted in recipe.keep.items())


def source_refusal(terms: RightsTerms, on: date) -> str:
    """SQL over a row of sources: why it may not be used on this day, or null."""
    return f"CASE WHEN status <> {literal(STATUS_OK)} THEN coalesce(reason, rule, status) ELSE {rights_refusal(terms, on)} END"


def rights_refusal(terms: RightsTerms, on: date) -> str:
    """SQL over a row of sources: why its rights do not allow it on this day, or null."""
    day = f"DATE {literal(on.isoformat())}"
    cases = [
        (f"rights_expires < {day}", "'the rights expired on ' || rights_expires"),
        (f"rights_start > {day}", "'the rights start on ' || rights_start"),
    ]
    if terms.days_left:
        enough = f"DATE {literal((on + timedelta(days=terms.days_left)).isoformat())}"
        words = f"'the rights expire on ' || rights_expires || {literal(f', and must hold for {terms.days_left} days more')}"
        cases.append((f"rights_expires < {enough}", words))
    if terms.stated:
        cases.append(("license IS NULL OR license = 'unstated'", "'nobody stated the rights'"))
    for use in terms.uses:
        cases.append((f"NOT coalesce(list_contains(rights_uses, {literal(use)}), false)", literal(f"the rights do not permit the use `{use}`")))
    if terms.any_of:
        cases.append(
            (
                f"license IS NULL OR license NOT IN {_tuple(terms.any_of)}",
                f"'licence ' || {_shown('license')} || {literal(' is not one of ' + ', '.join(terms.any_of))}",
            )
        )
    if terms.none_of:
        cases.append((f"license IN {_tuple(terms.none_of)}", f"'licence ' || {_shown('license')} || ' is refused'"))
    for place in terms.territories:
        covers = f"list_has_any(rights_territories, {_list(covering(place))})"
        cases.append((f"NOT coalesce({covers}, false)", literal(f"the rights do not cover the territory {place}")))
    for release in terms.releases:
        cases.append((f"NOT coalesce(list_contains(releases, {literal(release)}), false)", literal(f"no release for {release} is at hand")))
    return "CASE " + " ".join(f"WHEN {condition} THEN {words}" for condition, words in cases) + " END"


def literal(text: str) -> str:
    """Text as an SQL literal; whatever it holds stays text."""
    return "'" + text.replace("\x00", "").replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def _range_rule(name: str, wanted: Range) -> Rule:
    type_ = CLIPS.field(name).type
    passes, wants, cases = _number(name, wanted, pa.types.is_floating(type_)) if kind_of(type_) == NUMERIC else _text(name, wanted, pa.types.is_list(type_))
    unknown = Case(f"{identifier(name)} IS NULL", f"{name} is null: {{}}", text=f"coalesce({REASONS}[{literal(name)}], 'not measured')")
    return Rule(name, wants, f"NOT coalesce({passes}, false)", (unknown, *cases), (name,))


def _number(name: str, wanted: Range, floating: bool) -> tuple[str, str, list[Case]]:
    """What passes, in SQL and in words, and each way to fail."""
    column = identifier(name)
    bounds = [(wanted.min, ">=", "<"), (wanted.max, "<=", ">")]
    asked = [(bound, kept, against) for bound, kept, against in bounds if bound is not None]
    # To DuckDB, what is not a number is above every number; to a recipe it is in no range.
    passes = [f"{column} {kept} {bound!r}" for bound, kept, _ in asked] + ([f"{column} <= {sys.float_info.max!r}"] if floating and wanted.max is None else [])
    cases = [Case(f"isnan({column})", f"{name} is not a number"), Case(f"isinf({column})", f"{name} is infinite")] if floating else []
    cases += [Case(f"{column} {against} {bound!r}", f"{name} {{}} {against} {bound:.6g}", number=column) for bound, _, against in asked]
    return " AND ".join(passes), " and ".join(f"{kept} {bound:.6g}" for bound, kept, _ in asked), cases


def _text(name: str, wanted: Range, many: bool) -> tuple[str, str, list[Case]]:
    column, shown = identifier(name), _shown(identifier(name))
    asked = [(wanted.any_of, "", "one of "), (wanted.none_of, "NOT ", "none of ")]
    passes, wants, cases = [], [], []
    for words, negated, told in asked:
        if words:
            listed = f"list_has_any({column}, {_list(words)})" if many else f"{column} IN {_tuple(words)}"
            passes.append(f"{negated}{listed}")
            wants.append(told + ", ".join(words))
            cases.append(Case(f"NOT ({negated}{listed})", f"{name} {{}} is not {told}" + ", ".join(words), text=shown))
    return " AND ".join(passes), " and ".join(wants), cases


def _shown(column: str) -> str:
    """SQL for a text short enough to show, whatever it holds."""
    return f"coalesce('`' || left(CAST({column} AS VARCHAR), {SHOWN_CHARACTERS}) || '`', 'null')"


def _tuple(values: Sequence[str]) -> str:
    return f"({', '.join(map(literal, values))})"


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(literal, values))}]"
