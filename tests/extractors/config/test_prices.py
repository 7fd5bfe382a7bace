"""prices.py and Price: the shipped table, the precedence of price sources, invalid files, and the cost of a usage."""

from datetime import date
from decimal import Decimal

import pytest

from extractors.config.prices import Prices
from extractors.core.errors import ConfigurationError
from extractors.core.money import FREE, Price, Usage

SHIPPED = [
    ("moonshotai/Kimi-K2.5", "0.50", None, "2.80", date(2026, 8, 1)),
    ("moonshotai/Kimi-K2.6", "1.20", "0.20", "4.50", date(2026, 7, 1)),
    ("moonshotai/Kimi-K3", "3.00", "0.30", "15.00", date(2026, 7, 1)),
    ("MiniMaxAI/MiniMax-M3", "0.30", "0.06", "1.20", date(2026, 7, 1)),
    ("Qwen/Qwen3.5-9B", "0.17", None, "0.25", date(2026, 7, 1)),
    ("Qwen/Qwen3.5-397B-A17B", "0.60", "0.35", "3.60", date(2026, 7, 1)),
    ("google/gemma-4-31B-it", "0.39", None, "0.97", date(2026, 7, 1)),
    ("meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", "0.27", None, "0.85", date(2026, 8, 1)),
]
KIMI = "moonshotai/Kimi-K3"
SERVED = Price(Decimal(7), Decimal(8))


def price(input_price, output, cached=None, as_of=None):
    """A price from its digits."""
    return Price(Decimal(input_price), Decimal(output), None if cached is None else Decimal(cached), as_of)


def write_price_file(tmp_path, text, name="prices.toml"):
    """Writes a price file with this text."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("model", "input_price", "cached", "output", "as_of"), SHIPPED)
def test_shipped_price_is_found(model, input_price, cached, output, as_of):
    """The table has the listed dollars per million tokens and their date."""
    assert Prices().find(model) == price(input_price, output, cached, as_of)


@pytest.mark.parametrize("model", ["", "unknown/model", "moonshotai/kimi-k3", "Kimi-K3"])
def test_unknown_model_has_no_price(model):
    """Its price is unknown, never 0 and never that of a similar name."""
    assert Prices().find(model) is None


def test_listed_price_wins_over_the_shipped_table():
    """The server lists its current prices."""
    assert Prices(served={KIMI: SERVED}).find(KIMI) == SERVED


def test_price_file_wins_over_the_listed_price(tmp_path):
    """Only the user knows the price of a contract."""
    path = write_price_file(tmp_path, f'[models."{KIMI}"]\ninput = 1\noutput = 2\n')
    assert Prices(path, {KIMI: SERVED}).find(KIMI) == price("1", "2")


def test_price_file_adds_to_the_other_sources(tmp_path):
    """A model absent from the file is looked up in the listed prices and the shipped table."""
    prices = Prices(
        write_price_file(tmp_path, '[models."my/model"]\ninput = 1\noutput = 2\n'), {"served/model": SERVED}
    )
    assert prices.find("my/model") == price("1", "2")
    assert prices.find("served/model") == SERVED
    assert prices.find(KIMI) == price("3.00", "15.00", "0.30", date(2026, 7, 1))


def test_price_is_decimal(tmp_path):
    """0.1 is a tenth of a dollar, not the nearest binary fraction."""
    text = '[models."m"]\ninput = 0.1\noutput = "0.30"\ncached_input = 0\nas_of = 2026-09-30\n'
    assert Prices(write_price_file(tmp_path, text)).find("m") == price("0.1", "0.30", "0", date(2026, 9, 30))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ('[models."m"]\ninput = 1\n', r"models\.m\.output: Field required"),
        ('[models."m"]\noutput = 1\n', r"models\.m\.input: Field required"),
        ('[models."m"]\ninput = -1\noutput = 1\n', r"models\.m\.input: .*greater than or equal to 0"),
        ('[models."m"]\ninput = 1\noutput = -0.01\n', r"models\.m\.output: .*greater than or equal to 0"),
        ('[models."m"]\ninput = 1\noutput = 1\ncached_input = -1\n', r"models\.m\.cached_input: "),
        ('[models."m"]\ninput = nan\noutput = 1\n', r"models\.m\.input: .*finite"),
        ('[models."m"]\ninput = 1\noutput = inf\n', r"models\.m\.output: .*finite"),
        ('[models."m"]\ninput = true\noutput = 1\n', r"models\.m\.input: "),
        ('[models."m"]\ninput = "cheap"\noutput = 1\n', r"models\.m\.input: "),
        ('[models."m"]\ninput = 1\noutput = 1\ncached = 1\n', r"models\.m\.cached: Extra inputs"),
        ('[models."m"]\ninput = 1\noutput = 1\nas_of = "soon"\n', r"models\.m\.as_of: "),
        ("models = 1\n", "models: "),
        ('[model."m"]\ninput = 1\noutput = 1\n', "model"),
        ("", "models: Field required"),
        ("input: 1", "is not TOML"),
    ],
)
def test_invalid_price_file_is_refused_in_one_line(tmp_path, text, pattern):
    """The line names the setting, the file and the error."""
    path = write_price_file(tmp_path, text)
    with pytest.raises(ConfigurationError, match=pattern) as raised:
        Prices(path)
    assert str(raised.value).startswith(f"TILEWISE_PRICES='{path}'")
    assert "\n" not in str(raised.value)


def test_price_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"prices\.toml' is not TOML"):
        Prices(path)


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_unreadable_price_file_is_refused(tmp_path, name):
    """A mistyped path is an error, not an empty file."""
    with pytest.raises(ConfigurationError, match=r"TILEWISE_PRICES=.* cannot be read"):
        Prices(tmp_path / name)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(), "0"),
        (Usage(prompt=1_000_000), "2"),
        (Usage(completion=1_000_000), "10"),
        (Usage(prompt=1_000_000, cached=1_000_000), "0.5"),
        (Usage(prompt=1_000_000, cached=400_000), "1.4"),
        (Usage(prompt=1000, completion=100, cached=200), "0.0027"),
        (Usage(prompt=100, completion=50, reasoning=50), "0.0007"),
        (Usage(prompt=100, cached=900), "0.00005"),
    ],
)
def test_cost_of_a_usage_follows_the_formula(usage, cost):
    """Prompt - cached at the input price, cached at its own, completion (with reasoning) at the output price."""
    assert price("2", "10", "0.5").cost(usage) == Decimal(cost)


def test_cached_tokens_cost_the_input_price_by_default():
    """An estimate is never too low when the price of cached tokens is missing."""
    assert price("2", "10").cost(Usage(prompt=1_000_000, cached=400_000)) == Decimal(2)


def test_cached_tokens_may_be_free():
    """A price of 0 counts as a price."""
    assert price("2", "10", "0").cost(Usage(prompt=1_000_000, cached=400_000)) == Decimal("1.2")


def test_cost_has_nine_decimals():
    """One token at 0.17 dollars per million costs 170 nanodollars; the tables keep nine decimals."""
    assert str(price("0.17", "0.25").cost(Usage(prompt=1))) == "1.70E-7"
    assert price("0.17", "0.25").cost(Usage(prompt=1)).as_tuple().exponent == -9


def test_local_ocr_is_free():
    assert FREE.cost(Usage(prompt=5000, completion=5000)) == 0
