"""A printed or drawn table, cell by cell."""

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from schemas._values import Cell, Document, Many, Text

INSTRUCTIONS = """\
Copy every cell as printed, as text. An empty cell is "". A cell that spans several columns or rows is repeated in each of them.
Where the table has no header, name the columns "1", "2", "3" and so on.
"""


class Table(Document):
    """One table with its header and its rows."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # a model writes 12 for the cell "12"

    title: Text = Field(default=None, description="The table's title or caption; null if it has none")
    columns: list[Cell] = Field(min_length=1, description="The header's cells, from left to right")
    rows: Many[list[Cell]] = Field(
        default_factory=list, description="The rows from top to bottom, each with exactly one cell a column"
    )

    @model_validator(mode="after")
    def _every_row_has_every_cell(self) -> Self:
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} cells, the table {len(self.columns)} columns")
        return self
