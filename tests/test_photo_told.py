"""What a file says beside its pixels: EXIF, XMP, IPTC, texts, resolution; read back by Pillow."""

import io
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import tifffile
from made import colour
from PIL import ExifTags, Image, IptcImagePlugin, PngImagePlugin

from kcolor import __version__, photo
from kcolor.photo import Note, Photograph, exif, xmp

# What Pillow says of files that are broken on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
SAYING_XMP = ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"]
IPTC_RECORDS = b"\x1c\x02\x78" + struct.pack(">H", 9) + b"a caption" + b"\x1c\x02\x50" + struct.pack(">H", 5) + b"Atget"

NS = {
    "rdf": xmp.RDF,
    "k": xmp.KCOLOR,
    "mm": "http://ns.adobe.com/xap/1.0/mm/",
    "ev": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
}

PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Some Scanner 1.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:odd="http://example.org/odd/" xmp:CreatorTool="VueScan" tiff:Orientation="6"
    odd:lines="one&#10;two" odd:quoted="&quot;&lt;&amp;é">
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Rue &amp; ciel, 世界</rdf:li></rdf:Alt></dc:title>
   <xmp:Thumbnails><rdf:Alt><rdf:li>/9j/4AAQ</rdf:li></rdf:Alt></xmp:Thumbnails>
   <!-- a remark -->
  </rdf:Description>
  <rdf:Description rdf:about="uuid:1" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/print</Iptc4xmpExt:DigitalSourceType>
   <xmpMM:History><rdf:Seq><rdf:li stEvt:action="created" stEvt:softwareAgent="VueScan"/></rdf:Seq></xmpMM:History>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
PADDING
<?xpacket end="w"?>""".replace("PADDING", 20 * (100 * " " + "\n")).encode()


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    made = io.BytesIO()
    picture.save(made, kind, **options)
    return made.getvalue()


def full_exif(orientation: int = 6) -> Image.Exif:
    told = Image.Exif()
    told[0x010E], told[0x010F], told[0x8298], told[0x0112] = "a caption", "Rollei", "public domain", orientation
    told.get_ifd(EXIF_IFD).update(
        {0x9003: "1931:05:04 12:00:00", 0xA001: 0xFFFF, 0xA002: 96, 0xA003: 40, 0x927C: b"secret"}
    )
    told.get_ifd(GPS_IFD).update({1: "N", 2: (48.0, 51.0, 24.0)})
    loaded = Image.Exif()  # what TIFF's writer takes the inner directories from
    loaded.load(told.tobytes())
    return loaded


def with_thumbnail(data: bytes, thumbnail: bytes) -> bytes:
    """EXIF with a second directory behind it that points to a thumbnail."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (count,) = struct.unpack(order + "H", data[8:10])
    pointer = 10 + 12 * count
    assert data[pointer : pointer + 4] == bytes(4)
    start = len(data)
    table = struct.pack(order + "HHHLL", 2, 0x0201, 4, 1, start + 30)
    table += struct.pack(order + "HHLL", 0x0202, 4, 1, len(thumbnail)) + bytes(4)
    return data[:pointer] + struct.pack(order + "L", start) + data[pointer + 4 :] + table + thumbnail


def reopened(photograph: Photograph, kind: str, **options) -> Image.Image:
    opened = Image.open(io.BytesIO(photo.encode(photograph, kind, **options)))
    opened.load()
    return opened


# EXIF.


@pytest.mark.parametrize("kind", SAYING_XMP)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_is_kept(source, kind):
    read = photo.decode(saved(colour(96).crop((0, 0, 96, 40)), source, exif=full_exif()), "a")
    assert read.rgb.shape == (96, 40, 3)
    told = reopened(read, kind).getexif()
    assert (told[0x010E], told[0x010F], told[0x8298]) == ("a caption", "Rollei", "public domain")
    assert told.get(0x0112, 1) == 1
    inner = told.get_ifd(EXIF_IFD)
    assert (inner[0x9003], inner[0x927C]) == ("1931:05:04 12:00:00", b"secret")
    assert (inner[0xA001], inner[0xA002], inner[0xA003]) == (1, 40, 96)  # sRGB, and upright
    assert told.get_ifd(GPS_IFD)[2] == (48.0, 51.0, 24.0)


def test_makers_notes_stay_where_their_pointers_find_them():
    data = full_exif().tobytes()
    read = photo.decode(saved(colour(16), "JPEG", exif=data), "a")
    for kind in ("JPEG", "PNG", "WEBP"):
        written = reopened(read, kind).info["exif"].removeprefix(b"Exif\0\0")
        assert written.index(b"secret") == data.removeprefix(b"Exif\0\0").index(b"secret")


def test_the_grey_thumbnail_is_dropped():
    thumbnail = saved(colour(16).convert("L"), "JPEG")
    data = with_thumbnail(full_exif().tobytes()[6:], thumbnail)
    with Image.open(io.BytesIO(saved(colour(16), "JPEG", exif=b"Exif\0\0" + data))) as before:
        assert before.getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(thumbnail)
    read = photo.decode(saved(colour(16), "JPEG", exif=b"Exif\0\0" + data), "a")
    assert thumbnail[:20] not in read.exif
    assert len(read.exif) < len(data) - len(thumbnail) + 1
    for kind in SAYING_XMP:
        written = photo.encode(read, kind)
        assert thumbnail[20:60] not in written
        told = Image.open(io.BytesIO(written)).getexif()
        assert told[0x010E] == "a caption"


@pytest.mark.parametrize("order", "<>")
def test_exif_of_tiff_is_what_it_says_of_the_photo_alone(order):
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), np.uint16)
    told = [(0x010F, "s", 0, "Rollei", True), (0x9C9B, "B", 6, "abc".encode("utf-16le"), True)]
    made = io.BytesIO()
    options = {"description": "a caption", "software": "scan", "extratags": told, "metadata": None}
    tifffile.imwrite(made, values, photometric="rgb", byteorder=order, **options)
    read = photo.decode(made.getvalue(), "a")
    for kind in ("TIFF", "PNG", "JPEG"):
        opened = reopened(read, kind)
        found = opened.getexif()
        assert (found[0x010E], found[0x010F], found[0x0131]) == ("a caption", "Rollei", "scan")
        if kind != "TIFF":
            assert 0x0111 not in found  # where the pixels of another file lie
    again = photo.encode(read, "TIFF")
    assert again[:2] == (b"II" if order == "<" else b"MM")
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(again)), values)
    assert bytes(tifffile.TiffFile(io.BytesIO(again)).pages[0].tags[0x9C9B].value) == "abc".encode("utf-16le")


def test_exif_that_is_too_long_for_a_jpeg_loses_its_large_fields():
    told = full_exif()
    told.get_ifd(EXIF_IFD)[0x927C] = bytes(100_000)
    read = photo.decode(saved(colour(16), "PNG", exif=told), "a")
    assert len(reopened(read, "PNG").getexif().get_ifd(EXIF_IFD)[0x927C]) == 100_000
    found = reopened(read, "JPEG").getexif()
    assert found[0x010E] == "a caption"
    assert found.get_ifd(EXIF_IFD)[0x9003] == "1931:05:04 12:00:00"
    assert 0x927C not in found.get_ifd(EXIF_IFD)


def test_broken_exif_is_left_out_and_never_stops_a_photo():
    whole = with_thumbnail(full_exif().tobytes()[6:], b"thumb" * 20)
    chance = np.random.default_rng(0)
    broken = [whole[:n] for n in range(0, len(whole), 7)]
    for _ in range(300):
        data = bytearray(whole)
        for place in chance.integers(0, len(data), 3):
            data[place] = chance.integers(256)
        broken.append(bytes(data))
    photograph = Photograph(np.zeros((4, 6, 3), np.uint8))
    for data in broken:
        found = exif.clean(b"Exif\0\0" + data, 6, 4)
        assert len(found) <= len(data)
        for kind in ("JPEG", "TIFF", "AVIF", "PNG"):
            photo.encode(Photograph(photograph.rgb, exif=found), kind)
    assert exif.clean(b"no EXIF", 6, 4) == b""
    assert exif.clean(b"", 6, 4) == b""


@pytest.mark.timeout(20)
def test_exif_that_points_to_itself_again_and_again():
    """Followed all the way, it would be read 20,000 times 20,000 times."""
    pointers = struct.pack("<HHLLHHLL", EXIF_IFD, 4, 1, 8, 0xA005, 4, 1, 8)
    data = b"II*\0" + struct.pack("<LH", 8, 40_000) + 20_000 * pointers + bytes(4)
    assert exif.clean(data, 6, 4)
    photo.encode(Photograph(np.zeros((4, 6, 3), np.uint8), exif=data), "TIFF")
    with_orientation = data[:10] + struct.pack("<HHLL", 0x0112, 3, 1, 1) + data[22:]
    assert exif.without_orientation(with_orientation)[8:10] == struct.pack("<H", 39_999)


def test_fields_that_all_claim_the_whole_file(monkeypatch):
    monkeypatch.setattr(exif, "_MOST", 1 << 20)
    count = 500
    head = b"II*\0" + struct.pack("<LHHHLLL", 8, 1, EXIF_IFD, 4, 1, 26, 0)
    fields = b"".join(struct.pack("<HHLL", tag, 7, 100_000, 0) for tag in range(count))
    data = (head + struct.pack("<H", count) + fields).ljust(100_000, b"\0")
    inner = exif.told(data)[1][EXIF_IFD]
    assert 0 < sum(len(field.data) for field in inner.values()) <= 1 << 20


# XMP.


def described(packet: bytes) -> ET.Element:
    return ET.fromstring(packet)


def value_of(root: ET.Element, name: str) -> str | None:
    """A property, be it an attribute or an element."""
    prefix, _, local = name.partition(":")
    tag = f"{{{NS[prefix]}}}{local}"
    for description in root.iter(f"{{{xmp.RDF}}}Description"):
        if tag in description.attrib:
            return description.attrib[tag]
        if (element := description.find(tag)) is not None:
            return element.text
    return None


@pytest.mark.parametrize("kind", SAYING_XMP)
def test_the_note_extends_what_is_there(kind):
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", PACKET.decode(), zip=True)
    options = {"PNG": {"pnginfo": texts}, "TIFF": {"tiffinfo": {700: PACKET}}}.get(kind, {"xmp": PACKET})
    read = photo.decode(saved(colour(32).crop((0, 0, 32, 20)), kind, **options), "a")
    written = reopened(read, kind, note=Note("gan-1/generator.keras", "ab" * 32))
    packet = written.info["xmp"]
    assert packet.startswith(b"<?xpacket begin=")
    assert packet.endswith(b'<?xpacket end="w"?>')
    root = described(packet)
    # What was there.
    title = root.find(".//dc:title/rdf:Alt/rdf:li", NS)
    assert title.text == "Rue & ciel, 世界"
    assert title.attrib["{http://www.w3.org/XML/1998/namespace}lang"] == "x-default"
    assert value_of(root, "xmp:CreatorTool") == "VueScan"
    attributes = root.find(".//rdf:Description", NS).attrib
    assert attributes["{http://example.org/odd/}lines"] == "one\ntwo"
    assert attributes["{http://example.org/odd/}quoted"] == '"<&é'
    # What is no longer true.
    assert value_of(root, "tiff:Orientation") in ("1", None)
    assert root.find(".//xmp:Thumbnails", NS) is None
    # What is new.
    assert value_of(root, "k:Colours") == "predicted"
    assert value_of(root, "k:Version") == __version__
    assert value_of(root, "k:Model") == "gan-1/generator.keras"
    assert value_of(root, "k:ModelSHA256") == "ab" * 32
    assert value_of(root, "ext:DigitalSourceType").endswith("/compositeWithTrainedAlgorithmicMedia")
    assert {each.attrib[f"{{{xmp.RDF}}}about"] for each in root.iter(f"{{{xmp.RDF}}}Description")} == {"uuid:1"}
    (history,) = root.findall(".//mm:History/rdf:Seq", NS)
    assert [event.attrib[f"{{{NS['ev']}}}softwareAgent"] for event in history] == ["VueScan", f"kcolor {__version__}"]
    assert "gan-1/generator.keras" in history[1].attrib[f"{{{NS['ev']}}}parameters"]


def test_orientation_told_by_xmp_alone_is_applied_and_reset():
    upright = np.asarray(colour(32))[:20]
    packet = PngImagePlugin.PngInfo()
    packet.add_itxt("XML:com.adobe.xmp", PACKET.decode())
    read = photo.decode(saved(Image.fromarray(np.rot90(upright, 1)), "PNG", pnginfo=packet), "a")
    np.testing.assert_array_equal(read.rgb, upright)
    again = photo.decode(photo.encode(read), "a")
    np.testing.assert_array_equal(again.rgb, upright)


def test_a_second_note_takes_the_place_of_the_first_and_the_history_grows():
    once = xmp.with_note(b"", Note("one", version="0.1"))
    root = described(xmp.with_note(once, Note("two", version="0.2")))
    assert [e.attrib[f"{{{xmp.KCOLOR}}}Model"] for e in root.iter() if f"{{{xmp.KCOLOR}}}Model" in e.attrib] == ["two"]
    assert value_of(root, "xmp:CreatorTool") == "kcolor 0.1"
    assert len(root.findall(".//mm:History/rdf:Seq/rdf:li", NS)) == 2
    assert value_of(root, "k:ModelSHA256") is None


@pytest.mark.parametrize("kind", [*SAYING_XMP, "HEIF"])
def test_what_kcolor_has_coloured_is_known_again(kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
    photograph = Photograph(np.asarray(colour(64)), xmp=PACKET)
    for note in (None, Note("model")):
        again = photo.decode(photo.encode(photograph, kind, note=note), "a")
        assert photo.is_coloured_by_kcolor(again) == (note is not None)
    assert not photo.is_coloured_by_kcolor(Photograph(photograph.rgb, xmp=b"broken, and kcolor:Colours"))
    # As other programs write it: an element, under another prefix.
    told = f"<r:Description><k:Colours xmlns:k='{xmp.KCOLOR}'>predicted</k:Colours></r:Description>"
    assert xmp.has_note(f"<r:RDF xmlns:r='{xmp.RDF}'>{told}</r:RDF>".encode())


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\0\0\0",
        b"not XML",
        PACKET[:700],
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b"\xff\xfe\x00\x00garbage",
        b'<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]>' + PACKET.partition(b"?>")[2],
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd">' + PACKET.partition(b"?>")[2],
        b"<a>" * 5000 + b"</a>" * 5000,
        PACKET.replace(b"a remark", bytes(1 << 22).replace(b"\0", b"x")),
    ],
    ids=range(11),
)
def test_a_broken_packet_is_replaced(broken):
    assert xmp.clean(broken) == b""
    root = described(xmp.with_note(broken, Note("model")))
    assert value_of(root, "k:Model") == "model"
    assert value_of(root, "xmp:CreatorTool") == f"kcolor {__version__}"
    read = photo.decode(saved(colour(16), "WEBP", xmp=broken or b" "), "a")
    assert read.xmp == b""


def test_depth_that_would_exhaust_the_stack():
    deep = b"<rdf:RDF xmlns:rdf='%s'><rdf:Description>" % xmp.RDF.encode()
    deep += b"<b>" * 5000 + b"</b>" * 5000 + b"</rdf:Description></rdf:RDF>"
    assert b"kcolor:Model" in xmp.with_note(deep, Note("model"))


def test_histories_that_are_no_lists():
    start = f"<rdf:RDF xmlns:rdf='{xmp.RDF}' xmlns:m='{NS['mm']}'>"
    for inner in (
        "<rdf:Description m:History='told'/>",
        "<rdf:Description><m:History>told</m:History></rdf:Description>",
    ):
        root = described(xmp.with_note(f"{start}{inner}</rdf:RDF>".encode(), Note("model")))
        assert len(root.findall(".//mm:History", NS)) == 1
        assert len(root.findall(".//mm:History/rdf:Seq/rdf:li", NS)) == 1


def test_other_prefixes_and_encodings():
    text = PACKET.decode().replace("rdf:", "R:").replace("xmlns:rdf", "xmlns:R")
    for packet in (text.encode(), text.encode("utf-16")):
        root = described(xmp.with_note(packet, Note("model")))
        assert value_of(root, "k:Model") == "model"
        assert root.find(".//dc:title/rdf:Alt/rdf:li", NS).text == "Rue & ciel, 世界"


def test_names_of_models_with_anything_in_them():
    root = described(xmp.with_note(b"", Note("a\n\x00\udcff\"<&'é")))
    assert value_of(root, "k:Model") == "a\ufffd\ufffd\ufffd\"<&'é"


def test_xmp_that_is_too_long_for_a_jpeg():
    long = PACKET.replace(b"a remark", b"long " * 20_000)
    photograph = Photograph(np.asarray(colour(16)), xmp=long)
    assert b"long long" in reopened(photograph, "PNG", note=Note("model")).info["xmp"]
    assert value_of(described(reopened(photograph, "JPEG", note=Note("model")).info["xmp"]), "k:Model") == "model"
    assert "xmp" not in reopened(photograph, "JPEG").info


def test_without_a_note_xmp_is_as_it_was():
    packet = PACKET.replace(b' tiff:Orientation="6"', b"").replace(b"xmp:Thumbnails", b"xmp:Thumb")
    assert xmp.clean(packet) == packet
    assert photo.decode(photo.encode(Photograph(np.asarray(colour(16)), xmp=packet), "JPEG"), "a").xmp == packet
    assert b"extended" not in xmp.clean(
        packet.replace(b"odd:lines", b'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="extended" odd:lines')
    )


# The rest.


def test_iptc_is_kept_in_jpeg_and_tiff():
    segment = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">L", len(IPTC_RECORDS)) + IPTC_RECORDS
    jpeg = saved(colour(16), "JPEG", extra=b"\xff\xed" + struct.pack(">H", 2 + len(segment)) + segment)
    read = photo.decode(jpeg, "a")
    assert read.iptc == IPTC_RECORDS
    for kind in ("JPEG", "TIFF"):
        opened = reopened(read, kind)
        assert IptcImagePlugin.getiptcinfo(opened) == {(2, 120): b"a caption", (2, 80): b"Atget"}
        assert photo.decode(photo.encode(read, kind), "a").iptc == IPTC_RECORDS


def test_iptc_of_tiff_as_others_have_written_it():
    padded = IPTC_RECORDS + bytes(-len(IPTC_RECORDS) % 4)
    turned = b"".join(padded[i : i + 4][::-1] for i in range(0, len(padded), 4))
    block = (
        b"8BIM\x03\xed\x00\x00\0\0\0\x02xx"
        + b"8BIM\x04\x04\x03abc"
        + struct.pack(">L", len(IPTC_RECORDS))
        + IPTC_RECORDS
    )
    for tag, data in ((33723, IPTC_RECORDS), (33723, turned), (34377, block)):
        made = io.BytesIO()
        tifffile.imwrite(made, np.asarray(colour(16)), photometric="rgb", extratags=[(tag, "B", len(data), data, True)])
        assert photo.decode(made.getvalue(), "a").iptc.rstrip(b"\0") == IPTC_RECORDS, tag


def test_texts_and_comments_are_kept():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "plain")
    texts.add_itxt("Author", "Eugène 世界", "fr", "Auteur")
    read = photo.decode(saved(colour(16), "PNG", pnginfo=texts), "a")
    assert dict(read.texts) == {"Title": "plain", "Author": "Eugène 世界"}
    for photograph in (read, read.with_rgb(read.rgb.astype(np.uint16) * 257)):
        again = reopened(photograph, "PNG", note=Note("model"))
        assert {k: again.text[k] for k in ("Title", "Author")} == dict(read.texts)
        assert again.text["Author"].lang == "fr"
    for kind, comment in (("JPEG", "é".encode()), ("JPEG", b"\xe9"), ("GIF", b"\xe9")):
        read = photo.decode(saved(colour(16), kind, comment=comment), "a")
        assert read.texts == {"Comment": "é"}
        assert reopened(read, "JPEG").info["comment"] == "é".encode()
        assert reopened(read, "PNG").text["Comment"] == "é"


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "BMP"])
def test_resolution_is_kept(source):
    read = photo.decode(saved(colour(16), source, dpi=(300, 600)), "a")
    deep = read.with_rgb(read.rgb.astype(np.uint16) * 257)
    for photograph, kind in (
        (read, "JPEG"),
        (read, "PNG"),
        (read, "TIFF"),
        (read, "BMP"),
        (deep, "PNG"),
        (deep, "TIFF"),
    ):
        assert np.allclose(np.array(reopened(photograph, kind).info["dpi"], float), (300, 600), atol=0.1)


def test_16_bits_say_as_much_as_8():
    read = photo.decode(saved(colour(16), "PNG", exif=full_exif(1), dpi=(300, 300)), "a")
    deep = read.with_rgb(read.rgb.astype(np.uint16) * 257)
    for kind in ("PNG", "TIFF"):
        eight, sixteen = (reopened(each, kind, note=Note("model")) for each in (read, deep))
        assert eight.info["xmp"] == sixteen.info["xmp"]
        assert eight.info["icc_profile"] == sixteen.info["icc_profile"]
        assert sixteen.getexif()[0x010E] == "a caption"
        assert sixteen.getexif().get_ifd(EXIF_IFD)[0x9003] == "1931:05:04 12:00:00"


def test_side_by_side_says_its_own_size():
    read = photo.decode(
        saved(Image.fromarray(np.dstack([np.asarray(colour(16))] * 2)[..., :4]), "PNG", exif=full_exif(1)), "a"
    )
    both = read.beside(read)
    assert both.rgb.shape == (16, 32, 3)
    assert both.alpha.shape == (16, 32)
    inner = reopened(both, "PNG").getexif().get_ifd(EXIF_IFD)
    assert (inner[0xA002], inner[0xA003]) == (32, 16)
