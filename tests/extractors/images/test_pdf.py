"""pdf.py: a PDF's pages, their sizes and their pixels; what cannot be opened; and one thread at a time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import ImageChops
from pydantic import SecretStr

from extractors.core.errors import DocumentError
from extractors.core.tiles import Size
from extractors.images.pdf import LONGEST, is_pdf, open_pdf
from extractors.images.pdf_content import UNDRAWN

A4 = Size(1653, 2339)
FIELD = "<</Type/Annot/Subtype/Widget/FT/Tx/T(total)/V(8.20)/DA(/F 12 Tf 0 g)/Rect[20 20 280 60]/F 4>>"


def sizes(data):
    """The size of every page."""
    with open_pdf(data, "bill") as document:
        return [document.measure(number) for number in range(1, document.pages + 1)]


def scan(pdf, box, width, height, *, pieces=1, share=1.0):
    """A page with an image of this many pixels, or one below the other, over a share of each side of the page."""
    right, top = (float(side) for side in box.split()[2:])
    image = f"<</Type/XObject/Subtype/Image/Width {width}/Height {height}/ColorSpace/DeviceGray/BitsPerComponent 8"
    image = f"{image}/Length 1>>stream\n0\nendstream"
    high = top * share / pieces
    places = " ".join(f"q {right * share} 0 0 {high} 0 {high * piece} cm /I Do Q" for piece in range(pieces))
    form = (
        f"<</Type/XObject/Subtype/Form/BBox[0 0 {right} {top}]/Resources<</XObject<</I 4 0 R>>>>/Length {len(places)}>>"
    )
    form = f"{form}stream\n{places}\nendstream"
    page = f"<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Resources<</XObject<</F 5 0 R>>>>/Contents 6 0 R>>"
    data = pdf("", objects=[image.encode(), form.encode(), b"<</Length 5>>stream\n/F Do\nendstream", page.encode()])
    return data.replace(b"/Kids[8 0 R]", b"/Kids[7 0 R]")


def read_notes(data, number=1):
    """What is noted of a page's text."""
    with open_pdf(data, "bill") as document:
        return document.find_undrawn(number, document.measure(number))


def write_text(pdf, font, words, *, more=""):
    """A page that shows words in another font, which is not embedded."""
    fonts = f"/Resources<</Font<</F 3 0 R/C {font}>>>>"
    text = f"BT {more} /C 24 Tf 20 40 Td {words} Tj ET"
    page = f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 100]{fonts}/Contents 4 0 R>>"
    content = f"<</Length {len(text)}>>stream\n{text}\nendstream"
    return pdf("", objects=[content.encode(), page.encode()]).replace(b"/Kids[6 0 R]", b"/Kids[5 0 R]")


CHINESE = (
    "<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H/DescendantFonts[<</Type/Font"
    "/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>>>]>>"
)
HELVETICA = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def drawn(data, number=1, size=A4):
    """One page's pixels."""
    with open_pdf(data, "prepare") as document:
        return document.render(number, size)


def dark(picture):
    """Where something is drawn: left, top, right, bottom."""
    return picture.convert("L").point(lambda value: 255 * (value < 128)).getbbox()


def refusal(data):
    """Kind, stage and finality of what opening these bytes ends in."""
    with pytest.raises(DocumentError) as raised, open_pdf(data, "bill"):
        pass
    return raised.value.kind, raised.value.stage, raised.value.final


def test_a_page_has_its_size_at_200_dots_an_inch(pdf):
    """A4 is 210 x 297 mm."""
    assert sizes(pdf("one", "two")) == [A4, A4]


def test_a_turned_page_has_its_upright_size(pdf):
    """/Rotate swaps the sides, in size and in pixels."""
    turned = pdf("one", more="/Rotate 90")
    assert sizes(turned) == [Size(2339, 1653)]
    left, top, right, bottom = dark(drawn(turned, size=Size(842, 595)))
    assert right - left < bottom - top  # the text runs from top to bottom
    assert top < 100


def test_the_crop_box_is_what_is_seen(pdf):
    """What a printer would cut off is neither counted nor drawn."""
    cropped = pdf("one", more="/CropBox[0 300 360 660]")
    assert sizes(cropped) == [Size(2240, 2240)]
    assert dark(drawn(cropped, size=Size(360, 360))) is None


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ("0 0 14400 14400", Size(LONGEST, LONGEST)),
        ("0 0 14400 1", Size(LONGEST, 1)),
        ("0 0 0.1 0.1", Size(2240, 2240)),
        ("0 0 0 0", Size(1731, 2240)),
    ],
    ids=["poster", "line", "dot", "none"],
)
def test_an_odd_page_has_a_size_that_can_be_drawn(pdf, box, size):
    """A page without a size is what PDFium takes for one: letter."""
    assert sizes(pdf("one", box=box)) == [size]


def test_a_scan_has_the_size_of_its_image(pdf):
    """However large or small the page is said to be."""
    assert sizes(scan(pdf, "0 0 595 842", 3000, 4243)) == [Size(2999, 4244)]
    assert sizes(scan(pdf, "0 0 72 96", 1500, 2000)) == [Size(1500, 2000)]
    assert sizes(scan(pdf, "0 0 1800 2400", 900, 1200)) == [Size(900, 1200)]


def test_strips_that_fill_the_page_are_one_scan(pdf):
    """Scanners cut an image into pieces, none of which fills the page."""
    assert sizes(scan(pdf, "0 0 100 300", 1000, 1000, pieces=3)) == [Size(1000, 3000)]


def test_a_logo_does_not_decide_the_size_of_its_page(pdf):
    """A letter with a large image in a corner is drawn at 200 dpi."""
    assert sizes(scan(pdf, "0 0 595 842", 4000, 4000, share=0.2)) == [A4]


def test_a_scan_of_absurd_resolution_is_capped(pdf):
    """Its longest side, and its area."""
    assert sizes(scan(pdf, "0 0 100 100", 60_000, 60_000)) == [Size(LONGEST, LONGEST)]


def test_a_page_without_area_is_broken(pdf):
    """A crop box beside the page leaves nothing to see."""
    with pytest.raises(DocumentError, match="the page has no area") as raised:
        sizes(pdf("one", more="/CropBox[5000 5000 5001 5001]"))
    assert (raised.value.kind, raised.value.stage, raised.value.final) == ("unreadable", "bill", True)


def test_a_missing_page_is_broken_alone(pdf):
    """The pages beside it are what they are."""
    data = pdf("one", None, "three")
    with open_pdf(data, "bill") as document:
        assert (document.pages, document.measure(1), document.measure(3)) == (3, A4, A4)
        with pytest.raises(DocumentError, match="the page cannot be opened"):
            document.measure(2)
    with pytest.raises(DocumentError, match="the page cannot be opened"):
        drawn(data, 2)


@pytest.mark.parametrize("size", [Size(791, 1119), Size(1, 1), Size(101, 7), Size(33, 500)])
def test_a_page_is_drawn_at_exactly_the_size_wanted(pdf, size):
    """No pixel more or less, whatever rows PDFium would pad."""
    picture = drawn(pdf("one"), size=size)
    assert (picture.size, picture.mode) == (tuple(size), "RGB")


def test_a_page_is_drawn_upright_on_white(pdf):
    """Text that stands at the foot of the page is at the foot of the picture."""
    picture = drawn(pdf("one"), size=Size(595, 842))
    left, top, right, bottom = dark(picture)
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert (35 < left < 50, 740 < top < 770, right < 140, 770 < bottom < 800) == (True,) * 4


def test_each_page_is_drawn_for_itself(pdf):
    """Page 2 is not page 1."""
    data = pdf("one", "twotwo")
    assert dark(drawn(data, 1, Size(595, 842))) != dark(drawn(data, 2, Size(595, 842)))


def test_what_is_filled_into_a_form_is_drawn(pdf):
    """Fields are no part of a page, but of what a person reads on it."""
    form = pdf(
        "", box="0 0 300 200", more="/Annots[4 0 R]", catalog="/AcroForm<</Fields[4 0 R]>>", objects=[FIELD.encode()]
    )
    assert dark(drawn(form, size=Size(300, 200))) is not None


@pytest.mark.parametrize("length", [5, 20, 300])
def test_a_pdf_cut_short_is_refused_for_good(pdf, length):
    """Without its end nobody knows where its pages are."""
    assert refusal(pdf("one")[:length]) == ("unreadable", "bill", True)


def test_a_pdf_without_pages_is_empty(pdf):
    """It is whole, and there is nothing in it."""
    assert refusal(pdf()) == ("empty", "bill", True)


def test_a_pdf_with_an_unknown_password_is_refused(pdf):
    """Not for good: the password may be set for the next run."""
    assert refusal(pdf("one", password="secret")) == ("password", "bill", False)


@pytest.mark.parametrize("password", ["secret", "gehüpft"])
def test_a_pdf_is_opened_with_one_of_the_passwords(pdf, password):
    """They are tried in turn."""
    passwords = [SecretStr("wrong"), SecretStr(password)]
    with open_pdf(pdf("one", password=password), "bill", passwords) as document:
        assert document.pages == 1


def test_a_pdf_encrypted_without_a_password_is_read(pdf):
    """Many are: it keeps from editing, not from reading."""
    locked, free = pdf("one", password=""), pdf("one")
    assert sizes(locked) == [A4]
    assert ImageChops.difference(drawn(locked), drawn(free)).getbbox() is None


def test_a_pdf_that_failed_leaves_the_way_free(pdf):
    """Whatever was wrong with one, the next is opened."""
    for broken in (pdf(), pdf("one", password="secret"), b"%PDF-1.4", pdf(None)):
        with pytest.raises(DocumentError):
            sizes(broken)
    assert sizes(pdf("one")) == [A4]


def test_threads_wait_for_each_other(pdf):
    """Every thread draws what it would draw alone: PDFium itself would crash or mix them up."""
    data = [pdf(f"page {number}") for number in range(8)]
    alone = [drawn(each, size=Size(300, 400)).tobytes() for each in data]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda each: drawn(each, size=Size(300, 400)).tobytes(), data * 20))
    assert together == alone * 20


@pytest.mark.parametrize(
    ("head", "is_one"),
    [
        (b"%PDF-1.7\n", True),
        (b"\n\n  %PDF-1.4", True),
        (b"x" * 1019 + b"%PDF-", True),
        (b"x" * 1020 + b"%PDF-", False),
        (b"\xff\xd8\xff\xe1 a camera's note: %PDF-1.4", False),
        (b"\x89PNG\r\n\x1a\n tEXt %PDF-", False),
        (b"", False),
        (b"%!PS-Adobe", False),
    ],
)
def test_a_pdf_is_known_by_its_first_bytes(head, is_one):
    """Mail servers put lines before it; in a picture's metadata the same letters mean nothing."""
    assert is_pdf(head) is is_one


def test_text_in_a_font_that_is_not_there_is_noted(pdf):
    """Nothing of a Chinese page is drawn where neither file nor machine has the font: the note names it."""
    note = read_notes(write_text(pdf, CHINESE, "<53D1 7968 91D1 989D>".replace(" ", "")))
    assert UNDRAWN in note
    assert "STSong-Light" in note


def test_text_beside_other_ink_is_noted_too(pdf):
    """Digits of the same page may be drawn."""
    note = read_notes(write_text(pdf, CHINESE, "<53D1796891D1989D> Tj /F 24 Tf (1200)"))
    assert "STSong-Light" in note


@pytest.mark.parametrize(("words", "more"), [("(Total)", ""), ("( )", ""), ("(Total)", "3 Tr")])
def test_text_that_is_drawn_or_meant_to_be_invisible_is_not_noted(pdf, words, more):
    """The standard fonts need not be embedded; what a scanner recognized lies invisible over its image."""
    assert read_notes(write_text(pdf, HELVETICA, words, more=more)) is None


def test_white_text_on_white_is_noted(pdf):
    """A page with text of which nothing is seen."""
    assert UNDRAWN in read_notes(write_text(pdf, HELVETICA, "(Total)", more="1 g"))


@pytest.mark.parametrize("needs", ["/NeedsRendering true", ""])
def test_a_form_of_another_viewer_is_rejected(pdf, needs):
    """Its pages say nothing but that another program is needed."""
    xfa = b"<</Length 10>>stream\n<xdp></xdp>\nendstream"
    form = pdf("Please wait...", objects=[xfa], catalog=f"/AcroForm<</Fields[]/XFA 4 0 R>>{needs}")
    assert refusal(form) == ("viewer_only", "bill", True)


def test_a_form_that_has_pages_as_well_is_read(pdf):
    """Many XFA forms carry their pages for other viewers."""
    xfa = b"<</Length 10>>stream\n<xdp></xdp>\nendstream"
    assert sizes(pdf("Invoice", objects=[xfa], catalog="/AcroForm<</Fields[]/XFA 4 0 R>>")) == [A4]


def test_attachments_are_described(pdf):
    """A portfolio's documents are not its pages."""
    names = "/Names<</EmbeddedFiles<</Names[(a.pdf) 4 0 R]>>>>/Collection<</Type/Collection>>"
    spec = b"<</Type/Filespec/F(a.pdf)/UF(a.pdf)/EF<</F 5 0 R>>>>"
    data = pdf("cover", objects=[spec, b"<</Type/EmbeddedFile/Length 1>>stream\nx\nendstream"], catalog=names)
    with open_pdf(data, "bill") as document:
        assert document.describe_attachments() == "1 attachments of the PDF are not read: a.pdf"
    with open_pdf(pdf("cover"), "bill") as document:
        assert document.describe_attachments() is None


@pytest.mark.parametrize("passwords", [("secret",), ("wrong", "secret", "other")])
def test_passwords_are_tried_in_turn(pdf, passwords):
    """The first that fits opens the document."""
    data = pdf("one", password="secret")
    with open_pdf(data, "bill", [SecretStr(each) for each in passwords]) as document:
        assert document.pages == 1
    with pytest.raises(DocumentError, match="password"), open_pdf(data, "bill", [SecretStr("wrong")]):
        pass


@pytest.mark.parametrize("words", ["", "BT /F 24 Tf 20 40 Td (text) Tj ET"])
def test_a_page_that_is_blank_for_its_broken_image_is_rejected(pdf, words):
    """PDFium draws nothing where an image cannot be decoded; with other ink the page is sent."""
    image = (
        b"<</Type/XObject/Subtype/Image/Width 40/Height 40/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/DCTDecode"
    )
    content = f"q 400 0 0 100 0 0 cm /I Do Q {words}"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 100]/Resources<</XObject<</I 4 0 R>>/Font<</F 3 0 R>>>>/Contents 5 0 R>>"
    stream = f"<</Length {len(content)}>>stream\n{content}\nendstream"
    objects = [image + b"/Length 6>>stream\nbroken\nendstream", stream.encode(), page]
    data = pdf("", objects=objects).replace(b"/Kids[7 0 R]", b"/Kids[6 0 R]")
    if words:
        assert dark(drawn(data, size=Size(400, 100)))
    else:
        with pytest.raises(DocumentError, match="shows an image that cannot be decoded"):
            drawn(data, size=Size(400, 100))
