"""What a field is about: decided by the words of its name, then of its description, and by its format."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extractors.endpoint.schema import Field

# In order: the first that fits decides. Names come as words in lower case: "invoice number", "due date".
_NAMES = tuple(
    (kind, re.compile(rf"\b(?:{words})\b"))
    for kind, words in (
        ("labelled", "(?:customer|buyer|client|billing|shipping|delivery) .*(?:address|phone|e?mail|id|number|no)"),
        ("labelled", "(?:tax|vat|gst|registration|company) (?:reg(?:istration)? )?(?:id|number|no|code)"),
        ("count", "quantity|qty|count|number of .*|how many"),
        ("currency", "currency|waehrung|iso 4217"),
        ("email", "e?mail|email address"),
        ("phone", "phone|telephone|tel|mobile|fax"),
        ("url", "url|website|web ?site|link|homepage"),
        ("due_date", "due date|due|date due|payment due|pay by|deadline"),
        ("date", "date|issued|issued on|day"),
        ("time", "time"),
        ("address", "address|street|location"),
        (
            "number",
            r"(?:invoice|receipt|order|bill|document|doc|reference|ref|transaction|account|check)(?: (?:number|no|id|nr|code))?",
        ),
        ("customer", "customer|buyer|client|bill to|billed to|recipient|payer|sold to"),
        ("company", "company|vendor|seller|merchant|store|shop|supplier|issuer|retailer|business|biller|restaurant"),
        ("subtotal", "sub ?total|net amount|amount before tax"),
        ("tax", "tax|vat|gst|sales tax|tax amount|tax total"),
        ("total", "total|grand total|amount due|total due|amount to pay|to pay|balance due|total amount"),
        ("shared", "similarit(?:y|ies)|common|shared|same"),
        ("different", "differences?|changes|changed|different"),
        ("tags", "tags?|keywords?|labels?|topics?"),
        ("rows", "line items?|items?|lines|products?|positions?|articles|entries"),
        ("columns", "columns?|headers?|header row|column names"),
        ("table_rows", "rows|records|cells|data"),
        (
            "title",
            "title|heading|headline|(?:project|application|app|page|product|site|screen) name|name|project|application|app",
        ),
        ("text", "texts?|content|transcription|words|ocr|full text|markdown|visible text"),
        (
            "sentence",
            "summary|caption|description|describe|alt|alt text|goal|purpose|layout|overview|explanation|notes?|structure|comments?",
        ),
    )
)
_BARE = frozenset({"name", "number", "no", "id", "value", "date", "amount", "code", "text"})


def kind_of(field: Field, parent: str) -> str:
    """The kind of a field; "" when neither its name nor its description tells."""
    formats = {"date": "date", "date-time": "date", "email": "email", "uri": "url", "time": "time"}
    name = spaced(field.name)
    if name in _BARE and parent:
        name = f"{spaced(parent)} {name}"
    named = next((kind for kind, words in _NAMES if words.search(name)), "")
    by_format = formats.get(field.format, "")
    if by_format == "date":
        return named if named == "due_date" else "date"
    if named or by_format:
        return named or by_format
    return next((kind for kind, words in _NAMES if words.search(spaced(field.description))), "")


def spaced(name: str) -> str:
    """A name's words in lower case: `invoiceNumber`, `invoice_number` and `Invoice-Number` are the same."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)).strip().lower()
