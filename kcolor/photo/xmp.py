"""XMP packets: kept but for what is no longer true of the picture, and extended by a note on its colours.

Source: ISO 16684-1:2012 (XMP), and the IPTC Photo Metadata Standard for the digital source type.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.dom import minidom
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

from kcolor import __version__

KCOLOR = "http://ns.kcolor/1.0/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TIFF = "http://ns.adobe.com/tiff/1.0/"
XMP = "http://ns.adobe.com/xap/1.0/"
XMP_MM = "http://ns.adobe.com/xap/1.0/mm/"
XMP_NOTE = "http://ns.adobe.com/xmp/note/"
EVENT = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_XMLNS = "http://www.w3.org/2000/xmlns/"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END = '<?xpacket end="w"?>'
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'

# A longer packet is taken for a broken one: made of the smallest elements it would take a hundred times as much memory.
_LARGEST = 1 << 22

_Property = minidom.Attr | minidom.Element


class _BrokenError(Exception):
    """No XMP that can be read."""


@dataclass(frozen=True)
class Note:
    """Where a photograph's colours are from.

    Args:
        model: The model that made them, by a name that tells nothing of the machine it lies on.
        sha256: Of the model's file, in hexadecimal.
        version: Of kcolor.
    """

    model: str
    sha256: str = ""
    version: str = __version__


def clean(packet: bytes) -> bytes:
    """XMP of a picture that has been turned upright and is to be coloured.

    Args:
        packet: As it was in the file.

    Returns:
        The same, with orientation 1 if it tells one, without thumbnails, which show the grey picture, and without the
        mark of a JPEG that more XMP follows elsewhere, which is not read; empty if it is broken, or beyond 4 MB.
    """
    if not packet:
        return b""
    try:
        document, root = _parsed(packet)
        changed = packet.startswith(_UTF_16)  # which most formats have no place for
        for description in _descriptions(root):
            for turned in _properties(description, TIFF, "Orientation"):
                _set(turned, document, "1")
                changed = True
            gone = [
                *_properties(description, XMP, "Thumbnails"),
                *_properties(description, XMP_NOTE, "HasExtendedXMP"),
            ]
            for node in gone:
                _remove(description, node)
                changed = True
        return _packet(document) if changed else packet
    except _BrokenError:
        return b""


def with_note(packet: bytes, note: Note) -> bytes:
    """Extend a packet by a note that the colours are made; what it says itself is kept.

    It is told in ``Iptc4xmpExt:DigitalSourceType``, which says that a trained model made part of what is seen and takes
    the place of another source type; by an event at the end of ``xmpMM:History``, with the version as
    ``stEvt:softwareAgent`` and the model as ``stEvt:parameters``; in ``xmp:CreatorTool``, if nothing is told there;
    and, for programs, in ``Colours``, ``Version``, ``Model`` and ``ModelSHA256`` of kcolor's own namespace.

    Args:
        packet: XMP; if it is empty or broken, another one takes its place.
        note: What is to be told.

    Returns:
        The packet, UTF-8, without padding.
    """
    try:
        document, root = _parsed(packet)
        _add_note(document, root, note)
        return _packet(document)
    except _BrokenError:
        document, root = _parsed(_EMPTY.encode())
        _add_note(document, root, note)
        return _packet(document)


def has_note(packet: bytes) -> bool:
    """Whether a packet carries the note of `with_note`, of any version of kcolor.

    Args:
        packet: XMP; empty or broken, it carries none.
    """
    try:
        root = _parsed(packet)[1]
    except _BrokenError:
        return False
    return any(_properties(description, KCOLOR, "Colours") for description in _descriptions(root))


def _parsed(packet: bytes) -> tuple[minidom.Document, minidom.Element]:
    """The document and its ``rdf:RDF``.

    Raises:
        _BrokenError: It cannot be read, or has none.
    """
    if len(packet) > _LARGEST:
        raise _BrokenError
    try:
        document = minidom.parseString(packet if packet.startswith(_UTF_16) else packet.rstrip(b"\0"))
    except (ExpatError, ValueError, LookupError, RecursionError) as error:
        raise _BrokenError from error
    # XMP has no document type; whoever writes one is up to something, such as entities that grow without end.
    if document.doctype is not None:
        raise _BrokenError
    top = document.documentElement
    # Alone, or within one element around it.
    found = [] if top is None else [top] if _is(top, RDF, "RDF") else _children(top, RDF, "RDF")
    if not found:
        raise _BrokenError
    return document, found[0]


def _descriptions(root: minidom.Element) -> list[minidom.Element]:
    return _children(root, RDF, "Description")


def _children(parent: minidom.Element, namespace: str, name: str) -> list[minidom.Element]:
    return [node for node in parent.childNodes if isinstance(node, minidom.Element) and _is(node, namespace, name)]


def _is(element: minidom.Element, namespace: str, name: str) -> bool:
    return element.namespaceURI == namespace and element.localName == name


def _properties(description: minidom.Element, namespace: str, name: str) -> list[_Property]:
    """A property, which may stand there as an attribute or as an element."""
    attribute = description.getAttributeNodeNS(namespace, name)
    return [*([] if attribute is None else [attribute]), *_children(description, namespace, name)]


def _set(found: _Property, document: minidom.Document, value: str) -> None:
    if isinstance(found, minidom.Attr):
        found.value = value
        return
    _empty(found)
    found.appendChild(document.createTextNode(value))


def _remove(description: minidom.Element, found: _Property) -> None:
    if isinstance(found, minidom.Attr):
        description.removeAttributeNode(found)
    else:
        description.removeChild(found)


def _empty(element: minidom.Element) -> None:
    for child in list(element.childNodes):
        element.removeChild(child)


def _add_note(document: minidom.Document, root: minidom.Element, note: Note) -> None:
    descriptions = _descriptions(root)
    has_tool = False
    histories: list[minidom.Element] = []
    for description in descriptions:
        for name in ("Colours", "Version", "Model", "ModelSHA256"):
            for node in _properties(description, KCOLOR, name):
                _remove(description, node)
        for node in _properties(description, IPTC, "DigitalSourceType"):
            _remove(description, node)
        has_tool = has_tool or bool(_properties(description, XMP, "CreatorTool"))
        for node in _properties(description, XMP_MM, "History"):
            if isinstance(node, minidom.Element):
                histories.append(node)
            else:  # a list is no attribute, and there cannot be two
                _remove(description, node)

    # All descriptions of a packet are of one thing, and say so in the same way.
    about = descriptions[0].getAttributeNS(RDF, "about") if descriptions else ""
    rdf = root.prefix or "rdf"
    made = document.createElementNS(RDF, f"{rdf}:Description")
    made.setAttributeNS(_XMLNS, f"xmlns:{rdf}", RDF)
    made.setAttributeNS(RDF, f"{rdf}:about", about)
    told = [
        (KCOLOR, "kcolor:Colours", "predicted"),
        (KCOLOR, "kcolor:Version", note.version),
        (KCOLOR, "kcolor:Model", note.model),
        (KCOLOR, "kcolor:ModelSHA256", note.sha256),
        (IPTC, "Iptc4xmpExt:DigitalSourceType", SOURCE_TYPE),
        (XMP, "xmp:CreatorTool", "" if has_tool else f"kcolor {note.version}"),
    ]
    for namespace, name, value in told:
        if value:
            made.setAttributeNS(_XMLNS, f"xmlns:{name.partition(':')[0]}", namespace)
            made.setAttributeNS(namespace, name, _told(value))
    root.appendChild(made)

    event = document.createElementNS(RDF, f"{rdf}:li")
    event.setAttributeNS(_XMLNS, "xmlns:stEvt", EVENT)
    model = note.model + (f" (SHA-256 {note.sha256})" if note.sha256 else "")
    for name, value in (
        ("action", "edited"),
        ("softwareAgent", f"kcolor {note.version}"),
        ("parameters", f"colours predicted by the model {model}"),
    ):
        event.setAttributeNS(EVENT, f"stEvt:{name}", _told(value))
    _sequence(document, made, histories, rdf).appendChild(event)


def _sequence(
    document: minidom.Document, made: minidom.Element, histories: list[minidom.Element], rdf: str
) -> minidom.Element:
    """The list of events: that which is there, or else a new one."""
    for history in histories:
        for sequence in _children(history, RDF, "Seq"):
            return sequence
    if histories:  # one that is no list
        history = histories[0]
        _empty(history)
    else:
        made.setAttributeNS(_XMLNS, "xmlns:xmpMM", XMP_MM)
        history = document.createElementNS(XMP_MM, "xmpMM:History")
        made.appendChild(history)
    sequence = document.createElementNS(RDF, f"{rdf}:Seq")
    sequence.setAttributeNS(_XMLNS, f"xmlns:{rdf}", RDF)
    history.appendChild(sequence)
    return sequence


def _told(value: str) -> str:
    """What XML can hold of a text: names of files may have anything in them."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


def _packet(document: minidom.Document) -> bytes:
    """A document as a packet, with the marks around it that let a program find it in any file.

    Raises:
        _BrokenError: It is nested absurdly deep.
    """
    try:
        parts = ["".join(_serialised(node)) for node in document.childNodes]
    except RecursionError as error:
        raise _BrokenError from error
    if not any(part.startswith("<?xpacket") for part in parts):
        parts = [_BEGIN, *parts, _END]
    return "\n".join(parts).encode("utf-8", "replace")


def _serialised(node: minidom.Node) -> Iterator[str]:
    """A node as XML.

    Not minidom's own way, which in Python 3.11 loses line breaks within attributes.
    """
    if isinstance(node, minidom.Element):
        attributes = "".join(f' {name}="{_attribute(value)}"' for name, value in node.attributes.items())
        yield f"<{node.tagName}{attributes}"
        if not node.childNodes:
            yield "/>"
            return
        yield ">"
        for child in node.childNodes:
            yield from _serialised(child)
        yield f"</{node.tagName}>"
    elif isinstance(node, minidom.Text):
        yield escape(node.data, {"\r": "&#13;"})
    elif isinstance(node, minidom.ProcessingInstruction):
        yield f"<?{node.target} {node.data}?>"
    elif isinstance(node, minidom.Comment):
        yield f"<!--{node.data}-->"


def _attribute(value: str) -> str:
    return escape(value, {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
