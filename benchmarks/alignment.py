"""What it costs to align the tokens of an answer with the fields of its document, as `--confidence` does for each.

python benchmarks/alignment.py
"""

import argparse
import json
import re
import time

from measure import report

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
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    text = json.dumps(RECEIPT)
    tokens = tuple(re.findall(r'\s?"|\s?\w{1,4}|[^\w"]{1,2}', text))
    reply = Reply(200, "", content=text, logprobs=TokenLogprobs(tokens, (-0.1,) * len(tokens)))
    candidate = validate(reply, Receipt).candidate
    cpu = min(measure(reply, candidate) for _ in range(BATCHES))
    report("alignment", "tokens laid over the fields of one answer", ("tokens", "CPU ms"), [(len(tokens), cpu)])


if __name__ == "__main__":
    main()
