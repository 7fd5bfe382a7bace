"""pdf.py: the pages of a PDF, their sizes and pixels, files that cannot be opened, and use from several threads."""

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


def list_sizes(data):
    """The size of every page."""
    with open_pdf(data, "bill") as document:
        return [document.measure(number) for number in range(1, document.pages + 1)]


def make_scan(pdf, box, width, height, *, pieces=1, share=1.0):
    """A page with one image of this many pixels, or several below each other, over this share of each side of the page."""
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
    """The note about the text of a page."""
    with open_pdf(data, "bill") as document:
        return document.find_undrawn(number, document.measure(number))


def write_text(pdf, font, words, *, more=""):
    """A page with text in a font that is not embedded."""
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


def draw(data, number=1, size=A4):
    """The pixels of one page."""
    with open_pdf(data, "prepare") as document:
        return document.render(number, size)


def find_dark(picture):
    """The bounding box of dark pixels: left, top, right, bottom."""
    return picture.convert("L").point(lambda value: 255 * (value < 128)).getbbox()


def read_refusal(data):
    """The kind, stage and finality of the error that opening these bytes raises."""
    with pytest.raises(DocumentError) as raised, open_pdf(data, "bill"):
        pass
    return raised.value.kind, raised.value.stage, raised.value.final


def test_page_has_its_size_at_200_dpi(pdf):
    """A4 is 210 x 297 mm."""
    assert list_sizes(pdf("one", "two")) == [A4, A4]


def test_rotated_page_has_its_upright_size_and_pixels(pdf):
    turned = pdf("one", more="/Rotate 90")
    assert list_sizes(turned) == [Size(2339, 1653)]
    left, top, right, bottom = find_dark(draw(turned, size=Size(842, 595)))
    assert right - left < bottom - top  # the text runs from top to bottom
    assert top < 100


def test_page_is_cropped_to_its_crop_box(pdf):
    """Size and pixels are those of the crop box."""
    cropped = pdf("one", more="/CropBox[0 300 360 660]")
    assert list_sizes(cropped) == [Size(2240, 2240)]
    assert find_dark(draw(cropped, size=Size(360, 360))) is None


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
def test_page_of_an_odd_size_has_a_size_within_the_limits(pdf, box, size):
    """PDFium takes letter for a page without a size."""
    assert list_sizes(pdf("one", box=box)) == [size]


def test_scan_has_the_size_of_its_image(pdf):
    """The page may be larger or smaller."""
    assert list_sizes(make_scan(pdf, "0 0 595 842", 3000, 4243)) == [Size(2999, 4244)]
    assert list_sizes(make_scan(pdf, "0 0 72 96", 1500, 2000)) == [Size(1500, 2000)]
    assert list_sizes(make_scan(pdf, "0 0 1800 2400", 900, 1200)) == [Size(900, 1200)]


def test_image_strips_that_fill_the_page_are_one_scan(pdf):
    """Some scanners cut an image into strips."""
    assert list_sizes(make_scan(pdf, "0 0 100 300", 1000, 1000, pieces=3)) == [Size(1000, 3000)]


def test_page_with_a_large_image_in_a_corner_has_its_size_at_200_dpi(pdf):
    assert list_sizes(make_scan(pdf, "0 0 595 842", 4000, 4000, share=0.2)) == [A4]


def test_scan_of_too_high_resolution_is_capped(pdf):
    assert list_sizes(make_scan(pdf, "0 0 100 100", 60_000, 60_000)) == [Size(LONGEST, LONGEST)]


def test_page_without_area_is_an_error(pdf):
    """Its crop box lies outside the page."""
    with pytest.raises(DocumentError, match="the page has no area") as raised:
        list_sizes(pdf("one", more="/CropBox[5000 5000 5001 5001]"))
    assert (raised.value.kind, raised.value.stage, raised.value.final) == ("unreadable", "bill", True)


def test_missing_page_is_an_error_of_that_page_only(pdf):
    data = pdf("one", None, "three")
    with open_pdf(data, "bill") as document:
        assert (document.pages, document.measure(1), document.measure(3)) == (3, A4, A4)
        with pytest.raises(DocumentError, match="the page cannot be opened"):
            document.measure(2)
    with pytest.raises(DocumentError, match="the page cannot be opened"):
        draw(data, 2)


@pytest.mark.parametrize("size", [Size(791, 1119), Size(1, 1), Size(101, 7), Size(33, 500)])
def test_page_is_drawn_at_exactly_the_requested_size(pdf, size):
    """PDFium may pad rows."""
    picture = draw(pdf("one"), size=size)
    assert (picture.size, picture.mode) == (tuple(size), "RGB")


def test_page_is_drawn_upright_on_white(pdf):
    """Text at the foot of the page is at the foot of the picture."""
    picture = draw(pdf("one"), size=Size(595, 842))
    left, top, right, bottom = find_dark(picture)
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert (35 < left < 50, 740 < top < 770, right < 140, 770 < bottom < 800) == (True,) * 4


def test_pages_are_drawn_separately(pdf):
    data = pdf("one", "twotwo")
    assert find_dark(draw(data, 1, Size(595, 842))) != find_dark(draw(data, 2, Size(595, 842)))


def test_form_field_value_is_drawn(pdf):
    """A field is not part of the page's content, but a person reads it."""
    form = pdf(
        "", box="0 0 300 200", more="/Annots[4 0 R]", catalog="/AcroForm<</Fields[4 0 R]>>", objects=[FIELD.encode()]
    )
    assert find_dark(draw(form, size=Size(300, 200))) is not None


@pytest.mark.parametrize("length", [5, 20, 300])
def test_cut_pdf_is_refused_finally(pdf, length):
    """The index of its pages is at its end."""
    assert read_refusal(pdf("one")[:length]) == ("unreadable", "bill", True)


def test_pdf_without_pages_is_refused_as_empty(pdf):
    assert read_refusal(pdf()) == ("empty", "bill", True)


def test_pdf_with_an_unknown_password_is_refused_not_finally(pdf):
    """The password may be set for the next run."""
    assert read_refusal(pdf("one", password="secret")) == ("password", "bill", False)


@pytest.mark.parametrize("password", ["secret", "gehüpft"])
def test_pdf_is_opened_with_one_of_several_passwords(pdf, password):
    passwords = [SecretStr("wrong"), SecretStr(password)]
    with open_pdf(pdf("one", password=password), "bill", passwords) as document:
        assert document.pages == 1


def test_pdf_encrypted_with_an_empty_password_is_read(pdf):
    """Such an encryption prevents editing and not reading."""
    encrypted, plain = pdf("one", password=""), pdf("one")
    assert list_sizes(encrypted) == [A4]
    assert ImageChops.difference(draw(encrypted), draw(plain)).getbbox() is None


def test_pdf_is_opened_after_others_have_failed(pdf):
    for broken in (pdf(), pdf("one", password="secret"), b"%PDF-1.4", pdf(None)):
        with pytest.raises(DocumentError):
            list_sizes(broken)
    assert list_sizes(pdf("one")) == [A4]


def test_threads_draw_the_pages_that_one_thread_draws(pdf):
    """PDFium itself is not thread-safe."""
    data = [pdf(f"page {number}") for number in range(8)]
    expected = [draw(pdf_bytes, size=Size(300, 400)).tobytes() for pdf_bytes in data]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda pdf_bytes: draw(pdf_bytes, size=Size(300, 400)).tobytes(), data * 20))
    assert results == expected * 20


@pytest.mark.parametrize(
    ("head", "expected"),
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
def test_pdf_is_recognized_by_its_first_bytes(head, expected):
    """Text may precede the signature, which has no meaning in the metadata of a picture."""
    assert is_pdf(head) is expected


def test_text_in_a_missing_font_is_noted_with_the_font(pdf):
    """The font is neither embedded nor installed, so its text is not drawn."""
    note = read_notes(write_text(pdf, CHINESE, "<53D1 7968 91D1 989D>".replace(" ", "")))
    assert UNDRAWN in note
    assert "STSong-Light" in note


def test_text_in_a_missing_font_is_noted_on_a_page_with_other_text(pdf):
    note = read_notes(write_text(pdf, CHINESE, "<53D1796891D1989D> Tj /F 24 Tf (1200)"))
    assert "STSong-Light" in note


@pytest.mark.parametrize(("words", "more"), [("(Total)", ""), ("( )", ""), ("(Total)", "3 Tr")])
def test_drawn_and_invisible_texts_are_not_noted(pdf, words, more):
    """Standard fonts need not be embedded, and a scanner puts recognized text invisibly over its image."""
    assert read_notes(write_text(pdf, HELVETICA, words, more=more)) is None


def test_white_text_on_white_is_noted(pdf):
    """Nothing of the text is visible."""
    assert UNDRAWN in read_notes(write_text(pdf, HELVETICA, "(Total)", more="1 g"))


@pytest.mark.parametrize("needs", ["/NeedsRendering true", ""])
def test_xfa_form_without_other_pages_is_refused(pdf, needs):
    """Its page only says that another program is needed."""
    xfa = b"<</Length 10>>stream\n<xdp></xdp>\nendstream"
    form = pdf("Please wait...", objects=[xfa], catalog=f"/AcroForm<</Fields[]/XFA 4 0 R>>{needs}")
    assert read_refusal(form) == ("viewer_only", "bill", True)


def test_xfa_form_with_pages_is_read(pdf):
    xfa = b"<</Length 10>>stream\n<xdp></xdp>\nendstream"
    assert list_sizes(pdf("Invoice", objects=[xfa], catalog="/AcroForm<</Fields[]/XFA 4 0 R>>")) == [A4]


def test_attachments_are_described(pdf):
    """The documents of a portfolio are not its pages."""
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
    with open_pdf(data, "bill", [SecretStr(password) for password in passwords]) as document:
        assert document.pages == 1
    with pytest.raises(DocumentError, match="password"), open_pdf(data, "bill", [SecretStr("wrong")]):
        pass


@pytest.mark.parametrize("words", ["", "BT /F 24 Tf 20 40 Td (text) Tj ET"])
def test_page_that_is_blank_because_of_a_broken_image_is_an_error(pdf, words):
    """PDFium draws nothing for an image that cannot be decoded; a page with other content is sent."""
    image = (
        b"<</Type/XObject/Subtype/Image/Width 40/Height 40/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/DCTDecode"
    )
    content = f"q 400 0 0 100 0 0 cm /I Do Q {words}"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 100]/Resources<</XObject<</I 4 0 R>>/Font<</F 3 0 R>>>>/Contents 5 0 R>>"
    stream = f"<</Length {len(content)}>>stream\n{content}\nendstream"
    objects = [image + b"/Length 6>>stream\nbroken\nendstream", stream.encode(), page]
    data = pdf("", objects=objects).replace(b"/Kids[7 0 R]", b"/Kids[6 0 R]")
    if words:
        assert find_dark(draw(data, size=Size(400, 100)))
    else:
        with pytest.raises(DocumentError, match="shows an image that cannot be decoded"):
            draw(data, size=Size(400, 100))
