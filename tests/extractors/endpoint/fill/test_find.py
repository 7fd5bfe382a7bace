"""The finders, over words written by hand: a line of text is a line, and | stands for a wide gap.

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
from extractors.endpoint.ocr.words import Document, Seen, Word, group_lines, turn_upright


def page(*texts, tall=()):
    words = []
    for row, text in enumerate(texts):
        for column, part in enumerate(text.split("|")):
            said, left = part.strip(), 400 * column
            height = 40 if said in tall else 20
            if said:
                words.append(Word(said, left, row * 40, left + 10 * len(said), row * 40 + height))
    return Document((group_lines(words),))


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
def test_dates_in_the_usual_writings(text, expected):
    """Day first where both are possible; what is no date is none."""
    assert find_date(page(text)) == expected


def test_one_american_date_decides_for_all():
    """A date that can only be month first says how the document writes them."""
    assert find_date(page("Date: 03/04/2018", "Printed 12/25/2018")) == date(2018, 3, 4)


def test_due_date_and_issue_date_are_told_apart():
    """By the labels, wherever they stand."""
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
def test_amounts_are_read_as_printed(text, expected):
    """With a currency, grouped, misread by one letter, negative, with a tax code glued on."""
    assert [each.value for each in amounts(text)] == [Decimal(expected)]


@pytest.mark.parametrize("text", ["6%", "14x20 0.04mm", "03-7847 2376", "1.2.3", "QTY 5"])
def test_other_numbers_are_no_amounts(text):
    """Rates, measures, telephones and counts stay what they are."""
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
def test_total_is_what_is_to_pay(texts, expected):
    """Not the subtotal, the count, the tax, the cash or the table of taxes; misread points are repaired."""
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
def test_a_total_that_was_not_read_is_not_invented(texts):
    """Other amounts do not stand in for it."""
    assert find_total(page(*texts)) is None


def test_tax_and_subtotal_have_their_own_labels():
    """Neither a total with tax nor a registration number is the tax."""
    document = page("GST ID: 0001.25", "Sub Total | 44.00", "GST 6% | 2.64", "Total incl. GST | 46.64")
    assert (find_subtotal(document), find_tax(document)) == (Decimal("44.00"), Decimal("2.64"))


@pytest.mark.parametrize(
    ("text", "code"),
    [("RM 5.00", "MYR"), ("Amount (RM)", "MYR"), ("$5.00", "USD"), ("5,00 €", "EUR"), ("£1", "GBP"), ("5.00", None)],
)
def test_currency_is_the_one_that_is_named(text, code):
    """By symbol, code or column head; none named, none found."""
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
def test_company_is_the_issuer(texts, expected):
    """The line with a legal form, near the top, without its registration number; never the customer."""
    assert find_company(page(*texts)) == expected


def test_larger_print_names_the_company():
    """Where nothing else tells, size does."""
    assert find_company(page("come in", "Bluebell", "TOTAL 5.00", tall=("Bluebell",))) == "Bluebell"


def test_address_ends_where_something_else_begins():
    """Street and town are joined; telephone and tax number are left out."""
    document = page("Acme Ltd", "12 Mill Road,", "10115 Hopetown", "Tel: 030 123456", "5.00")
    assert find_address(document) == "12 Mill Road, 10115 Hopetown"


def test_customer_has_an_address_of_its_own():
    """Below the name, in the same column, up to the first gap."""
    document = page(
        "Acme Ltd", "12 Mill Road", "Bill to: | Date: 1/2/2024", "Contoso GmbH | Page 1", "5 Long Lane", "", "Item"
    )
    assert find_customer(document) == "Contoso GmbH"
    assert find_customer_address(document) == "5 Long Lane"
    assert find_address(document) == "12 Mill Road"


def test_customer_follows_its_label():
    """On the line below, or behind the label; a copy for the customer names nobody."""
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
def test_things_with_a_form_of_their_own(finder, text, expected):
    """Telephone, e-mail and time are known by their form."""
    assert finder(page(text)) == expected


def test_numbers_are_found_by_their_kind():
    """The invoice's number is not the order's, and a date is no number."""
    document = page("Order No: 77-1", "Invoice No.: | INV-2024-0117 | Date: 05/03/2024")
    assert find_number(document, "invoice number") == "INV-2024-0117"
    assert find_number(document, "order number") == "77-1"
    assert find_number(page("Receipt No: 05/03/2024"), "receipt number") is None


def test_values_stand_behind_beside_or_under_their_label():
    """In this order."""
    assert find_labelled(page("Cashier: Nicole"), "cashier") == "Nicole"
    assert find_labelled(page("Cashier:", "Nicole"), "cashier") == "Nicole"
    assert find_labelled(page("nothing here"), "cashier") is None


def test_rows_have_quantity_and_price_where_they_multiply_to_the_amount():
    """Names on the same line; the totals are no items."""
    document = page(
        "Description | Qty | Price | Amount",
        "Bolts | 100 | 0.25 | 25.00",
        "Delivery | 1 | 4.00 | 4.00",
        "Total | 29.00",
    )
    found = [(row.description, row.quantity, row.unit_price, row.amount) for row in find_rows(document)]
    assert found == [
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
def test_names_may_stand_above_below_or_beside(texts):
    """All three layouts of a till give the same items."""
    found = [(row.description, row.quantity, row.amount) for row in find_rows(page(*texts))]
    assert found == [("BREAD", 2, Decimal("6.00")), ("MILK", 1, Decimal("2.00"))]


def test_numbers_of_two_columns_stay_two():
    """A quantity before an amount does not become its thousands."""
    (row,) = find_rows(page("Item | Qty | Amount", "Water | 53.50*2 | 107.00", "Total | 107.00"))
    assert (row.quantity, row.unit_price, row.amount) == (Decimal(2), Decimal("53.50"), Decimal("107.00"))


def test_a_quantity_that_does_not_fit_is_left_out():
    """Nothing is divided to make it fit."""
    (row,) = find_rows(page("Item | Qty | Amount", "Bolts | 7 | 3.00 | 25.00", "Total | 25.00"))
    assert (row.quantity, row.unit_price, row.amount) == (None, None, Decimal("25.00"))


def test_a_table_is_found_by_its_columns():
    """A missing cell stays empty, and the title stands above."""
    table = find_table(page("Towns", "Name  | Country | People", "Graz  | Austria | 291", "Turku | | 197"))
    assert table.title == "Towns"
    assert table.columns == ["Name", "Country", "People"]
    assert table.rows == [["Graz", "Austria", "291"], ["Turku", "", "197"]]


def test_words_of_a_slanted_picture_share_their_line():
    """Boxes are turned straight before lines are made."""
    slanted = [
        Seen("LEFT SIDE", [(0, 0), (200, 20), (198, 40), (-2, 20)], 0.9),
        Seen("RIGHT SIDE", [(600, 60), (800, 80), (798, 100), (598, 80)], 0.7),
    ]
    [line] = group_lines(turn_upright(slanted))
    assert [(word.text, word.score) for word in line.words] == [("LEFT SIDE", 0.9), ("RIGHT SIDE", 0.7)]
