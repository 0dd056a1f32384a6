"""The schema of a row: all that the two halves of the project, doing and concluding, share.

One row states one number: a metric of one cell (an arm transferred to a task under a protocol, at a
shot count and draw), on one subset of the test set. Every field that could change that number
stands on the row. Missing is null, never 0. The written form of this schema is docs/rows.md, which
a test keeps equal to `COLUMNS`.

    schema.py   the columns
    checks.py   whether a row, or a table of rows, fits them
    words.py    whether its words are words, and names that are known
    repeats.py  what a table says twice
    csv_cells.py  texts that a spreadsheet would run, made inert
    tables.py   tables of rows, and files of the rows of a cell, read and written
    kept.py     rows that were read before
    reading.py  rows of a store or of a table of any origin
"""

from headwater.rows.checks import check_row, conform
from headwater.rows.csv_cells import inert
from headwater.rows.kept import KeptRows
from headwater.rows.reading import read_rows
from headwater.rows.schema import (
    COLUMNS,
    NAMES,
    NOISY,
    PANDAS_TYPES,
    SCHEMA_VERSION,
    STATUSES,
    SUBSET,
    VOLATILE,
    WITHIN,
    Column,
    Kind,
    explained,
)
from headwater.rows.tables import (
    CELL_FILE,
    FAILED,
    cell_file_text,
    codes_of,
    comparable,
    read_cell_file,
    to_frame,
    write_rows,
)

__all__ = [
    "CELL_FILE",
    "COLUMNS",
    "FAILED",
    "NAMES",
    "NOISY",
    "PANDAS_TYPES",
    "SCHEMA_VERSION",
    "STATUSES",
    "SUBSET",
    "VOLATILE",
    "WITHIN",
    "Column",
    "KeptRows",
    "Kind",
    "cell_file_text",
    "check_row",
    "codes_of",
    "comparable",
    "conform",
    "explained",
    "inert",
    "read_cell_file",
    "read_rows",
    "to_frame",
    "write_rows",
]
