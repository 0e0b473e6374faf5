"""EXIF, kept byte for byte but for what is no longer true of a picture that is upright and in sRGB.

It is not written anew, since makers' notes have pointers in them that hold only where they are. Source: EXIF 2.32 (CIPA
DC-008-2019), sections 4.6 and 4.8, and TIFF 6.0, section 2.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple, Union

ORIENTATION = 0x0112
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_COLOUR_SPACE, _WIDTH, _HEIGHT = 0xA001, 0xA002, 0xA003
_IMAGE_WIDTH, _IMAGE_HEIGHT = 0x0100, 0x0101
_THUMBNAIL, _THUMBNAIL_BYTES = 0x0201, 0x0202
_SRGB = 1
_INTEROPERABILITY_INDEX, _ADOBE_RGB_RULE, _SRGB_RULE = 0x0001, b"R03\0", b"R98\0"

SHORT, LONG = 3, 4
# Bytes a value, by TIFF's types; those of BigTIFF (LONG8 and its like) are left out.
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WHOLE_NUMBERS = {SHORT: "H", LONG: "L", 13: "L", 16: "Q", 18: "Q"}

# What a TIFF's first directory may say of the photograph, beside how its pixels lie.
_TOLD = frozenset(
    {
        0x010D,  # DocumentName
        0x010E,  # ImageDescription
        0x010F,  # Make
        0x0110,  # Model
        0x011D,  # PageName
        0x0131,  # Software
        0x0132,  # DateTime
        0x013B,  # Artist
        0x013C,  # HostComputer
        0x4746,  # Rating
        0x4749,  # RatingPercent
        0x8298,  # Copyright
        *range(0x9C9B, 0x9CA0),  # Windows' title, comment, author, keywords and subject
        EXIF,
        GPS,
    }
)
_NESTED: dict[int, Mapping[int, object]] = {EXIF: {INTEROPERABILITY: {}}, GPS: {}}

# No more bytes of values are read: thousands of fields may all claim the same ones, as long as the file is.
_MOST = 1 << 26

_WRONG = (ValueError, KeyError, IndexError, struct.error, OverflowError)

Order = Literal["<", ">"]
# A directory: type, count and bytes of each tag, or the directory it points to.
Directory = dict[int, Union["Field", "Directory"]]


class Field(NamedTuple):
    """A field of a directory.

    Attributes:
        type: TIFF's number of the type.
        length: How many values.
        data: The values, in the byte order of the whole.
    """

    type: int
    length: int
    data: bytes


class _Entry(NamedTuple):
    """A field that has not been read: its value, or where that is, stands at `place`."""

    tag: int
    type: int
    length: int
    place: int


@dataclass
class _Structure:
    """A TIFF structure.

    Args:
        read: Gives so many bytes from a place on, or fewer.
    """

    read: Callable[[int, int], bytes]

    def __post_init__(self) -> None:
        head = self.read(0, 16)
        orders: dict[bytes, Order] = {b"II": "<", b"MM": ">"}
        self.order = orders[head[:2]]
        self.left = _MOST
        version, first = struct.unpack(self.order + "HL", head[2:8])
        if version not in (42, 43):
            raise ValueError("no TIFF structure")
        self.big = version == 43
        self.first: int = struct.unpack(self.order + "Q", head[8:16])[0] if self.big else first

    def entries(self, offset: int) -> tuple[list[_Entry], int]:
        """A directory's fields, and the place of the pointer to the next one.

        Of several pointers to one kind of directory only the first is among them: each may lead to where all of them
        stand, and to follow them all would take hours.
        """
        count_format, entry_format = ("Q", "HHQ") if self.big else ("H", "HHL")
        size = struct.calcsize(count_format)
        (count,) = struct.unpack(self.order + count_format, self.read(offset, size))
        step, head = (20, 12) if self.big else (12, 8)
        if count > 0xFFFF:
            raise ValueError("absurdly many fields")
        start = offset + size
        table = self.read(start, step * count)
        if len(table) != step * count:
            raise ValueError("cut short")
        found = []
        pointers = set()
        for i in range(0, len(table), step):
            tag, kind, length = struct.unpack(self.order + entry_format, table[i : i + head])
            if tag in pointers:
                continue
            if tag in (EXIF, GPS, INTEROPERABILITY):
                pointers.add(tag)
            found.append(_Entry(tag, kind, length, start + i + head))
        return found, start + step * count

    def number(self, entry: _Entry) -> int:
        """A field of one whole number."""
        code = _WHOLE_NUMBERS[entry.type]
        return struct.unpack(self.order + code, self.read(entry.place, struct.calcsize("=" + code)))[0]

    def field(self, entry: _Entry) -> Field | None:
        """A field with its values; None if they are not there, too much, or of a type that EXIF does not know."""
        size = _BYTES.get(entry.type, 0) * entry.length
        if size > self.left:
            return None
        self.left -= size
        place = entry.place
        if size > (8 if self.big else 4):
            (place,) = struct.unpack(self.order + ("Q" if self.big else "L"), self.read(place, 8 if self.big else 4))
        data = self.read(place, size)
        return Field(entry.type, entry.length, data) if size and len(data) == size else None

    def told(self) -> Directory:
        """What the first directory says of the photograph, with the directories that it points to."""
        return self._directory(self.first, _NESTED, _TOLD)

    def _directory(self, offset: int, nested: Mapping[int, object], wanted: frozenset[int] | None = None) -> Directory:
        found: Directory = {}
        for entry in self.entries(offset)[0]:
            if wanted is not None and entry.tag not in wanted:
                continue
            if entry.tag in nested:
                deeper = nested[entry.tag]
                assert isinstance(deeper, Mapping)
                try:
                    found[entry.tag] = self._directory(self.number(entry), deeper)
                except _WRONG:
                    continue
            elif (field := self.field(entry)) is not None:
                found[entry.tag] = field
        return found


def clean(exif: bytes, width: int, height: int) -> bytes:
    """EXIF of a picture that has been turned upright and brought to sRGB.

    Args:
        exif: As it was in the file.
        width: Of the upright picture.
        height: Likewise.

    Returns:
        The same with orientation 1, the colour space sRGB, this size, and no thumbnail, which would be the grey one;
        empty if it is broken.
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    try:
        return _Cleaning(exif).clean(width, height)
    except _WRONG:
        return b""


class _Cleaning:
    """Changes EXIF where it lies."""

    def __init__(self, exif: bytes) -> None:
        self.data = bytearray(exif)
        self.structure = _Structure(lambda place, size: bytes(self.data[place : place + size]))
        if self.structure.big:
            raise ValueError("EXIF is no BigTIFF")

    def clean(self, width: int, height: int) -> bytes:
        entries, next_place = self.structure.entries(self.structure.first)
        for entry in entries:
            if entry.tag == ORIENTATION:
                self.put(entry, SHORT, 1)
            elif entry.tag in (_IMAGE_WIDTH, _IMAGE_HEIGHT):
                self.put(entry, LONG, width if entry.tag == _IMAGE_WIDTH else height)
            elif entry.tag == EXIF:
                self.exif(self.structure.number(entry), width, height)
        self.drop_next(next_place)
        return bytes(self.data)

    def exif(self, offset: int, width: int, height: int) -> None:
        for entry in self.structure.entries(offset)[0]:
            if entry.tag == _COLOUR_SPACE:
                self.put(entry, SHORT, _SRGB)
            elif entry.tag in (_WIDTH, _HEIGHT):
                self.put(entry, LONG, width if entry.tag == _WIDTH else height)
            elif entry.tag == INTEROPERABILITY:
                for inner in self.structure.entries(self.structure.number(entry))[0]:
                    if inner.tag == _INTEROPERABILITY_INDEX and self.structure.read(inner.place, 4) == _ADOBE_RGB_RULE:
                        self.data[inner.place : inner.place + 4] = _SRGB_RULE

    def put(self, entry: _Entry, kind: int, value: int) -> None:
        order = self.structure.order
        inline = struct.pack(order + _WHOLE_NUMBERS[kind], value).ljust(4, b"\0")
        self.data[entry.place - 6 : entry.place + 4] = struct.pack(order + "HL", kind, 1) + inline

    def drop_next(self, place: int) -> None:
        """Unlink the second directory, which is the thumbnail's, and blank what it shows."""
        pointer = self.structure.read(place, 4)
        if len(pointer) < 4 or not any(pointer):
            return
        (offset,) = struct.unpack(self.structure.order + "L", pointer)
        self.data[place : place + 4] = bytes(4)
        try:
            found = {entry.tag: self.structure.number(entry) for entry in self.structure.entries(offset)[0]
                     if entry.tag in (_THUMBNAIL, _THUMBNAIL_BYTES)}  # fmt: skip
            start, size = found[_THUMBNAIL], found[_THUMBNAIL_BYTES]
        except _WRONG:
            return
        # It comes last, as cameras have it; elsewhere it may lie over what is still needed.
        if offset < start < len(self.data) <= start + size + 2:
            del self.data[start:]


def of_tiff(stream: BinaryIO, width: int, height: int) -> bytes:
    """EXIF out of a TIFF file's first directory: what it says of the photograph, not of how its pixels lie.

    Args:
        stream: The file.
        width: Of the upright picture.
        height: Likewise.

    Returns:
        As `clean`.
    """
    try:
        structure = _structure(stream)
        directory = structure.told()
        return clean(_whole(structure.order, directory), width, height) if directory else b""
    except _WRONG:
        return b""


def tiff_field(stream: BinaryIO, tag: int) -> bytes:
    """The bytes of a field of a TIFF file's first directory; empty if it has none such."""
    try:
        structure = _structure(stream)
        for entry in structure.entries(structure.first)[0]:
            if entry.tag == tag and (field := structure.field(entry)):
                return field.data
    except _WRONG:
        pass
    return b""


def _structure(stream: BinaryIO) -> _Structure:
    def read(place: int, size: int) -> bytes:
        stream.seek(place)
        return stream.read(size)

    return _Structure(read)


def told(exif: bytes) -> tuple[Order, Directory]:
    """What EXIF says of the photograph, to be put into a TIFF's first directory.

    Args:
        exif: As from `clean`.

    Returns:
        The byte order, "<" or ">", and the fields; none if it is empty or broken.
    """
    try:
        structure = _Structure(lambda place, size: exif[place : place + size])
        return structure.order, structure.told()
    except _WRONG:
        return "<", {}


def within(exif: bytes, limit: int) -> bytes:
    """EXIF that has at most so many bytes: where it has more, without its large fields, such as makers' notes."""
    if len(exif) <= limit:
        return exif
    order, directory = told(exif)
    for largest in (limit // 4, limit // 64, 64):
        smaller = _whole(order, _pruned(directory, largest)) if directory else b""
        if len(smaller) <= limit:
            return smaller
    return b""


def without_orientation(exif: bytes) -> bytes:
    """EXIF without its orientation, which is as good as 1: where that is told in the format's own way."""
    try:
        structure = _Structure(lambda place, size: exif[place : place + size])
        entries, end = structure.entries(structure.first)
    except _WRONG:
        return exif
    data = bytearray(exif)
    for entry in entries:
        if entry.tag == ORIENTATION:
            start = entry.place - 8
            # The fields behind it, and the pointer to the next directory, move up; the hole behind them stays.
            data[start : end - 8] = data[start + 12 : end + 4]
            count = struct.pack(structure.order + "H", (end - structure.first - 2) // 12 - 1)
            data[structure.first : structure.first + 2] = count
            return bytes(data)
    return exif


def _pruned(directory: Directory, largest: int) -> Directory:
    kept: Directory = {}
    for tag, value in directory.items():
        if isinstance(value, dict):
            kept[tag] = _pruned(value, largest)
        elif len(value.data) <= largest:
            kept[tag] = value
    return kept


def _whole(order: Order, directory: Directory) -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "L", 8) + serialised(order, directory, 8)


def serialised(order: Order, directory: Directory, offset: int) -> bytes:
    """A directory as bytes, with its values and the directories it points to behind it; no other follows it.

    Args:
        order: "<" or ">", as the fields' values are.
        directory: The fields.
        offset: Where it will lie.
    """
    table = struct.pack(order + "H", len(directory))
    beyond = b""
    values_at = offset + 2 + 12 * len(directory) + 4
    for tag, value in sorted(directory.items()):
        place = values_at + len(beyond)
        if isinstance(value, dict):
            table += struct.pack(order + "HHLL", tag, LONG, 1, place)
            beyond += serialised(order, value, place)
        elif len(value.data) <= 4:
            table += struct.pack(order + "HHL", tag, value.type, value.length) + value.data.ljust(4, b"\0")
        else:
            table += struct.pack(order + "HHLL", tag, value.type, value.length, place)
            beyond += value.data + bytes(len(value.data) % 2)
    return table + bytes(4) + beyond
