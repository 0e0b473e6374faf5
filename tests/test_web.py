"""The site of `kcolor export --web`, as its visitors use it: in Chromium, from a server of files."""

import contextlib
import functools
import http.server
import io
import json
import os
import re
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import skimage.data
from command import kcolor
from made import colour, shapes
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from serving import within
from skimage.color import deltaE_ciede2000, rgb2lab
from webpage import OUTPUT

from kcolor import color, image, photo
from kcolor.colorizer import Colorizer
from kcolor.export import web
from kcolor.join import join
from kcolor.serve import model

DOCS = Path(__file__).parents[1] / "docs"
PHOTOS = Path(skimage.data.__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-quic"]


def needed(what: object, name: str) -> None:
    if not what:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"there is no {name}")


KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
KINDS |= {"json": "application/json", "wasm": "application/wasm"}


class Files(http.server.SimpleHTTPRequestHandler):
    """Files, and nothing that helps: no headers of isolation. Notes what was asked."""

    asked: list[str]
    extensions_map = MappingProxyType({f".{suffix}": kind for suffix, kind in KINDS.items()})

    def log_message(self, *_):
        self.server.asked.append(f"{self.command} {self.path}")


class Isolating(Files):
    """As from a host that lets its pages use several cores."""

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@contextlib.contextmanager
def serving(folder: Path, handler=Files) -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def address(server: http.server.ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    needed((web.RUNTIME / "VERSION").is_file(), "LiteRT.js: make web")
    folder = tmp_path_factory.mktemp("web") / "site"
    said, _ = kcolor("export", "small", "--web", folder, cwd=folder.parent)
    assert said.splitlines() == [str(folder / "manifest.json"), f"look at it: python3 -m http.server -d {folder}"]
    return folder


@pytest.fixture(scope="module")
def server(site) -> Iterator[http.server.ThreadingHTTPServer]:
    with serving(site) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    needed(CHROMIUM, "Chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def small() -> Colorizer:
    return Colorizer.load("small")


def visit(browser: Browser, url: str, **context) -> Page:
    """The page, once its network is ready; nothing in it may go wrong unnoticed."""
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(60_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.faults = faults
    page.goto(url)
    page.wait_for_selector("#engine[data-on]")
    return page


@pytest.fixture(scope="module")
def home(browser, server) -> Page:
    return visit(browser, address(server))


@pytest.fixture
def page(home) -> Iterator[Page]:
    """The page without photographs."""
    yield home
    for button in home.locator(".remove").all()[::-1]:
        button.click()
    assert home.faults == []


def give(page: Page, *given: Path | dict) -> None:
    page.set_input_files("#files", list(given))


def drop(page: Page, name: str, content: bytes) -> None:
    """As a file from the desktop is dropped, somewhere on the page."""
    script = """([name, bytes]) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([new Uint8Array(bytes)], name));
        const options = { dataTransfer, bubbles: true, cancelable: true };
        for (const kind of ["dragover", "drop"])
            document.querySelector("h1").dispatchEvent(new DragEvent(kind, options));
    }"""
    page.evaluate(script, [name, list(content)])


def paste(page: Page, name: str, content: bytes) -> None:
    script = """([name, bytes]) => {
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([new Uint8Array(bytes)], name, { type: "text/plain" }));
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }"""
    page.evaluate(script, [name, list(content)])


def downloaded(page: Page, name: str, kind: str = "png") -> tuple[bytes, str]:
    photograph = card(page, name)
    photograph.locator("select").select_option(kind)
    with page.expect_download(timeout=120_000) as waiting:
        photograph.get_by_role("button", name=f"Download {name} in colour").click()
    return Path(waiting.value.path()).read_bytes(), waiting.value.suggested_filename


def card(page: Page, name: str):
    return page.locator(".photo").filter(has=page.get_by_role("heading", name=name, exact=True))


def done(page: Page, name: str):
    photograph = card(page, name)
    expect(photograph.locator(".compare")).to_be_visible(timeout=60_000)
    return photograph


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


def delta_e(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(deltaE_ciede2000(rgb2lab(one), rgb2lab(other)).mean())


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    made = io.BytesIO()
    picture.save(made, kind, **options)
    return made.getvalue()


def huge_by_its_header() -> bytes:
    """A PNG of a hundred bytes that claims 65,000 pixels a side."""
    made = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        made += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return made


# What is written.


def test_the_site_is_told_of(site):
    manifest, config = (json.loads((site / name).read_text()) for name in (web.MANIFEST, web.CONFIG))
    assert manifest["name"] == config["name"] == "small"
    assert manifest["size"] == config["size"] == 128
    assert len(config["classes"]) == 6
    assert config["engine"] == "browser"
    assert manifest["licence"] == "Apache-2.0"
    assert manifest["runtime"].startswith("@litertjs/core 2.5")
    there = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert there == {*manifest["files"], web.MANIFEST, web.CONFIG}
    assert manifest["files"][config["model"]] == manifest["model"]["sha256"]
    assert str(Path.home()) not in (site / web.MANIFEST).read_text()


def test_the_service_worker_keeps_what_the_page_is_made_of():
    (listed,) = re.findall(r"FILES = \[(.*?)\]", (web.PAGE / "sw.js").read_text(), re.DOTALL)
    there = {path.name for path in web.PAGE.iterdir() if path.is_file()}
    assert set(re.findall(r'"(.*?)"', listed)) == there - {"index.html", "sw.js"} | {"./", "config.json"}


def test_modules_of_the_page_read_one_way():
    (listed,) = re.findall(r"^    (header .*?\n)\n", (DOCS / "design.md").read_text(), re.DOTALL | re.MULTILINE)
    order = [re.split(r"\s{3,}", line.strip())[0].split() for line in listed.splitlines()]
    rank = {name: place for place, names in enumerate(order) for name in names}
    assert {f"{name}.js" for name in rank} == {path.name for path in web.PAGE.glob("*.js")}
    for name, place in rank.items():
        # What is read for its types alone stands in a comment.
        code = re.sub(r"^ \*.*$", "", (web.PAGE / f"{name}.js").read_text(), flags=re.MULTILINE)
        imported = re.findall(r"(?:from |import\()\"\./([\w-]+)\.js\"", code)
        assert [other for other in imported if rank[other] >= place] == [], name


def test_the_page_names_no_other_host():
    for file in web.PAGE.iterdir():
        if file.is_file() and file.suffix != ".svg":
            # A namespace is a name, not an address.
            text = file.read_text().replace("http://ns.adobe.com/xap/1.0/", "")
            assert "//" not in re.sub(r"(^|\s)//", "", text), file.name


def test_a_folder_of_other_things_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "RUNTIME", tmp_path / "runtime")
    (tmp_path / "runtime").mkdir()
    with pytest.raises(web.RunError, match=r"runtime: LiteRT\.js.*make web$"):
        web.check(tmp_path / "new")
    (tmp_path / "runtime" / "VERSION").touch()
    web.check(tmp_path / "new")
    album = tmp_path / "album"
    album.mkdir()
    web.check(album)
    (album / "letter.txt").touch()
    with pytest.raises(web.RunError, match=r"album: has letter\.txt, which is not of a site of kcolor"):
        web.check(album)
    with pytest.raises(web.RunError, match="is no folder"):
        web.check(album / "letter.txt")
    (album / "manifest.json").write_text(json.dumps({"files": {"letter.txt": ""}}))
    web.check(album)


# What it computes.


@pytest.fixture(scope="module")
def lab(browser, server) -> Page:
    """A place to call the page's modules in."""
    page = browser.new_context(bypass_csp=True).new_page()
    page.goto(address(server) + "config.json")
    return page


@pytest.mark.parametrize(("height", "width"), [(150, 97), (16, 16), (300, 20), (7, 11), (1, 1)])
def test_colours_are_joined_as_kcolor_joins_them(lab, height, width):
    draw = np.random.default_rng(height)
    rgb = np.asarray(colour(160, height))[:height, :160]
    rgb = np.asarray(Image.fromarray(rgb).resize((width, height)))
    ab = np.asarray(Image.fromarray(draw.uniform(0, 255, (5, 5)).astype(np.uint8)).resize((16, 16), 2)) / 128.0 - 1.0
    ab = np.stack([ab, -0.5 * ab.T], axis=-1).astype(np.float32)
    script = """async ([bytes, height, width, ab]) => {
        const { joiner } = await import("./join.js");
        const { lightnessBetween } = await import("./lab.js");
        const { shrinker } = await import("./planes.js");
        const pixels = Uint8ClampedArray.from(bytes);
        const shrinking = shrinker(height, width, 16, 16, 3);
        const middle = Math.floor(height / 2) * width * 4;
        for (const part of [pixels.subarray(0, middle), pixels.subarray(middle)])
            shrinking.add(part, 4, part.length / (4 * width));
        const small = shrinking.made.data;
        const shares = (i) => small.slice(3 * i, 3 * i + 3).map((value) => value / 255);
        const guide = Float32Array.from({ length: 256 }, (_, i) => lightnessBetween(...shares(i)));
        const paint = joiner({ size: 16, ab: Float32Array.from(ab), guide }, 1, height, width);
        paint(pixels.subarray(0, middle), 0);
        paint(pixels.subarray(middle), Math.floor(height / 2));
        return [[...pixels], [...small]];
    }"""
    rgba = np.dstack([rgb, np.full((height, width), 200, np.uint8)])
    made, seen = lab.evaluate(script, [rgba.ravel().tolist(), height, width, ab.ravel().tolist()])
    made = np.reshape(made, (height, width, 4))
    expected = join(rgb, ab).numpy().astype(int)
    off = np.abs(made[..., :3] - expected)
    assert off.max() <= 1
    assert (off > 0).mean() < 0.01
    assert (made[..., 3] == 200).all()
    square = np.asarray(image.fit_square(rgb, 16))
    assert np.abs(np.reshape(seen, (16, 16, 3)) - square).max() <= 0.5 + 1e-3


def test_lab_is_that_of_kcolor(lab):
    levels = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    script = """async (rows) => {
        const { lightness } = await import("./lab.js");
        return rows.map((row) => lightness(...row));
    }"""
    l = lab.evaluate(script, levels.tolist())
    np.testing.assert_allclose(l, color.lightness(levels).numpy()[:, 0], atol=2e-6)
    # Each level there and back, and colours that sRGB does not have.
    ab = np.random.default_rng(1).uniform(-1, 1, (500, 2)).astype(np.float32)
    script = """async ([l, ab]) => {
        const { paint } = await import("./lab.js");
        const pixels = new Uint8Array(3 * l.length);
        l.forEach((value, i) => paint(pixels, 3 * i, value, ...ab[i]));
        return [...pixels];
    }"""
    made = np.reshape(lab.evaluate(script, [l, ab.tolist()]), (-1, 3))
    l = np.asarray(l, np.float32)[:, None]
    expected = color.merge(l, color.fit_gamut(l, ab)).numpy().astype(int)
    assert np.abs(made - expected).max() <= 1
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    l = color.lightness(greys).numpy()[:, 0].astype(float)
    back = np.reshape(lab.evaluate(script, [l.tolist(), [[0, 0]] * 256]), (-1, 3))
    np.testing.assert_array_equal(back, greys)


INSPECT = """async (bytes) => {
    const { inspect, PhotoError } = await import("./header.js");
    try {
        const { format, width, height } = inspect(Uint8Array.from(bytes));
        return [format, width, height];
    } catch (error) {
        if (!(error instanceof PhotoError)) throw error;
        return error.message;
    }
}"""


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + b"\xff\xd9" * 40}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0" + bytes(30)}),
        ("AVIF", {}),
        ("GIF", {}),
        ("BMP", {}),
    ],
)
def test_headers_are_read(lab, kind, options):
    content = encoded(colour(64).resize((41, 67)), kind, **options)
    assert lab.evaluate(INSPECT, list(content)) == [kind.lower(), 41, 67]
    # Cut short, it is a message or, where only the decoder can know, what the header says; never anything else.
    told = [lab.evaluate(INSPECT, list(content[: len(content) * part // 8])) for part in range(8)]
    if kind in ("JPEG", "PNG", "WEBP"):
        assert all(isinstance(each, str) for each in told)
    assert "cut short" in told[4] or told[4] == [kind.lower(), 41, 67]


# What visitors do.


def test_a_photograph_is_coloured_as_kcolor_colours_it(page, server, small):
    asked = len(server.asked)
    content = (PHOTOS / "camera.png").read_bytes()
    drop(page, "camera.png", content)
    photograph = done(page, "camera.png")
    made, name = downloaded(page, "camera.png")
    assert name == "camera-coloured.png"
    expected = small(photo.decode(content, "camera.png").rgb8)
    assert delta_e(pixels(made), expected) < 0.1
    assert np.abs(pixels(made).astype(int) - expected).max() <= 8
    assert photo.is_coloured_by_kcolor(photo.decode(made, name))
    assert photograph.locator(".before").get_attribute("alt") == "camera.png as it was"
    # Nothing was sent, nor anything fetched; that the service worker is still the same, browsers ask when they like.
    assert [line for line in server.asked[asked:] if not line.startswith("GET /sw.js?")] == []


def test_a_photograph_that_lies_on_its_side(page, small):
    upright = Image.open(PHOTOS / "rocket.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    give(page, {"name": "rocket.jpg", "mimeType": "image/jpeg", "buffer": content})
    photograph = done(page, "rocket.jpg")
    assert photograph.locator("select").input_value() == "jpeg"
    made, _ = downloaded(page, "rocket.jpg")
    expected = small(photo.decode(content, "rocket.jpg").rgb8)
    assert expected.shape == (*upright.size[::-1], 3)
    assert delta_e(pixels(made), expected) < 0.1
    made, name = downloaded(page, "rocket.jpg", "jpeg")
    assert name == "rocket-coloured.jpg"
    assert delta_e(pixels(made), expected) < 2
    assert photo.is_coloured_by_kcolor(photo.decode(made, name))


def test_the_slider_by_hand_and_by_key(page):
    give(page, PHOTOS / "camera.png")
    photograph = done(page, "camera.png")
    compare, slider = photograph.locator(".compare"), photograph.get_by_role("slider", name="how much of it is shown")
    compare.scroll_into_view_if_needed()

    def coloured() -> np.ndarray:
        """Of each of ten columns, the share that is not grey."""
        shot = pixels(compare.screenshot()).astype(int)
        parts = np.array_split(shot.max(axis=-1) - shot.min(axis=-1) > 4, 10, axis=1)
        return np.asarray([part.mean() for part in parts])

    assert (coloured()[:4] < 0.05).all() and coloured()[6:].mean() > 0.3
    box = compare.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 50, steps=4)
    page.mouse.up()
    assert (coloured()[:8] < 0.05).all()
    slider.focus()
    page.keyboard.press("Home")
    assert coloured()[:3].mean() > 0.3
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "1 % as it was, the rest in colour"


def test_saturation(page):
    give(page, {"name": "c.png", "mimeType": "image/png", "buffer": encoded(colour(80), "PNG")})
    photograph = done(page, "c.png")
    shown = photograph.locator(".after").get_attribute("src")
    photograph.get_by_role("slider", name="Saturation").focus()
    page.keyboard.press("Home")
    expect(photograph.locator(".after")).not_to_have_attribute("src", shown)
    assert photograph.locator("output").inner_text() == "0 %"
    made = pixels(downloaded(page, "c.png")[0]).astype(int)
    assert (made.max(axis=-1) - made.min(axis=-1)).max() <= 1


def test_what_is_pasted_and_called_by_a_wrong_name(page):
    paste(page, "p.txt", encoded(colour(50), "WEBP"))
    done(page, "p.txt")
    made, name = downloaded(page, "p.txt")
    assert name == "p-coloured.png" and pixels(made).shape == (50, 50, 3)


def test_removing_leads_the_keyboard_on(page):
    for name in ("a.png", "b.png"):
        give(page, {"name": name, "mimeType": "image/png", "buffer": encoded(colour(30), "PNG")})
    done(page, "b.png")
    for focused in ("li", "button"):
        page.locator(".remove").first.focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.localName") == focused
    assert page.evaluate("document.activeElement.id") == "choose"


def test_transparency_is_kept(page):
    picture = colour(60)
    picture.putalpha(Image.fromarray(shapes(60).astype(np.uint8) // 2 + 127))
    give(page, {"name": "t.png", "mimeType": "image/png", "buffer": encoded(picture, "PNG")})
    photograph = done(page, "t.png")
    assert photograph.locator("option[value=jpeg]").is_disabled()
    with Image.open(io.BytesIO(downloaded(page, "t.png")[0])) as made:
        np.testing.assert_array_equal(np.asarray(made.getchannel("A")), np.asarray(picture.getchannel("A")))


BAD = {
    "letter.txt": (b"Dear aunt,", "is not a photograph that can be read here: JPEG, PNG,"),
    "nothing.jpg": (b"", "is empty"),
    "page.png": (b"<!doctype html>", "is not a photograph"),
    "half.jpg": (encoded(colour(200), "JPEG")[:3000], "is cut short"),
    "half.png": (encoded(colour(200), "PNG")[:3000], "is cut short"),
    "half.gif": (encoded(colour(200), "GIF")[:900], "is damaged"),
    "noise.png": (encoded(colour(40), "PNG").replace(b"IDAT", b"IDAT\0\0\0"), "is "),
    "huge.png": (huge_by_its_header(), "says that it has 65,000 \u00d7 65,000 pixels; up to 100 million"),
    "scan.tif": (encoded(colour(40), "TIFF"), "is a TIFF, which browsers do not read"),
    "film.avif": (b"\0\0\0\x20ftypisom" + bytes(200), "is not a photograph"),
}


def test_what_cannot_be_coloured_is_told(page, tmp_path):
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(300_000_000)
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "good.png").write_bytes(encoded(colour(50), "PNG"))
    give(page, large, *(tmp_path / name for name in BAD), tmp_path / "good.png")
    done(page, "good.png")
    for name, told in {"large.jpg": "has 300 MB", **{name: told for name, (_, told) in BAD.items()}}.items():
        expect(card(page, name).locator(".state")).to_contain_text(f"{name} {told}")
    page.screenshot(path=OUTPUT / "web-bad.png", full_page=True)
    # What is no file at all.
    page.evaluate("""() => {
        const dataTransfer = new DataTransfer();
        dataTransfer.setData("text/plain", "a word");
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    }""")
    expect(page.get_by_role("alert")).to_contain_text("There is no file in what was dropped")


def test_many_at_once(page):
    content = encoded(colour(20), "PNG")
    many = [{"name": f"{i}.png", "mimeType": "image/png", "buffer": content} for i in range(103)]
    give(page, *many)
    expect(page.get_by_role("alert")).to_contain_text("Of 103 files the first 100 are taken")
    assert page.locator(".photo").count() == 100
    # Those that are removed while they wait are not waited for.
    page.evaluate(
        "document.querySelectorAll('.photo:not(:first-child, :last-child) .remove').forEach((b) => b.click())"
    )
    done(page, "99.png")
    assert page.locator(".compare:visible").count() == 2


def test_24_megapixels(page):
    large = Image.fromarray(shapes(400).astype(np.uint8)).resize((6000, 4000), Image.Resampling.BICUBIC)
    give(page, {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": encoded(large, "JPEG")})
    done(page, "large.jpg")
    for kind in ("png", "jpeg"):
        with Image.open(io.BytesIO(downloaded(page, "large.jpg", kind)[0])) as made:
            assert (made.size, made.mode, made.format) == ((6000, 4000), "RGB", kind.upper())
            patch = np.asarray(made.crop((2900, 1900, 3100, 2100)))
            expected = np.asarray(large.crop((2900, 1900, 3100, 2100)).convert("RGB"))
            lightness = rgb2lab(patch)[..., 0] - rgb2lab(expected)[..., 0]
            assert np.abs(lightness).mean() < 1


def test_on_a_graphics_processor(page, server, small):
    """One that is imitated, which is what WebGPU can be had on everywhere."""
    flags = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan,WebGPU"]
    with page.context.browser.browser_type.launch(executable_path=CHROMIUM, args=FLAGS + flags) as chromium:
        on_gpu = visit(chromium, address(server) + "?on=webgpu")
        assert on_gpu.get_attribute("#engine", "data-on") == "its graphics processor"
        give(on_gpu, PHOTOS / "camera.png")
        done(on_gpu, "camera.png")
        made, _ = downloaded(on_gpu, "camera.png")
        assert on_gpu.faults == []
    assert delta_e(pixels(made), small(photo.read(PHOTOS / "camera.png").rgb8)) < 0.1


def test_without_a_network_from_any_folder(browser, site, tmp_path):
    (tmp_path / "some where").symlink_to(site)
    with serving(tmp_path) as server:
        page = visit(browser, address(server) + "some%20where/")
        assert "also without a network" in page.inner_text("#engine")
    # The server is gone.
    page.reload()
    page.wait_for_selector("#engine[data-on]")
    give(page, PHOTOS / "camera.png")
    done(page, "camera.png")
    page.context.close()


def test_a_new_version_takes_the_place_of_the_former(browser, site, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    config = json.loads((tmp_path / "site" / "config.json").read_text())
    with serving(tmp_path / "site", Isolating) as server:
        page = visit(browser, address(server))
        style = tmp_path / "site" / "style.css"
        style.write_text(style.read_text() + "h1 { letter-spacing: 3px; }")
        (tmp_path / "site" / "config.json").write_text(json.dumps(config | {"version": "another"}))
        page.reload()
        page.wait_for_selector("#engine[data-on]")
        expect(page.locator("h1")).to_have_css("letter-spacing", "3px")
        assert page.evaluate("caches.keys()") == ["kcolor / another"]
        # Its worker, too, is isolated, and the network on several cores.
        asked = [line for line in server.asked if line.endswith(".wasm")]
        assert asked == ["GET /runtime/wasm/litert_wasm_threaded_internal.wasm"] * 2
        give(page, PHOTOS / "camera.png")
        done(page, "camera.png")
        page.context.close()


def test_a_server_runs_the_network_where_the_browser_cannot(browser, site, tmp_path, small):
    shutil.copytree(site, tmp_path / "site")
    config = json.loads((tmp_path / "site" / "config.json").read_text()) | {"predict": "v1/models/small:predict"}
    (tmp_path / "site" / "config.json").write_text(json.dumps(config))
    (tmp_path / "site" / "model.tflite").write_bytes(b"no model")

    class Predicting(Files):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert asked["signature_name"] == "ab"
            outputs = small.outputs(np.asarray(asked["inputs"]["l"], np.float32))
            body = json.dumps({"outputs": {name: value.numpy().tolist() for name, value in outputs.items()}}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(tmp_path / "site", Predicting) as server:
        page = visit(browser, address(server))
        by_server(page, small)
        expect(card(page, "camera.png").locator(".scene")).to_contain_text("The network took it for")
        assert [line for line in server.asked if "POST" in line] == ["POST /v1/models/small:predict"]
        page.context.close()


def test_the_page_of_kcolor_serve(browser, small):
    with within(model.load(Path("small")), body=10_000_000) as url:
        page = visit(browser, url)
        by_server(page, small)
        page.context.close()


def by_server(page: Page, small: Colorizer) -> None:
    assert "Each is shown to this server" in page.inner_text("#promise")
    give(page, PHOTOS / "camera.png")
    done(page, "camera.png")
    made, _ = downloaded(page, "camera.png")
    assert delta_e(pixels(made), small(photo.read(PHOTOS / "camera.png").rgb8)) < 0.1


def test_looks(page, tmp_path):
    """For people to look at; and nothing is wider than the screen."""
    OUTPUT.mkdir(exist_ok=True)
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear aunt,")
    for state in ("empty", "photos"):
        for device, (width, height) in {"phone": (375, 812), "desktop": (1280, 900)}.items():
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=OUTPUT / f"web-{device}-{scheme}-{state}.png", full_page=True)
        if state == "empty":
            give(page, PHOTOS / "camera.png", letter, PHOTOS / "rocket.jpg")
            done(page, "rocket.jpg")
