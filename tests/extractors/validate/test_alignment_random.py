"""Alignment of generated answers with random tokens: the generator records the bytes of each value."""

import json
import math
import random
from dataclasses import dataclass, field

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from extractors.core import Reply
from extractors.core.calls import TokenLogprobs
from extractors.validate.alignment import align

WORDS = [
    "Café",
    "€ 5",
    "日本",
    "a",
    "null",
    ", ",
    "x: y",
    "🙂",
    "tab\t",
    "\\",
    'say "hi"',
    "{",
    "]",
    "Total",
    "é",
    "<b>",
    "",
]
LITERALS = ["<|im_end|>", "</s>", "<0x41>"]  # they may occur in the text of a value
SPECIAL = ["<|im_end|>", "</s>", "<eos>", "", "<|endoftext|>"]
PUNCTUATION = set(b'{}[],:" \t\r\n')


class Paper(BaseModel):
    """A document with a field of every kind."""

    model_config = ConfigDict(populate_by_name=True)
    company: str | None = None
    total: float | None = Field(default=None, validation_alias=AliasChoices("grand_total", "sum"))
    paid: bool | None = None
    lines: list[object] | None = None
    seller: dict[str, object] | None = None
    größe: int | None = None  # noqa: PLC2401 - tests a key beyond ASCII
    anything: object = None


KEYS = {name: [name] for name in Paper.model_fields} | {"total": ["grand_total", "sum", "total"]}


@dataclass
class Writer:
    """Writes one answer and records the first and the last byte of each field's value in `spans`."""

    random: random.Random
    text: bytearray = field(default_factory=bytearray)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    literals: bool = False
    begin: int = 0

    def put(self, text):
        self.text += text.encode()

    def blank(self):
        self.put(self.random.choice(["", "", " ", "\n  ", "\t"]))

    def string(self, text):
        """Write a quoted text with random escapes."""
        escaped = json.dumps(text, ensure_ascii=self.random.random() < 0.3)
        if self.random.random() < 0.1 and "\\" not in escaped:
            escaped = escaped.replace("a", "\\u0061")
        self.put(escaped)

    def words(self):
        pool = WORDS + LITERALS * self.literals
        return "".join(self.random.choice(pool) for _ in range(self.random.randrange(4)))

    def value(self, kind, depth=0):
        """Write one value of this kind."""
        kind = kind if kind != "anything" else self.random.choice(["company", "total", "paid", "lines", "seller"])
        if self.random.random() < 0.2:
            self.put("null")
        elif kind == "company":
            self.string(self.words())
        elif kind == "total":
            self.put(self.random.choice(["12.50", "-3", "1e3", "0", "1234567.89"]))
        elif kind == "größe":
            self.put(str(self.random.randrange(10**6)))
        elif kind == "paid":
            self.put(self.random.choice(["true", "false"]))
        else:
            self.container(kind == "lines", depth)

    def container(self, is_list, depth):
        self.put("[" if is_list else "{")
        self.blank()
        for place in range(self.random.randrange(4) if depth < 2 else 0):
            if place:
                self.put(",")
                self.blank()
            if not is_list:
                self.string(f"{place}{self.words()}")
                self.put(":")
                self.blank()
            self.value(self.random.choice(["company", "total", "paid", "lines", "seller"]), depth + 1)
        self.blank()
        self.put("]" if is_list else "}")

    def document(self):
        """Write an object with some fields in any order, sometimes one twice, and a key that is no field."""
        names = self.random.sample([*KEYS, "other"], self.random.randrange(1, 8))
        if names == ["other"]:
            names.append("paid")
        if self.random.random() < 0.15:
            names.insert(0, names[-1])  # the last occurrence counts
        self.put("{")
        for place, name in enumerate(names):
            if place:
                self.put(",")
            self.blank()
            self.string(
                self.random.choice(KEYS.get(name, [name])) if names.count(name) == 1 else KEYS.get(name, [name])[0]
            )
            self.blank()
            self.put(":")
            self.blank()
            start, first = len(self.text), self.spans.get(name)
            if first:  # a repeated name with different values would be refused
                self.text += self.text[slice(*first)]
            else:
                self.value("company" if name == "other" else name)
            self.spans[name] = start, len(self.text)
        self.blank()
        self.put("}")
        self.spans.pop("other", None)

    def answer(self):
        """Write the document with a wrapper, and return the content as the server sends it."""
        before, after = self.random.choice(WRAPPERS)
        self.put(before)
        self.begin = len(self.text)
        self.document()
        document = self.text[self.begin :].decode()
        self.put(after)
        return document if "<tool_call>" in before else self.text.decode()


WRAPPERS = [
    ("", ""),
    ("", "\n"),
    (" ", ""),
    ("```json\n", "\n```"),
    ("Here it is: ", " I hope it helps."),
    ('<tool_call>\n{"name": "paper", "arguments": ', "}\n</tool_call>"),
    ("<think>\n\n</think>\n\n", ""),
    ("<|channel|>final<|message|>", ""),
]


@dataclass
class Token:
    """One token: its text, the bytes of the answer that it covers, and its log probability."""

    text: str
    start: int
    end: int
    logprob: float


def split_into_tokens(whole, begin, randomness, *, special, unreadable):
    """Splits the bytes at random into tokens, with special tokens after `begin`, where the document begins."""
    tokens, at = [], 0
    longest = randomness.choice([1, 4, 12, 60])
    while at < len(whole):
        end = min(at + randomness.randint(1, longest), len(whole))
        tokens.append(Token(decode_piece(whole[at:end], unreadable=unreadable), at, end, -randomness.expovariate(2.0)))
        at = end
        if special and at > begin and randomness.random() < 0.1:
            tokens.append(Token(randomness.choice(SPECIAL), at, at, -randomness.expovariate(0.1)))
    tokens.append(Token(randomness.choice(SPECIAL), at, at, -9.0))
    return tokens


def decode_piece(piece, *, unreadable):
    """The text of a token as servers send it: part of a character in byte notation, or a replacement character."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return piece.decode("utf-8", "replace") if unreadable else "".join(f"<0x{byte:02X}>" for byte in piece)


def find_owners(whole, tokens):
    """The tokens that wrote each byte; all tokens of a run beyond ASCII share it if one is unreadable."""
    owners = [set() for _ in whole]
    for number, token in enumerate(tokens):
        for at in range(token.start, token.end):
            owners[at].add(number)
    if any("\ufffd" in token.text for token in tokens):
        at = 0
        while at < len(whole):
            end = at
            while end < len(whole) and whole[end] >= 0x80:
                end += 1
            shared = set().union(*owners[at:end])
            owners[at:end] = [shared] * (end - at)
            at = max(end, at + 1)
    return owners


def compute_expected(span, whole, tokens, owners):
    """Least, mean, first, total, length, not_null and confidence of a value, computed from their definitions."""
    start, end = span
    value = whole[start:end]
    overlapping = sorted(set().union(*owners[start:end]))
    chosen = overlapping
    if value[:1] == b'"' and end - start > 2:
        chosen = sorted(set().union(*owners[start + 1 : end - 1]))
    elif value[:1] in {b"[", b"{"}:
        with_content = {number for at in range(start, end) if whole[at] not in PUNCTUATION for number in owners[at]}
        chosen = sorted(with_content) or overlapping
    logs = [tokens[number].logprob for number in chosen]
    all_logs = [tokens[number].logprob for number in overlapping]
    not_null = 1 - math.exp(sum(all_logs)) if value == b"null" else math.exp(all_logs[0])
    return min(logs), sum(logs) / len(logs), logs[0], sum(logs), len(logs), not_null, math.exp(min(logs))


def check_generated_answer(seed):
    """Generates one answer and compares its alignment with the recorded spans."""
    randomness = random.Random(seed)
    special, unreadable = randomness.random() < 0.3, randomness.random() < 0.3
    writer = Writer(randomness, literals=not special and not unreadable and randomness.random() < 0.3)
    content = writer.answer()
    whole = bytes(writer.text)
    tokens = split_into_tokens(whole, writer.begin, randomness, special=special, unreadable=unreadable)
    logprobs = TokenLogprobs(tuple(token.text for token in tokens), tuple(token.logprob for token in tokens))
    reply = Reply(200, "", content=content, logprobs=logprobs)
    if writer.literals and any(token.text == "<0x41>" for token in tokens):
        return  # it looks like a byte, so that no evidence would be correct, too
    evidence = align(reply, Paper)
    assert evidence is not None, (seed, content, logprobs.tokens)
    assert [value.field for value in evidence.fields] == list(Paper.model_fields)
    owners = find_owners(whole, tokens)
    for value in evidence.fields:
        actual = value.least, value.mean, value.first, value.total, value.length, value.not_null, value.confidence
        span = writer.spans.get(value.field)
        expected = compute_expected(span, whole, tokens, owners) if span else (None, None, None, None, 0, None, None)
        assert all(map(is_close, actual, expected)), (seed, value.field, actual, expected, content, logprobs.tokens)


def is_close(actual, expected):
    """Whether two numbers are equal except for rounding; `pytest.approx` would take most of the test's time."""
    return actual == expected or (
        None not in {actual, expected} and math.isclose(actual, expected, rel_tol=1e-6, abs_tol=1e-9)
    )


def test_align_finds_the_recorded_spans_of_generated_answers():
    for seed in range(400):
        check_generated_answer(seed)


@pytest.mark.slow
@pytest.mark.parametrize("answers", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_align_finds_the_recorded_spans_of_many_generated_answers(answers):
    for seed in range(answers):
        check_generated_answer(seed)
