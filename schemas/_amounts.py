"""Amounts, quantities and currencies as documents write them in, `Decimal` and ISO 4217 codes out.

What cannot be read as one number, or is none (NaN, Infinity), is refused with a `ValueError`.
"""

import re
import unicodedata
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

_STEPS = tuple(Decimal(1).scaleb(-places) for places in range(9))
LARGEST = Decimal(10) ** 14  # what 18 digits hold beside 4 decimals; more is two numbers read as one

_IN_USE = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG
HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA
MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD
RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
"""
_OUT_OF_USE = "ATS BEF DEM ESP FIM FRF GRD HRK IEP ITL LTL LVL NLG PTE SIT SKK EEK"  # on documents that are still read
CODES = frozenset((_IN_USE + _OUT_OF_USE).split())
SYMBOLS = {
    "$": "USD", "US$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "HK$": "HKD", "NZ$": "NZD",
    "NT$": "TWD", "R$": "BRL", "S$": "SGD", "SG$": "SGD", "RM": "MYR", "€": "EUR", "EURO": "EUR", "£": "GBP",
    "¥": "JPY", "円": "JPY", "RMB": "CNY", "CN¥": "CNY", "元": "CNY", "₹": "INR", "RS": "INR", "RP": "IDR",
    "฿": "THB", "₫": "VND", "₩": "KRW", "₱": "PHP", "₺": "TRY", "₽": "RUB", "₪": "ILS", "ZŁ": "PLN", "KČ": "CZK",
    "FT": "HUF", "FR": "CHF", "SFR": "CHF", "Đ": "VND", "VNĐ": "VND",
}  # fmt: skip
# Documents print no hundredths of these, so three digits after a point are thousands.
WHOLE = frozenset({"CLP", "COP", "HUF", "IDR", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF"})

_NUMBER = re.compile(
    r"(?P<before>[^\d+\-]*?)(?P<sign>[+\-]?)(?P<middle>[^\d+\-]*?)(?P<digits>\d[\d., ']*|(?<!\w)[.,]\d+)(?P<after>.*)"
)
_AS_JSON = re.compile(r"\d+(?:\.\d+)?", re.ASCII)  # as nearly every model writes it: read at once
_GROUPED = re.compile(r"\d{1,3}(?:[ '.,]\d{2,3})*[ '.,]\d{3}|\d+")
_POINTED = re.compile(r"[1-9]\d{0,2}\.\d{3}")
_NO_CENTS = re.compile(r"(\d[\d., ']*?)(?:[.,]|\s?:-)-*([^\d]*)")  # 5,- and 12.-- and 5:-
_UNIT = re.compile(r"(?:[x\u00d7*@]|[^\W\d_]{1,8}\.?)?", re.IGNORECASE)


def read_currency(text: str) -> str:
    """Give the ISO 4217 code of a code or symbol, upper-cased."""
    mark = unicodedata.normalize("NFKC", text).strip(" .").upper()
    code = SYMBOLS.get(mark, mark)
    if code not in CODES:
        raise ValueError(f"not a currency: {text!r}")
    return code


def read_amount(text: str) -> Decimal:
    """Read an amount of money, with or without its currency; parentheses or a minus on either side make it negative."""
    if _AS_JSON.fullmatch(text):
        return Decimal(text)
    plain = _plain(text)
    bracketed = plain.startswith("(") and plain.endswith(")")
    found = _NUMBER.fullmatch(plain.strip("()") if bracketed else plain)
    if found is None:
        raise ValueError(f"not an amount: {text!r}")
    digits, after = found["digits"].rstrip(" '"), found["after"]
    if matched := _NO_CENTS.fullmatch(digits + after):
        digits, after = matched[1], matched[2]
    minus = found["sign"] == "-" or after.rstrip().endswith("-")
    marks = found["before"] + found["middle"], after.rstrip("- ")
    if not all(map(_only_currency, marks)):
        raise ValueError(f"not an amount: {text!r}")
    number = _number(digits, text, whole=any(map(_is_whole, marks)))
    return -number if minus or bracketed else number


def read_quantity(text: str) -> Decimal:
    """Read a count or a measure, with or without its unit: `2`, `x 2`, `0.735 kg`."""
    if _AS_JSON.fullmatch(text):
        return Decimal(text)
    plain = _plain(text)
    found = _NUMBER.fullmatch(plain)
    if found is None or not _UNIT.fullmatch((found["before"] + found["middle"]).strip()):
        raise ValueError(f"not a quantity: {text!r}")
    if not _UNIT.fullmatch(found["after"].strip()):
        raise ValueError(f"not a quantity: {text!r}")
    number = _number(found["digits"].rstrip(" '"), text)
    return -number if found["sign"] == "-" else number


def round_amount(number: Decimal, places: int) -> Decimal:
    """Round to this many decimals, half up; refuse what is no number or far too large."""
    if not number.is_finite() or abs(number) >= LARGEST:
        raise ValueError(f"not a number that a document carries: {number}")
    decimals = -int(number.as_tuple().exponent)
    return number.quantize(_STEPS[min(max(decimals, 0), places)], ROUND_HALF_UP)


def _plain(text: str) -> str:
    """Full-width characters, odd spaces and typographic signs as ASCII has them.

    Raised and circled digits are refused: beside others they are cents, or the number of a note.
    """
    if any(unicodedata.category(char) == "No" for char in text):
        raise ValueError(f"not a number: {text!r}")
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2013", "-").replace("\u2019", "'")
    return " ".join(plain.split())


def _only_currency(mark: str) -> bool:
    mark = mark.strip(" .:").upper()
    return not mark or mark == "KR" or SYMBOLS.get(mark, mark) in CODES


def _is_whole(mark: str) -> bool:
    mark = mark.strip(" .:").upper()
    return SYMBOLS.get(mark, mark) in WHOLE


def _number(digits: str, text: str, *, whole: bool = False) -> Decimal:
    """Tell the decimal mark from the marks of thousands; `whole`: the currency has no hundredths."""
    if whole and _POINTED.fullmatch(digits):
        digits = digits.replace(".", "")
    last = max(digits.rfind("."), digits.rfind(","))
    units, mark, decimals = digits[: max(last, 0)], digits[last : last + 1] if last >= 0 else "", digits[last + 1 :]
    if not mark or digits.count(mark) > 1 or (mark == "," and len(decimals) == 3 and _groups_thousands(units)):
        units, decimals = digits, ""
    if not decimals.isdigit() and decimals:
        raise ValueError(f"not a number: {text!r}")
    if units and (not _GROUPED.fullmatch(units) or (decimals and mark in units)):
        raise ValueError(f"not a number: {text!r}")
    try:
        return Decimal(re.sub(r"\D", "", units) + ("." + decimals if decimals else ""))
    except InvalidOperation as error:
        raise ValueError(f"not a number: {text!r}") from error


def _groups_thousands(whole: str) -> bool:
    """Whether three digits after a comma can only be thousands: `1,234`, but not `0,735` or `1234,567`."""
    return whole[:1] != "0" and bool(whole) and "." not in whole and len(re.split(r"\D", whole)[-1]) <= 3
