"""The finders, over handwritten words: each text is one line, and | stands for a wide gap.

Covers `extractors.endpoint.fill.find.labels` and `extractors.endpoint.fill.find.prose`, too.
"""

from datetime import date
from decimal import Decimal

import pytest

from extractors.endpoint.fill.find.codes import find_email, find_labelled, find_number, find_phone, find_time
from extractors.endpoint.fill.find.dates import find_date
from extractors.endpoint.fill.find.money import amounts, find_currency
from extractors.endpoint.fill.find.names import find_address, find_company, find_customer, find_customer_address
from extractors.endpoint.fill.find.rows import find_rows
from extractors.endpoint.fill.find.tables import find_table
from extractors.endpoint.fill.find.totals import find_subtotal, find_tax, find_total
from extractors.endpoint.ocr.words import OcrDocument, Seen, Word, group_lines, turn_upright


def page(*texts, tall=()):
    words = []
    for row, text in enumerate(texts):
        for column, part in enumerate(text.split("|")):
            word, left = part.strip(), 400 * column
            height = 40 if word in tall else 20
            if word:
                words.append(Word(word, left, row * 40, left + 10 * len(word), row * 40 + height))
    return OcrDocument((group_lines(words),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("25/12/2018", date(2018, 12, 25)),
        ("2018-12-25", date(2018, 12, 25)),
        ("25-12-18", date(2018, 12, 25)),
        ("25.12.2018", date(2018, 12, 25)),
        ("22 MAR 18", date(2018, 3, 22)),
        ("22Mar 1812:44:00 PM", date(2018, 3, 22)),
        ("30/01/20181448:23", date(2018, 1, 30)),
        (":21-03-201810:37:49", date(2018, 3, 21)),
        ("Mar 5, 2018", date(2018, 3, 5)),
        ("March 5th, 2018", date(2018, 3, 5)),
        ("5. Dezember 2018", date(2018, 12, 5)),
        ("12/25/2018", date(2018, 12, 25)),
        ("03/04/2018", date(2018, 4, 3)),
        ("0803/2018", date(2018, 3, 8)),
        ("2018年12月25日", date(2018, 12, 25)),
        ("31/02/2018", None),
        ("TEL 03-7847 2376", None),
        ("1.25.99", None),
    ],
)
def test_find_date_reads_common_formats(text, expected):
    """The day comes first where both orders are possible; an impossible date gives None."""
    assert find_date(page(text)) == expected


def test_find_date_reads_all_dates_month_first_after_one_that_must_be():
    assert find_date(page("Date: 03/04/2018", "Printed 12/25/2018")) == date(2018, 3, 4)


def test_find_date_separates_due_date_and_issue_date_by_label():
    document = page("Due date: 04/04/2024", "Invoice date: 05/03/2024")
    assert find_date(document) == date(2024, 3, 5)
    assert find_date(document, due=True) == date(2024, 4, 4)
    assert find_date(page("Date: 05/03/2024"), due=True) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RM 12.30", "12.30"),
        ("1,234.50", "1234.50"),
        ("1.234,50 EUR", "1234.50"),
        ("$7", "7"),
        ("RMO.00", "0.00"),
        ("1.B0", "1.80"),
        ("-11.33", "-11.33"),
        ("0.01-", "-0.01"),
        ("13.87S", "13.87"),
    ],
)
def test_amounts_reads_printed_variants(text, expected):
    """Amounts may have a currency, groups, one misread letter, a sign, or a tax code at the end."""
    assert [amount.value for amount in amounts(text)] == [Decimal(expected)]


@pytest.mark.parametrize("text", ["6%", "14x20 0.04mm", "03-7847 2376", "1.2.3", "QTY 5"])
def test_amounts_ignores_other_numbers(text):
    """Rates, measures, telephone numbers and counts are not amounts."""
    assert amounts(text) == []


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("SUBTOTAL | 93.62", "TAX | 4.59", "TOTAL | 98.21", "VISA | 98.21"), "98.21"),
        (("Total: | 30.24", "Rounding: | 0.01", "Amount Due 30.25"), "30.25"),
        (
            ("Total (Excl. GST) | 26.20", "Total (Inclusive of GST) | 26.98", "Rounding | 0.02", "TOTAL: | 27.00"),
            "27.00",
        ),
        (("Total Saving | 0.00 | Total | 133.70", "Cash | 140.00"), "133.70"),
        (("Total Qty: | 13 | 101.76", "Total Sales (Inclusive of GST): | 99.00"), "99.00"),
        (("TOTAL | 1.05", "CHANGE | 0.00", "GST SUMMARY", "TOTAL: | 1.00 | 0.06"), "1.05"),
        (("TOTAL | 9.00", "TOTAL SAVING | 5.00"), "9.00"),
        (("TOTAL | 1.05", "GST SUMMARY", "TOTAL | 1.00 | 0.06"), "1.05"),
        (("Totai | 8.40",), "8.40"),
        (("TOTAL", "RM 5.00"), "5.00"),
        (("TOTAL | 7-40", "CASH | 8.00"), "7.40"),
        (("Total Includes GST | 170", "Cash | 100.00", "Change | 98.30"), "1.70"),
        (("T0T4L", "CASH | 10.00", "CHANGE | 2.50"), "7.50"),
        (("SUMME EUR | 3,34", "Geg. BAR | 5,00"), "3.34"),
        (("合計 | ¥280",), "280"),
    ],
)
def test_find_total_is_the_amount_to_pay(texts, expected):
    """It is not the subtotal, count, tax, cash or tax table; misread decimal points are repaired."""
    assert find_total(page(*texts)) == Decimal(expected)


@pytest.mark.parametrize(
    "texts",
    [
        ("SUBTOTAL | 93.62", "TOTAL QTY | 5.00"),
        ("Total | ______",),
        ("TOTAL SAVING | 5.00",),
        ("hello", "world 12.50"),
        ("CASH | 10.00", "CHANGE"),
        ("Price 4.00", "Total 170"),
    ],
)
def test_find_total_is_none_without_a_total(texts):
    """Other amounts do not replace a missing total."""
    assert find_total(page(*texts)) is None


def test_find_tax_and_find_subtotal_use_their_own_labels():
    """A total including tax or a registration number is not the tax."""
    document = page("GST ID: 0001.25", "Sub Total | 44.00", "GST 6% | 2.64", "Total incl. GST | 46.64")
    assert (find_subtotal(document), find_tax(document)) == (Decimal("44.00"), Decimal("2.64"))


@pytest.mark.parametrize(
    ("text", "code"),
    [("RM 5.00", "MYR"), ("Amount (RM)", "MYR"), ("$5.00", "USD"), ("5,00 €", "EUR"), ("£1", "GBP"), ("5.00", None)],
)
def test_find_currency_reads_symbol_code_or_column_head(text, code):
    """A page that names no currency gives None."""
    assert find_currency(page(text)) == code


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            ("A0123", "GREEN LEAF TRADING SDN BHD (123456-X)", "NO 5, JALAN BESAR", "TOTAL | 5.00"),
            "GREEN LEAF TRADING SDN BHD",
        ),
        (("TAX INVOICE", "Old Mill", "Old Mill Foods Ltd", "12 Mill Road", "9.00"), "Old Mill Foods Ltd"),
        (("GREEN LEAF", "SDN BHD", "NO 5, JALAN BESAR", "5.00"), "GREEN LEAF SDN BHD"),
        (("Acme GmbH | INVOICE", "Bill to:", "Contoso Ltd", "5.00"), "Acme GmbH"),
        (("Joe's Diner", "Table 4", "5.00"), "Joe's Diner"),
        (("No parking", "at any time"), None),
    ],
)
def test_find_company_is_the_issuer(texts, expected):
    """It is the line with a legal form near the top, without its registration number; never the customer."""
    assert find_company(page(*texts)) == expected


def test_find_company_prefers_larger_print():
    """Size decides where no other evidence does."""
    assert find_company(page("come in", "Bluebell", "TOTAL 5.00", tall=("Bluebell",))) == "Bluebell"


def test_find_address_joins_street_and_town():
    """The address ends before a telephone number."""
    document = page("Acme Ltd", "12 Mill Road,", "10115 Hopetown", "Tel: 030 123456", "5.00")
    assert find_address(document) == "12 Mill Road, 10115 Hopetown"


def test_find_customer_address_reads_below_the_customer():
    """It reads the same column as the name, up to the first gap."""
    document = page(
        "Acme Ltd", "12 Mill Road", "Bill to: | Date: 1/2/2024", "Contoso GmbH | Page 1", "5 Long Lane", "", "Item"
    )
    assert find_customer(document) == "Contoso GmbH"
    assert find_customer_address(document) == "5 Long Lane"
    assert find_address(document) == "12 Mill Road"


def test_find_customer_reads_beside_or_below_its_label():
    """A "customer's copy" names no customer."""
    assert find_customer(page("Acme Ltd", "Bill to:", "Contoso GmbH")) == "Contoso GmbH"
    assert find_customer(page("Customer: Ada Lovelace")) == "Ada Lovelace"
    assert find_customer(page("CUSTOMER'S COPY", "thanks")) is None


@pytest.mark.parametrize(
    ("finder", "text", "expected"),
    [
        (find_phone, "TEL:03-3271 9872", "03-3271 9872"),
        (find_phone, "08-05-2018 08:17", None),
        (find_email, "write to ada@example.com.", "ada@example.com"),
        (find_time, "7:05 PM", "19:05:00"),
        (find_time, "22 Mar 1812:61", None),
    ],
)
def test_find_phone_email_and_time_recognize_their_format(finder, text, expected):
    assert finder(page(text)) == expected


def test_find_number_separates_kinds_of_numbers():
    """An invoice number is not an order number, and a date is not a number."""
    document = page("Order No: 77-1", "Invoice No.: | INV-2024-0117 | Date: 05/03/2024")
    assert find_number(document, "invoice number") == "INV-2024-0117"
    assert find_number(document, "order number") == "77-1"
    assert find_number(page("Receipt No: 05/03/2024"), "receipt number") is None


def test_find_labelled_reads_beside_or_below_its_label():
    assert find_labelled(page("Cashier: Nicole"), "cashier") == "Nicole"
    assert find_labelled(page("Cashier:", "Nicole"), "cashier") == "Nicole"
    assert find_labelled(page("nothing here"), "cashier") is None


def test_find_rows_reads_quantity_and_price_that_multiply_to_the_amount():
    """Descriptions stand on the same line; totals are not items."""
    document = page(
        "Description | Qty | Price | Amount",
        "Bolts | 100 | 0.25 | 25.00",
        "Delivery | 1 | 4.00 | 4.00",
        "Total | 29.00",
    )
    rows = [(row.description, row.quantity, row.unit_price, row.amount) for row in find_rows(document)]
    assert rows == [
        ("Bolts", Decimal(100), Decimal("0.25"), Decimal("25.00")),
        ("Delivery", Decimal(1), Decimal("4.00"), Decimal("4.00")),
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ("Item | Qty | Amount", "BREAD", "2 x | 3.00 | 6.00", "MILK", "1 x | 2.00 | 2.00", "TOTAL | 8.00"),
        ("Item | Qty | Amount", "1001 | 2 | 3.00 | 6.00", "BREAD", "1002 | 1 | 2.00 | 2.00", "MILK", "TOTAL | 8.00"),
        ("Shop", "5 May 2024", "BREAD | 3.00*2 | 6.00", "MILK | 2.00*1 | 2.00", "SUBTOTAL | 8.00"),
    ],
)
def test_find_rows_reads_descriptions_above_below_or_beside(texts):
    """The three layouts of tills give the same items."""
    rows = [(row.description, row.quantity, row.amount) for row in find_rows(page(*texts))]
    assert rows == [("BREAD", 2, Decimal("6.00")), ("MILK", 1, Decimal("2.00"))]


def test_find_rows_does_not_join_numbers_of_two_columns():
    """A quantity before an amount is not read as its thousands."""
    (row,) = find_rows(page("Item | Qty | Amount", "Water | 53.50*2 | 107.00", "Total | 107.00"))
    assert (row.quantity, row.unit_price, row.amount) == (Decimal(2), Decimal("53.50"), Decimal("107.00"))


def test_find_rows_omits_a_quantity_that_does_not_multiply_to_the_amount():
    """Quantity and price are not computed from the amount."""
    (row,) = find_rows(page("Item | Qty | Amount", "Bolts | 7 | 3.00 | 25.00", "Total | 25.00"))
    assert (row.quantity, row.unit_price, row.amount) == (None, None, Decimal("25.00"))


def test_find_table_reads_title_columns_and_rows():
    """A missing cell is empty, and the title is the line above."""
    table = find_table(page("Towns", "Name  | Country | People", "Graz  | Austria | 291", "Turku | | 197"))
    assert table.title == "Towns"
    assert table.columns == ["Name", "Country", "People"]
    assert table.rows == [["Graz", "Austria", "291"], ["Turku", "", "197"]]


def test_group_lines_joins_words_of_a_slanted_picture():
    """Boxes are turned upright before they are grouped into lines."""
    slanted = [
        Seen("LEFT SIDE", [(0, 0), (200, 20), (198, 40), (-2, 20)], 0.9),
        Seen("RIGHT SIDE", [(600, 60), (800, 80), (798, 100), (598, 80)], 0.7),
    ]
    [line] = group_lines(turn_upright(slanted))
    assert [(word.text, word.score) for word in line.words] == [("LEFT SIDE", 0.9), ("RIGHT SIDE", 0.7)]
