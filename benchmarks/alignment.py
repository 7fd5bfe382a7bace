"""CPU that it takes to align the tokens of an answer with the fields of its document: `python benchmarks/alignment.py`."""

import json
import re
import time

from extractors.core import Reply
from extractors.core.calls import TokenLogprobs
from extractors.validate import validate
from extractors.validate.alignment import align
from schemas.receipt import Receipt

BATCHES, TIMES = 300, 20  # the least of many short batches: others use the machine, too
LINE = {"description": "KF MODELLING CLAY KIDDY FISH", "quantity": 1, "unit_price": "9.00", "amount": "9.00"}
RECEIPT = {
    "company": "TAN WOON YANN SDN BHD",
    "date": "2018-12-25",
    "address": "NO 290, JALAN AIR PANAS, SETAPAK, 53200 KUALA LUMPUR",
    "total": "18.00",
    "currency": "MYR",
    "line_items": [LINE, LINE],
}


def measure(reply: Reply, candidate: str) -> float:
    """Milliseconds of CPU for one answer."""
    start = time.process_time()
    for _ in range(TIMES):
        align(reply, Receipt, candidate)
    return (time.process_time() - start) / TIMES * 1000


def main() -> None:
    """Print the figure for a receipt of about 150 tokens."""
    text = json.dumps(RECEIPT)
    tokens = tuple(re.findall(r'\s?"|\s?\w{1,4}|[^\w"]{1,2}', text))
    reply = Reply(200, "", content=text, logprobs=TokenLogprobs(tokens, (-0.1,) * len(tokens)))
    candidate = validate(reply, Receipt).candidate
    print(f"{len(tokens)} tokens: {min(measure(reply, candidate) for _ in range(BATCHES)):.3f} ms CPU an answer")


if __name__ == "__main__":
    main()
