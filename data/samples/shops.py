"""The shops, all of them invented, and what was bought there."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sale import Item, Sale, Words


def _items(*lines: str, places: int = 2) -> tuple[Item, ...]:
    """Read lines of `name | price | quantity`; the quantity may be left out."""
    items = []
    for line in lines:
        name, price, quantity = [*(part.strip() for part in line.split("|")), "1"][:3]
        items.append(Item(name, Decimal(price), Decimal(quantity), places))
    return tuple(items)


_FIVE_CENTS = Decimal("0.05")
_GERMAN = Words(
    title="KASSENBON",
    date="Datum",
    subtotal="Zwischensumme",
    total="SUMME",
    paid="Bar",
    change="Rueckgeld",
    columns=("Artikel", "Menge", "Preis", "Betrag"),
)

KOPITIAM = Sale(
    company="KEDAI KOPI HUP LIM SDN BHD",
    address=("NO. 18, JALAN MELATI 3,", "TAMAN SERI INDAH,", "81100 JOHOR BAHRU, JOHOR"),
    header=("(Co. No. 498127-K)", "TEL: 07-555 0142"),
    day=date(2018, 3, 13),
    day_format="%d %b %Y 12:41",
    details=(("", "TABLE 07"), ("Cashier", "MEI LING")),
    currency="MYR",
    mark="RM",
    items=_items("NASI LEMAK AYAM | 8.50", "KOPI O PANAS | 2.10 | 2", "ROTI BAKAR SET | 4.80", "TELUR SEPARUH | 3.60"),
    tax_name="GST",
    tax_rate=Decimal("0.06"),
    tax_included=True,
    step=_FIVE_CENTS,
    paid=Decimal("50.00"),
)
DINER = Sale(
    company="Blue Heron Diner",
    address=("2417 Harbor Street,", "Portland, OR 97209"),
    header=("503-555-0187",),
    day=date(2019, 3, 5),
    day_format="Mar 5, 2019 7:52 PM",
    details=(("", "Check 4471"), ("Server", "Dana")),
    currency="USD",
    mark="$",
    items=_items("Cheeseburger | 13.50", "Turkey Club | 12.75", "Iced Tea | 3.25 | 2", "Key Lime Pie | 6.95"),
    layout="names",
    words=Words(title="GUEST CHECK", paid="Visa **** 2210"),
    tax_name="Sales Tax",
    tax_rate=Decimal("0.0825"),
    paid=Decimal("42.98"),
    footer=("Thanks for stopping by!",),
)
MARKT = Sale(
    company="FRISCHMARKT LINDENHOF",
    address=("Lindenstr. 44", "50674 Koeln"),
    header=("Tel. 0221 / 555 01 77",),
    day=date(2018, 12, 22),
    day_format="%d.%m.%Y 17:08",
    details=(("", "Kasse 3"),),
    currency="EUR",
    mark="EUR",
    items=_items(
        "Vollkornbrot 750g | 2.79",
        "Bio Milch 3,5% | 1.19 | 3",
        "Butter | 2.29",
        "Tomaten lose | 3.49 | 0.842",
        "Apfelsaft 1L | 1.89 | 2",
        "Filterkaffee 500g | 6.49",
    ),
    layout="two-lines",
    words=_GERMAN,
    tax_name="MwSt",
    tax_rate=Decimal("0.07"),
    tax_included=True,
    paid=Decimal("30.00"),
    footer=("Vielen Dank fuer Ihren Einkauf",),
    comma=True,
)
CAFE = Sale(
    company="The Copper Kettle",
    address=("9 Minster Yard", "York YO1 7HH"),
    header=("VAT No. 812 4471 09",),
    day=date(2019, 3, 22),
    day_format="%d %b %y 10:15",
    details=(("", "Till 1"),),
    currency="GBP",
    mark="GBP",
    items=_items("Flat White | 3.20 | 2", "Fruit Scone | 2.95", "Soup of the Day | 5.80", "Sparkling Water | 1.90"),
    tax_name="VAT",
    tax_rate=Decimal("0.20"),
    tax_included=True,
    paid=Decimal("20.00"),
)
GROCERY = Sale(
    company="PASARAYA SINAR JAYA",
    address=("LOT 22, JALAN PERDANA 5/1,", "BANDAR BARU PERDANA,", "43000 KAJANG, SELANGOR"),
    header=("(Co. No. 771204-T)", "GST ID: 001284771840"),
    day=date(2017, 8, 16),
    day_format="%d/%m/%Y 20:33",
    details=(("", "POS 04"), ("Receipt No", "A04-118827"), ("Cashier", "NURUL")),
    currency="MYR",
    mark="RM",
    items=_items(
        "BERAS WANGI 5KG | 26.90", "MINYAK MASAK 2KG | 12.40", "GULA PASIR 1KG | 2.85 | 2", "TEPUNG GANDUM 1KG | 2.60",
        "SUSU PEKAT 500G | 3.15 | 3", "TEH BUNGKUS 100S | 8.90", "KOPI SERBUK 500G | 11.50", "BISKUT KELAPA | 4.20 | 2",
        "SARDIN TIN 425G | 7.35 | 2", "KICAP MANIS 650ML | 5.70", "SOS CILI 500G | 4.95", "SOS TOMATO 485G | 4.60",
        "MEE SEGERA AYAM | 4.79 | 4", "MIHUN KERING | 3.20", "TELUR GRED B 30S | 11.80", "ROTI SANDWICH | 3.40 | 2",
        "MENTEGA 250G | 8.95", "KEJU KEPING 12S | 9.60", "YOGURT STRAWBERI | 2.30 | 4", "SUSU SEGAR 2L | 13.20",
        "JUS OREN 1L | 6.45", "AIR MINERAL 1.5L | 1.80 | 6", "PISANG MAS | 4.50", "EPAL HIJAU 6S | 7.90",
        "OREN MANDARIN | 8.40", "TEMBIKAI | 9.75", "BAWANG BESAR 1KG | 3.60", "BAWANG PUTIH | 4.10",
        "KENTANG 1KG | 3.90", "LOBAK MERAH | 2.70", "TOMATO | 3.30", "CILI MERAH | 4.85",
        "SAYUR SAWI | 2.20 | 2", "KACANG PANJANG | 2.50", "AYAM BERSIH | 16.80", "IKAN KEMBUNG | 12.95",
        "DAGING KISAR 500G | 14.30", "TAUHU PUTIH | 1.60 | 3", "SABUN BASUH 3KG | 21.90", "PENCUCI PINGGAN | 5.25",
        "TISU MUKA 4S | 9.99", "UBAT GIGI 175G | 7.45", "SYAMPU 650ML | 15.90", "BERUS GIGI 3S | 8.80",
        "BEG PLASTIK | 0.20 | 5",
    ),
    words=Words(title="TAX INVOICE"),
    tax_name="GST",
    tax_rate=Decimal("0.06"),
    tax_included=True,
    step=_FIVE_CENTS,
    paid=Decimal("400.00"),
    footer=("GOODS SOLD ARE NOT RETURNABLE", "TERIMA KASIH", "SILA DATANG LAGI"),
)  # fmt: skip
HARDWARE = Sale(
    company="SENTOSA HARDWARE TRADING",
    address=("NO. 53, JALAN BESAR,", "45600 BATANG BERJUNTAI,", "SELANGOR DARUL EHSAN"),
    header=("(SA0098112-P)", "GST ID: 000447120384"),
    day=date(2018, 1, 29),
    day_format="%d/%m/%Y",
    details=(("", "CS-20187"),),
    currency="MYR",
    mark="RM",
    items=_items(
        "PVC PIPE 25MM | 9.80 | 4", "PVC ELBOW 25MM | 1.20 | 10", "SOLVENT CEMENT | 8.50", "BRASS TAP 15MM | 24.90 | 2",
        "THREAD TAPE | 0.90 | 6", "WALL PLUG 50S | 4.40", "CORDLESS DRILL 12V | 189.00",
    ),
    words=Words(title="CASH SALE"),
    tax_name="GST",
    tax_rate=Decimal("0.06"),
    step=_FIVE_CENTS,
    paid=Decimal("350.00"),
    footer=("RECEIVED IN GOOD ORDER",),
)  # fmt: skip
STATIONERY = Sale(
    company="PAPER CRANE BOOKS",
    address=("21 Orchard Lane #02-14", "Singapore 238801"),
    header=("GST Reg. No. 201144871K",),
    day=date(2018, 12, 25),
    day_format="%Y-%m-%d 15:20",
    details=(("", "POS 2"),),
    currency="SGD",
    mark="S$",
    items=_items(
        "Notebook A5 dotted | 6.90 | 3", "Gel pen 0.5 black | 2.40 | 5", "Sketch pad A3 | 14.50", "Washi tape | 3.20 | 2",
        "The Lighthouse Atlas | 32.00",
    ),
    layout="two-lines",
    words=Words(paid="NETS"),
    tax_name="GST",
    tax_rate=Decimal("0.07"),
    tax_included=True,
    paid=Decimal("85.60"),
    footer=("Exchange within 14 days", "with this receipt"),
)  # fmt: skip
PHARMACY = Sale(
    company="GREENLEAF PHARMACY",
    address=("B-12, SUNWAY ARCADE,", "47500 SUBANG JAYA, SELANGOR"),
    day=date(2017, 6, 19),
    day_format="%d/%m/%y 18:02",
    details=(("", "Inv 66120"),),
    currency="MYR",
    mark="RM",
    items=_items("PARACETAMOL 500MG | 6.90", "VITAMIN C 1000MG | 24.50", "PLASTERS 20S | 4.95"),
    step=_FIVE_CENTS,
    paid=Decimal("40.00"),
)
FUEL = Sale(
    company="NORTHGATE FUEL STATION",
    address=("1180 Route 9,", "Albany, NY 12205"),
    day=date(2018, 5, 28),
    day_format="%m/%d/%Y 08:14",
    details=(("", "PUMP 06"),),
    currency="USD",
    mark="USD",
    items=(Item("UNLEADED PLUS", Decimal("3.199"), Decimal("11.482")), Item("COFFEE LARGE", Decimal("2.49"))),
    layout="two-lines",
    words=Words(title="SALE", paid="CREDIT"),
    paid=Decimal("39.22"),
    footer=("APPROVED 004417", "HAVE A SAFE TRIP"),
)
TAXI = Sale(
    company="CITY CAB ZURICH AG",
    address=("Bahnhofplatz 2, 8001 Zurich",),
    day=date(2019, 7, 4),
    day_format="%d.%m.%Y 23:47",
    details=(("", "Wagen 218"),),
    currency="CHF",
    mark="CHF",
    items=_items("Grundtaxe | 8.00", "Fahrt 7.4 km | 29.60", "Wartezeit | 3.40", "Nachtzuschlag | 5.00"),
    layout="names",
    words=Words(title="QUITTUNG", date="Datum", subtotal="Zwischentotal", total="TOTAL", paid="Karte"),
    paid=Decimal("46.00"),
    footer=("Gute Fahrt!",),
)
RAMEN = Sale(
    company="RAMEN KAZE",
    address=("2-14-8 Kanda,", "Chiyoda-ku, Tokyo 101-0047"),
    day=date(2019, 11, 3),
    day_format="%Y/%m/%d 19:36",
    details=(("", "No. 0231"),),
    currency="JPY",
    mark="JPY",
    items=_items("Shoyu Ramen | 980 | 2", "Gyoza 6 pcs | 450", "Draft Beer | 580 | 2", places=0),
    tax_name="TAX",
    tax_rate=Decimal("0.10"),
    paid=Decimal(5000),
    footer=("Arigato gozaimasu",),
)
CURRY = Sale(
    company="SPICE ROUTE RESTAURANT",
    address=("14 M.G. Road,", "Bengaluru 560001"),
    header=("GSTIN 29AABCS1429B1Z4",),
    day=date(2018, 6, 29),
    day_format="%d-%b-%Y 21:10",
    details=(("", "Table 12"), ("Bill No", "SR/1184")),
    currency="INR",
    mark="Rs.",
    items=_items(
        "Paneer Tikka | 320.00", "Butter Naan | 65.00 | 4", "Dal Makhani | 285.00", "Mango Lassi | 120.00 | 2"
    ),
    words=Words(title="TAX INVOICE", service="Service Chg"),
    service_rate=Decimal("0.05"),
    tax_name="GST",
    tax_rate=Decimal("0.05"),
    step=Decimal(1),
    paid=Decimal("1500.00"),
)
BAKERY = Sale(
    company="MORNING CRUST BAKERY",
    address=("LOT 3, JALAN PELITA 23/1,", "40300 SHAH ALAM, SELANGOR"),
    header=("GST ID: 000381399040",),
    day=date(2017, 10, 11),
    day_format="%d/%m/%Y 06:55",
    details=(("", "Route 7712"), ("Invoice", "7712F714")),
    currency="MYR",
    mark="RM",
    items=_items(
        "WHITE LOAF 400G | 2.64 | 5", "WHOLEMEAL 400G | 3.21 | 4", "RAISIN BUN | 0.78 | 12", "CREAM ROLL | 0.84 | 10",
        "BURGER BUN 6S | 2.78 | 3",
    ),
    words=Words(title="TAX INVOICE"),
    tax_name="GST",
    tax_rate=Decimal("0.06"),
    tax_included=True,
    paid=Decimal("52.14"),
    footer=("SIGNATURE: ______________",),
)  # fmt: skip
BISTRO = Sale(
    company="Bistro Chez Colette",
    address=("12 rue des Lilas", "69003 Lyon"),
    day=date(2019, 9, 14),
    day_format="%d/%m/%Y 13:27",
    details=(("", "Table 4"), ("Couverts", "2")),
    currency="EUR",
    mark="EUR",
    items=_items("Plat du jour | 14.90 | 2", "Tarte Tatin | 7.50", "Carafe de vin | 11.00", "Cafe | 2.20 | 2"),
    words=Words(
        title="ADDITION", subtotal="Sous-total", total="TOTAL", paid="CB", columns=("Article", "Qte", "Prix", "Total")
    ),
    tax_name="TVA",
    tax_rate=Decimal("0.10"),
    tax_included=True,
    paid=Decimal("52.70"),
    footer=("Merci de votre visite",),
    comma=True,
)
MUSEUM = Sale(
    company="HARBOUR MUSEUM SHOP",
    address=("Pier 4, Albert Dock", "Liverpool L3 4AF"),
    day=date(2018, 9, 9),
    day_format="%d-%m-%y",
    details=(("", "Till 2"),),
    currency="GBP",
    mark="GBP",
    items=_items("Postcard set | 4.50 | 2", "Tea towel ships | 9.95", "Model kit tug | 18.00"),
    layout="names",
    words=Words(paid="Contactless"),
    paid=Decimal("36.95"),
)
MINIMART = Sale(
    company="KEDAI RUNCIT AMAN",
    address=("379, JALAN PERMATA 1,", "81750 MASAI, JOHOR"),
    day=date(2018, 3, 22),
    day_format="%d %b %y",
    details=(("", "BIL 00871"),),
    currency="MYR",
    mark="RM",
    items=_items("MILO KOTAK | 2.30 | 4", "ROTI CANAI BEKU | 8.90", "AIS KRIM | 3.20 | 2"),
    layout="two-lines",
    words=Words(title="RESIT", subtotal="JUMLAH KECIL", total="JUMLAH", paid="TUNAI", change="BAKI"),
    paid=Decimal("30.00"),
    footer=("TERIMA KASIH",),
)
SATAY = Sale(
    company="SATAY CORNER MUTIARA",
    address=("G-7, PLAZA MUTIARA,", "50490 KUALA LUMPUR"),
    header=("TEL: 03-5550 1187",),
    day=date(2019, 4, 27),
    day_format="%d-%m-%Y 20:18",
    details=(("", "TABLE 21"), ("Pax", "4")),
    currency="MYR",
    mark="RM",
    items=_items("SATAY AYAM | 1.20 | 20", "SATAY DAGING | 1.40 | 10", "KETUPAT | 2.50 | 4", "TEH TARIK | 3.20 | 4"),
    service_rate=Decimal("0.10"),
    tax_name="SST",
    tax_rate=Decimal("0.06"),
    step=_FIVE_CENTS,
    paid=Decimal("100.00"),
)
