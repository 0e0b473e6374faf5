"""From a template and what it is filled with to a page that can be encoded and read, whatever is in it."""

import base64
import io
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

# Pictures in a page are no larger than this, and those up to TINY keep every pixel.
LARGEST = 320
TINY = 64


def render(template: str, **content: Any) -> str:
    """A template of ``templates/``, filled; without lines that are empty."""
    page = _environment().get_template(template).render(**content)
    return re.sub(r"\n\s*\n+", "\n", page) + "\n"


def data_uri(rgb: np.ndarray) -> tuple[str, int, int, bool]:
    """A (h, w, 3) uint8 picture as a data: URI, with its width and height there, and whether it is tiny."""
    picture = Image.fromarray(rgb)
    file = io.BytesIO()
    tiny = max(picture.size) <= TINY
    if tiny:
        picture.save(file, "PNG", optimize=True)
    else:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        picture.save(file, "JPEG", quality=88, subsampling=0, optimize=True)
    kind = "png" if tiny else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}", *picture.size, tiny


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["share"] = lambda part, whole: f"{100 * part / whole:.0f}\u00a0%"
    environment.filters["part"] = lambda share: f"{100 * share:.3g}\u00a0%"
    environment.filters["duration"] = _duration
    environment.tests["hash"] = lambda text: re.fullmatch("[0-9a-f]{32,}", str(text)) is not None
    return environment


def _readable(value: Any) -> Any:
    """Text that can be seen and encoded: bytes that are not UTF-8, control and direction signs become escapes."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(map(_readable_sign, value)) if not value.isascii() or not value.isprintable() else value


def _readable_sign(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # a byte of a file name, as Python keeps it
        return f"\\x{ord(sign) - 0xDC00:02x}"
    hidden = unicodedata.category(sign) in ("Cc", "Cs", "Cf", "Cn", "Zl", "Zp") and sign not in "\u200c\u200d"
    return sign.encode("unicode_escape", "backslashreplace").decode("ascii") if hidden else sign


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
