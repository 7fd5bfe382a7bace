"""The kind of a field, from the words of its name, then its format, then the start of its description."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extractors.endpoint.fill.json_schema import Field

_ISSUER = "company|vendor|seller|merchant|store|shop|supplier|issuer|retailer|business|biller|restaurant"
_PAYER = "customer|buyer|client|recipient|payer"
_PAPER = "invoice|receipt|order|bill|doc|document|ref|reference|transaction|account|check"

# In order: the first that fits decides. Names come as words in lower case: "invoice number", "due date".
# A pattern fits anywhere in a name; one that begins with ^ must be the whole of it: a tax rate is no tax.
_NAMES = tuple(
    (kind, re.compile(rf"^(?:{words[1:]})$" if words.startswith("^") else rf"\b(?:{words})\b"))
    for kind, words in (
        ("customer_address", rf"(?:{_PAYER}|billing|shipping|delivery|bill to|ship to) .*address"),
        ("labelled", rf"(?:{_PAYER}|billing|shipping|delivery) .*(?:phone|e?mail|id|number|no)"),
        ("labelled", "(?:tax|vat|gst|registration|company) (?:reg(?:istration)? )?(?:id|number|no|code)"),
        ("count", "quantity|qty|count|number of .*|how many"),
        ("currency", "currency|iso 4217"),
        ("email", "e?mail"),
        ("phone", "phone|telephone|tel|mobile|fax"),
        ("url", "url|website|web site|link|homepage"),
        ("due_date", "due date|^due|date due|due on|payment due|pay by|deadline"),
        (
            "other_date",
            "(?:birth|expiry|expiration|valid|delivery|shipping|ship|return|start|end)(?: of)? ?(?:date|until|by|on)|date of birth",
        ),
        ("date", "date|^(?:issued|issued on|day)"),
        ("time", "^(?:time|time of day|.* time)"),
        ("address", "address"),
        ("customer", rf"^(?:{_PAYER}|bill to|billed to|sold to|ship to|customer company)(?: name)?"),
        (
            "number",
            rf"^(?:\w+ )?(?:{_PAPER}) (?:number|no|id|nr|num|code)|(?:purchase )?(?:invoice|receipt|order|reference)",
        ),
        ("company", rf"^(?:\w+ )?(?:{_ISSUER})(?: (?:or )?(?:\w+ )?name)?"),
        ("subtotal", "^sub ?total(?: amount)?|net amount|amount before tax(?:es)?|total (?:excl|excluding|before) .*"),
        ("tax", "^(?:total |sales )?(?:tax|vat|gst|taxes)(?: amount| total)?"),
        (
            "total",
            "^(?:(?:grand|nett?|invoice|receipt|overall|gross) )?total(?: (?:amount|price|due|sum|cost|value|paid|incl.*))?|(?:the )?amount (?:due|to pay)|balance due",
        ),
        ("shared", "similarit(?:y|ies)|^(?:common|shared)(?: .*)?"),
        ("different", "differences?|changes"),
        ("each", "^(?:images|pictures|photos|in each|each (?:image|picture|photo))"),
        ("tags", "tags?|keywords?|labels?|topics?"),
        ("columns", "columns?|headers?|column names"),
        (
            "sentence",
            "summary|caption|description|describe|alt|goal|purpose|layout|overview|explanation|notes?|structure|comments?",
        ),
        (
            "title",
            "title|heading|headline|^(?:(?:project|application|app|page|product|site|screen) )?name|project|application|app",
        ),
        ("text", "^(?:.* )?(?:texts?|content|transcription|words|ocr|markdown)"),
    )
)
_CUSTOMER = re.compile(_PAYER)
_FORMATS = {"date": "date", "date-time": "date", "email": "email", "uri": "url", "time": "time"}
_BARE = frozenset({"name", "number", "no", "id", "value", "date", "amount", "code", "text"})


def kind_of(field: Field, parent: str) -> str:
    """The kind of a field; "" when nothing tells."""
    name = split_name(field.name)
    if parent and (name in _BARE or _CUSTOMER.search(split_name(parent))):
        name = f"{split_name(parent)} {name}"
    named = next((kind for kind, words in _NAMES if words.search(name)), "")
    by_format = _FORMATS.get(field.format, "")
    if by_format:
        return named if named in {"due_date", "other_date"} else by_format
    return named or _kind_from_description(field.description)


def split_name(name: str) -> str:
    """A name's words in lower case: `invoiceNumber`, `invoice_number` and `Invoice-Number` are the same."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)).strip().lower()


def _kind_from_description(description: str) -> str:
    """The kind of what a description begins with, up to its first comma or bracket."""
    first = (
        split_name(re.split(r"[,.;:(]", description, maxsplit=1)[0].replace("'s", ""))
        .removeprefix("the ")
        .removeprefix("a ")
    )
    return next((kind for kind, words in _NAMES if words.match(first)), "")
