"""The commands `schemas show` and `schemas new`, and their errors."""

from support.golden import transcript


def test_new_schema_is_listed_and_read(workspace, golden):
    """A new example is a schema at once and is never overwritten; each broken file is named on stderr."""
    output = transcript(workspace, ["schemas", "new", "delivery_note"], ["schemas", "new", "delivery_note"])
    path = workspace.folder / "schemas" / "delivery_note.py"
    result = workspace.run("schemas", "show", "delivery_note")
    assert (result.exit_code, "DeliveryNote" in result.stdout, "Decimal(38, 2)" in result.stdout) == (0, True, True)
    path.with_name("broken.py").write_text("from pydantic import BaseModel\n\nclass Broken(BaseModel)\n")
    path.with_name("unfit.py").write_text(
        "from decimal import Decimal\nfrom pydantic import BaseModel, Field\n"
        "class Unfit(BaseModel):\n    total: Decimal = Field(decimal_places=39)\n"
    )
    listing = workspace.run("schemas")
    assert "delivery_note" in listing.stdout
    assert listing.stderr.count("\n") == 1
    wrong = ["schemas", "new", "Delivery"], ["schemas", "show", "recipt"], ["schemas", "show", "broken"]
    unfit = ["schemas", "show", "unfit"], ["estimate", "in", "--schema", "unfit"]
    golden("schemas/errors", f"{output}\n{transcript(workspace, *wrong, *unfit)}")
