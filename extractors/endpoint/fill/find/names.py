"""Who issued a document, where they are, and whom it is for."""

from __future__ import annotations

import re
from statistics import median
from typing import TYPE_CHECKING

from extractors.endpoint.fill.find.dates import has_date
from extractors.endpoint.fill.find.labels import letters
from extractors.endpoint.fill.find.money import amounts

if TYPE_CHECKING:
    from extractors.endpoint.ocr.words import Line, OcrDocument

_TOP = 12  # lines in which an issuer names himself
_LONGEST = 5  # lines of an address
_ADDRESS_RANK, _OTHER_RANK = 4.0, -1.0  # of a line that looks like an address, and of one that nothing explains
_LEGAL = re.compile(
    r"\bS[DO]N\.? ?B[A-Z]D\b|SDN\.? ?BHD|\bBHD\b|\bLTD\b|\bLIMITED\b|\bINC\b|\bLLC\b|\bLLP\b|\bCORP(?:ORATION)?\b|\bGMBH\b"
    r"|\bAG\b|\bPLC\b|\bPTY\b|\bPTE\b|\bS\.?A\.?R\.?L\b|\bB\.?V\.?(?=$|\W)|\bS\.?P\.?A\b|\bS\.A\.|株式会社|\bPLT\b|& CO\b|\bCO\.?$"
)
_TRADE = re.compile(
    r"ENTERPR[I1]?[SZ]E|TRADING|RESTAURANT|RESTORAN|KEDAI|PASAR|SYARIKAT|PERNIAGAAN|STORES?\b|SHOP|MART\b|MARKET|HOTEL"
    r"|CAF[EÉ]|BAKER|PHARMAC|FARMASI|HARDWARE|STATIONERY|BOOK|GROCER|BISTRO|KITCHEN|HOUSE|SERVICES?\b|MARKETING"
    r"|INDUSTR|GROUP|COMPANY|& SONS|BROTHERS|CENTRE|CENTER|CASH & CARRY|HOLDINGS|MOTOR|PETROL|STATION\b|CLINIC|STUDIO"
)
_STREET = re.compile(
    r"\bJALAN\b|\bJLN\b|\bJL\b|\bLOT\b|\bTAMAN\b|\bNO\b ?[.:]? ?\d|\bSTREET\b|\bST\.|\bROAD\b|\bRD\b|\bAVE(?:NUE)?\b|\bLANE\b|\bBLVD\b"
    r"|\bPLAZA\b|\bMALL\b|\bFLOOR\b|\bLEVEL\b|\bBLOCK\b|\bUNIT\b|STRASSE|STRA[SẞB]E|\bRUE\b|\bVIA\b|\bCALLE\b|\bPLATZ\b|\bSUITE\b"
    r"|\bKAWASAN\b|\bBANDAR\b|\bKAMPUNG\b|\bKG\.|\bSEKSYEN\b|\bWISMA\b|\bBATU\b|\bP\.?O\.? BOX\b|STR\.? ?\d|^\d+ [A-Z. ]+ (?:DR|ST|AVE|RD|LN|WAY|CT|HWY|PKWY|SQ)\b|\bHIGHWAY\b|\bDRIVE\b|\bBDR\b|\bPERSIARAN\b"
)
_POSTCODE = re.compile(r"(?<!\d)\d{5,6}(?!\d) ?,? ?[A-Z]{2}|\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b|[A-Z]{2} \d{5}")
_NOT_NAME = re.compile(
    r"INVOICE|RECEIPT|\bBILL\b|\bTEL\b|\bPHONE|\bFAX\b|WWW\.|HTTP|@|\bDATE\b|\bGST\b|\bTAX\b|\bREG\b|CASHIER|WELCOME|THANK|\bORDER\b|\bTABLE\b"
    r"|\bCHECK\b|\bCOPY\b|REPRINT|RE-PRIN|QUITTUNG|RECHNUNG|\bPAGE\b|STATEMENT|\bCO\.? ?N[OD]\b|\bCHIT\b|\bCOUNTER\b|\bTERMINAL\b|\bEMAIL\b|\.COM\b"
)
_END = re.compile(
    r"\bTEL\b|\bPHONE|\bFAX\b|\bGST\b|\bSST\b|\bVAT\b|INVOICE|RECEIPT|\bE?-?MAIL|WWW\.|HTTP|\bTAX\b|\bREG\b|\bUID\b|CASHIER|\bBILL\b|\bDOC\b|\bH/?P\b|CHIT"
    r"|\bHP\b|^\W*T ?[:.]|^\(?\+?\d[\d -]{7,}|\bCO\.? ?NO|BR NO"
)
_CUSTOMER = re.compile(
    r"BILL(?:ED)? TO|SOLD TO|SHIP TO|CUSTOMER|CLIENT|BUYER|MESSRS|\bM/S\b|INVOICE TO|KUNDE", re.IGNORECASE
)
_SDN_BHD = re.compile(r"\bS[DO]N\.? ?B[A-Z]D\b", re.IGNORECASE)  # as it is read when the print is faint
_REGISTRATION = re.compile(r"[\[(][^)\]]*\d{4,}[^)\]]*[)\]]?|\b(?:CO\.? ?)?REG.*$|\b\d{5,}-?[A-Z]\b", re.IGNORECASE)


def find_company(document: OcrDocument) -> str | None:
    """The issuer's name, as printed: the likeliest of the first lines."""
    top = _parts(_head(document))
    if not top:
        return None
    scores = [rank for _, rank in rank_companies(document)]
    place = scores.index(max(scores))
    trades = _LEGAL.search(top[place].text.upper()) or _TRADE.search(top[place].text.upper())
    if scores[place] <= 0 or not (trades or any(map(amounts, document.texts))):
        return None  # the first line of a picture without a caption is not a name
    names = [*(_clean(line.text) for line in top), ""]
    if _is_only_legal(names[place]) and place:
        return f"{names[place - 1]} {names[place]}"
    return f"{names[place]} {names[place + 1]}" if _is_only_legal(names[place + 1]) else names[place]


def rank_companies(document: OcrDocument) -> list[tuple[str, float]]:
    """The lines at the top, with the rank of each as the issuer's name."""
    top = _parts(_head(document))
    usual = median(line.height for line in document.lines) if top else 0.0
    return [(line.text, _name_score(line, place, usual)) for place, line in enumerate(top)]


def find_address(document: OcrDocument) -> str | None:
    """The issuer's address: the lines that look like one, below the name."""
    return _address(_parts(_head(document, 2 * _TOP)))


def rank_addresses(document: OcrDocument) -> list[tuple[str, float]]:
    """The first line that looks like an address, and the other lines near it that may be one, with their ranks."""
    parts = _parts(_head(document, 2 * _TOP))
    first = next((part for part in parts if _is_address(part.text)), None)
    below = parts[parts.index(first) + _LONGEST :] if first else parts[1:]
    likely = [(first.text, _ADDRESS_RANK)] if first else []
    return [*likely, *((part.text, _OTHER_RANK) for part in below if _may_be_address(part.text))]


def find_customer(document: OcrDocument) -> str | None:
    """Whom the document is for: what follows "Bill to" or "Customer"."""
    name, _ = _customer(document)
    return name


def find_customer_address(document: OcrDocument) -> str | None:
    """The address below the customer's name."""
    name, number = _customer(document)
    return _address(_parts(document.lines[number : number + 5])) if name else None


def _address(parts: list[Line]) -> str | None:
    first = next((number for number, part in enumerate(parts) if _is_address(part.text)), None)
    if first is None:
        return None
    column = [part for part in parts[first:] if part.over(parts[first])][:_LONGEST]
    block = column[:1]
    for part in column[1:]:
        if not _continues(part.text) or part.words[0].top - block[-1].words[0].bottom > 1.5 * part.height:
            break
        block.append(part)
    text = ", ".join(part.text.strip(" \t-*") for part in block)
    return re.sub(r"\.?[\s,]*,[\s,]*", ", ", text).strip(" ,")


def _customer(document: OcrDocument) -> tuple[str | None, int]:
    """The customer's name, and the number of the line after it."""
    for number, line in enumerate(document.lines):
        for part in line.groups:
            match = _CUSTOMER.search(part.text)
            if match is None or not _is_alone(match, part.text):
                continue
            rest = re.sub(r"^[\s:.#]*(?:NAME)?[\s:.]*", "", part.text[match.end() :], flags=re.IGNORECASE).strip()
            beside = [each.text.strip(" :") for each in line.groups if each.words[0].left > part.words[-1].right]
            under = [
                each for after in document.lines[number + 1 : number + 2] for each in after.groups if each.over(part)
            ]
            if len(letters(rest)) > 2:
                return rest, number + 1
            if under:
                return under[0].text.strip(" :"), number + 2
            if beside:
                return beside[0], number + 1
    return None, 0


def _is_alone(match: re.Match[str], text: str) -> bool:
    """Whether the label is one, not a word in a sentence ("customer's copy")."""
    rest = text[match.end() :].strip()
    return not letters(text[: match.start()]) and (not rest or rest[0] in ":.#" or rest.upper().startswith("NAME"))


def _head(document: OcrDocument, count: int = _TOP) -> tuple[Line, ...]:
    """The first lines, as far as no customer is named and no amount stands there."""
    first = document.pages[0] if document.pages else ()
    for number, line in enumerate(first[:count]):
        if number and (amounts(line.text) or _CUSTOMER.match(line.text.strip())):
            return first[:number]
    return first[:count]


def _parts(lines: tuple[Line, ...]) -> list[Line]:
    """The lines, each cut at its wide gaps: a heading may stand beside the name."""
    return [part for line in lines for part in line.groups]


def _name_score(line: Line, place: int, usual: float) -> float:
    text = line.text.upper()
    plain = letters(text)
    if len(plain) < 3 or has_date(text):
        return 0
    score = 3.0 - 0.35 * place + min(1.5, 1.5 * (line.height / usual - 1))
    score += 4 * bool(_LEGAL.search(text)) + 1.5 * bool(_TRADE.search(text))
    score -= 3 * bool(_STREET.search(text)) + 2 * bool(_POSTCODE.search(text)) + 4 * bool(_NOT_NAME.search(text))
    digits = sum(each.isdigit() for each in _REGISTRATION.sub("", text))
    score += 0.5 * (" " in line.text.strip()) + 0.5 * line.text.strip()[0].isupper()
    score -= 0.25 * digits + 2 * (digits > len(plain)) + 1.5 * (len(plain) < 6)
    return score


def _is_only_legal(text: str) -> bool:
    return len(text) > 1 and not letters(_LEGAL.sub("", text.upper()))


def _clean(text: str) -> str:
    """The name without its registration number and without ornaments, its legal form spelled right."""
    bare = re.sub(r"\s+", " ", _REGISTRATION.sub(" ", text)).strip(" \t-*=~,:;.#_'\"|")
    return _SDN_BHD.sub(lambda match: "Sdn Bhd" if match[0][1].islower() else "SDN BHD", bare) or text.strip()


def _is_address(text: str) -> bool:
    capitals = text.upper()
    return (
        bool(_STREET.search(capitals) or _POSTCODE.search(capitals))
        and not _LEGAL.search(capitals)
        and not _END.search(capitals)
    )


def _may_be_address(text: str) -> bool:
    return _continues(text) and not _NOT_NAME.search(text.upper()) and not _LEGAL.search(text.upper())


def _continues(text: str) -> bool:
    capitals = text.upper()
    return (
        len(letters(text)) > 3
        and "#" not in text
        and not _END.search(capitals)
        and not has_date(capitals)
        and not re.match(r"^\W*\(?\d+-[A-Z]\)?$", capitals)
    )
