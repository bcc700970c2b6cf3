"""A column that documents itself: pyarrow fields whose metadata says what they hold, in what unit, and who writes it."""

from typing import Any

import pyarrow as pa


def column(name: str, type_: pa.DataType, doc: str, *, unit: str = "", bounds: str = "", by: str = "") -> pa.Field:
    """A nullable field documented in its own metadata.

    `unit` is a physical unit or a scale, `bounds` the closed range values lie in, `by` the step or scorer that writes it.
    """
    metadata = {"doc": doc, "unit": unit, "range": bounds, "by": by}
    return pa.field(name, type_, metadata={key: value for key, value in metadata.items() if value})


def documentation(schema: pa.Schema) -> list[dict[str, str]]:
    """One row per column (name, type, doc, unit, range, by), for generated pages."""
    rows = []
    for field in schema:
        told = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        rows.append({"name": field.name, "type": str(field.type), **{key: told.get(key, "") for key in ("doc", "unit", "range", "by")}})
    return rows


def table_of(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows under a schema: absent columns become null, and an unknown column is an error rather than a silent loss."""
    unknown = {key for row in rows for key in row} - set(schema.names)
    if unknown:
        raise KeyError(f"columns {sorted(unknown)} are not in the schema; it has {schema.names}")
    return pa.Table.from_pylist(rows, schema=schema)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the schema's columns, in its order; a missing column becomes null."""
    columns = [table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type) for field in schema]
    return pa.table(columns, schema=schema)
