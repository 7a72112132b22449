"""The rendered book as a reader meets it: every page in a real browser, from a server and a disk.

`make site` renders `_build/strict` from stored outputs; `make test` does so first. Without the
site or without Chromium the tests skip, unless BOOK_REQUIRE_SITE is set, as in `.ci/run`.
"""

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from urllib.parse import quote, unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from lib import chapters, ledger, printing

SITE = ledger.ROOT / "_build" / "strict" / "_build" / "html"
CHAPTERS = [f"book/{chapter}.html" for chapter in chapters.chapters()]
PAGES = ["book/index.html", *CHAPTERS]
PAGES += [
    path.relative_to(ledger.ROOT).with_suffix(".html").as_posix()
    for path in sorted(chapters.BOOK.rglob("*.md"))
    if path.name != "index.md"
]
WIDTHS = {"desktop": (1300, 900), "phone": (390, 844)}
QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
MEGABYTE = 1_000_000


def missing(reason):
    if os.environ.get("BOOK_REQUIRE_SITE"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def site():
    if not (SITE / "book" / "index.html").exists():
        missing("the rendered book is missing: make site")
    return SITE


@pytest.fixture(scope="module")
def soups(site):
    return {
        path.relative_to(site).as_posix(): BeautifulSoup(path.read_bytes(), "html.parser")
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }


@pytest.fixture(scope="module")
def origin(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# One browser a module, closed behind it: Playwright's event loop would disturb the tests that
# run kernels.
@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    program = printing.find_browser()
    if program is None:
        missing(f"none of {', '.join(printing.BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open a page and wait until it is quiet and its math set; collects what went wrong."""
    contexts = []

    def open_page(address, width="desktop", scheme="light"):
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.problems, page.bytes = [], 0
        root = address.split("/book/")[0].split("/search.html")[0]

        def console(message):
            if message.type == "error":
                page.problems.append(f"console: {message.text}")

        def request(sent):
            if not sent.url.startswith((root, "data:", "blob:")):
                page.problems.append(f"asked for {sent.url}")

        page.on("console", console)
        page.on("pageerror", lambda error: page.problems.append(f"script: {error}"))
        page.on("request", request)
        page.on(
            "response",
            lambda answer: answer.ok or page.problems.append(f"{answer.status}: {answer.url}"),
        )
        page.on("requestfailed", lambda sent: page.problems.append(f"failed: {sent.url}"))
        page.goto(address, wait_until="load")
        page.evaluate("() => window.MathJax?.startup?.promise")
        page.evaluate("() => document.fonts.ready.then(() => true)")
        return page

    yield open_page
    for context in contexts:
        context.close()


def assert_none(problems):
    assert not problems, "\n".join(map(str, problems))


def place(site, origin, page, lane):
    return f"{origin}/{page}" if lane == "server" else f"{site.as_uri()}/{page}"


BROKEN_IMAGES = """async () => {
  const images = [...document.images].filter((image) => image.getAttribute("src"));
  for (const image of images) image.loading = "eager";
  await Promise.all(images.map((image) => image.decode().catch(() => null)));
  return images.filter((image) => !image.naturalWidth || !image.alt.trim())
    .map((image) => image.outerHTML.slice(0, 200));
}"""
UNSET_MATH = r"""() => {
  const unset = [...document.querySelectorAll(".math")].filter(
    (item) => !item.querySelector("mjx-container") && !item.closest("mjx-container"));
  const broken = [...document.querySelectorAll("mjx-merror")];
  const raw = [];
  const walker = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (/\\\(|\\\[|\$\$|\\frac|\\begin/.test(node.data)
        && !node.parentElement.closest("pre, code, script, style")) raw.push(node.parentElement);
  }
  return [...unset, ...broken, ...raw].map((item) => item.textContent.slice(0, 80));
}"""
UNLOADED_FONTS = """() => {
  const fonts = [...document.fonts].filter((font) => font.family.includes("MJX"));
  const failed = fonts.filter((font) => font.status === "error").map((font) => font.family);
  const wanted = document.querySelector("mjx-container");
  return wanted && !fonts.some((font) => font.status === "loaded") ? ["none loaded"] : failed;
}"""
WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("article *")]
    .filter((item) => item.getBoundingClientRect().right > width + 1)
    .filter((item) => !item.closest("pre, mjx-container"))
    .map((item) => item.outerHTML.slice(0, 120)).slice(0, 8).concat("wide");
}"""
# Contrast of text with what is painted behind it, as WCAG defines it.
FAINT = """(limit) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const seen = {};
  const read = (colour) => {
    if (seen[colour]) return seen[colour];
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return seen[colour] = [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) =>
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (item) => {
    for (; item; item = item.parentElement) {
      const colour = read(getComputedStyle(item).backgroundColor);
      if (colour[3] > 127) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faint = new Set();
  const walker = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const item = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim()) continue;
    if (item.closest("pre, .headerlink, script, style")) continue;
    if (!item.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const style = getComputedStyle(item);
    const [a, b] = [luminance(read(style.color)), luminance(behind(item))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const text = `<${item.tagName} ${item.className}> ${item.textContent.slice(0, 50)}`;
    if (contrast < limit) faint.add(`${contrast.toFixed(1)}: ${text}`);
  }
  return [...faint].slice(0, 8);
}"""


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("lane", "width", "scheme"), [("server", "desktop", "light"), ("disk", "phone", "dark")]
)
def test_page(page, lane, width, scheme, site, origin, visit):
    view = visit(place(site, origin, page, lane), width, scheme)
    assert_none(view.evaluate(BROKEN_IMAGES))
    assert_none(view.evaluate(UNSET_MATH))
    assert_none(view.evaluate(UNLOADED_FONTS))
    for colours in (scheme, "light" if scheme == "dark" else "dark"):
        view.emulate_media(color_scheme=colours)
        view.wait_for_function(f"document.documentElement.dataset.theme === '{colours}'")
        assert_none(view.evaluate(FAINT, 4.5 if colours == scheme else 3))
    assert_none(view.evaluate(WIDE))
    assert_none(view.problems)


@pytest.mark.parametrize("lane", ["server", "disk"])
def test_animations_move(lane, soups, site, origin, visit):
    pages = [page for page in PAGES if soups[page].select(".animation")]
    assert pages
    for page in pages:
        view = visit(place(site, origin, page, lane))
        for animation in view.locator(".animation").all():
            slider, image = animation.locator("input[type=range]"), animation.locator("img")
            before = image.get_attribute("src")
            slider.scroll_into_view_if_needed()
            box = slider.bounding_box()
            view.mouse.click(box["x"] + 0.7 * box["width"], box["y"] + box["height"] / 2)
            view.wait_for_function(
                "([image, before]) => image.src !== before",
                arg=[image.element_handle(), before],
                timeout=3000,
            )
        assert_none(view.problems)


def body_word(soup):
    """The longest word of a page's first paragraph: what a reader might look for."""
    paragraph = next(p for p in soup.select("article p") if len(p.get_text()) > 60)
    return max(re.findall(r"[a-z]{6,}", paragraph.get_text()), key=len)


@pytest.mark.parametrize("lane", ["server", "disk"])
def test_search_finds_every_chapter(lane, soups, site, origin, visit):
    for page in CHAPTERS if lane == "server" else CHAPTERS[:2]:
        word = body_word(soups[page])
        view = visit(place(site, origin, f"search.html?q={quote(word)}", lane))
        view.wait_for_selector("#search-results .search-summary, #search-results p")
        found = view.locator(f'#search-results a[href*="{page}"]')
        found.first.wait_for(timeout=5000)
        assert_none(view.problems)


def test_folded_code_opens(soups, site, origin, visit):
    page = next(page for page in CHAPTERS if soups[page].select("details.hide"))
    view = visit(place(site, origin, page, "server"))
    fold = view.locator("details.hide").first
    assert not fold.locator("pre").first.is_visible()
    fold.locator("summary").click()
    assert fold.locator("pre").first.is_visible()


def test_every_internal_link_and_anchor_resolves(soups, site):
    anchors = {
        name: {tag.get("id") or tag["name"] for tag in soup.select("[id], a[name]")}
        for name, soup in soups.items()
    }
    broken = []
    for name, soup in soups.items():
        for item in soup.select("a[href], link[href], img[src], script[src]"):
            address = item.get("href") or item["src"]
            parts = urlsplit(unquote(address))
            if parts.scheme:
                # Only a link that a reader follows may lead elsewhere.
                if item.name != "a" and parts.scheme != "data":
                    broken.append((name, address))
                continue
            target = name
            if parts.path:
                target = os.path.normpath(os.path.join(os.path.dirname(name), parts.path))
            known = {"", *anchors.get(target, {parts.fragment})}
            if not (site / target).is_file() or parts.fragment not in known:
                broken.append((name, address))
    assert_none(broken)


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_bears_the_number_by_which_others_call_it(page, soups):
    name = page.split("/")[-1]
    number = str(int(name[:2])) if name[0].isdigit() else name[0].upper()
    assert soups[page].select_one("article section h1").get_text().split()[0] == f"{number}."


@pytest.mark.parametrize("page", PAGES)
def test_every_figure_is_numbered_and_captioned(page, soups):
    for image in soups[page].select(".cell_output img, article figure img"):
        if image.find_parent(class_="animation"):
            continue
        figure = image.find_parent("figure")
        assert figure is not None, image
        number = figure.select_one("figcaption .caption-number")
        assert number is not None, figure
        assert re.match(r"Fig. \d+", number.get_text()), number
        assert len(figure.select_one("figcaption .caption-text").get_text()) > 20


@pytest.mark.parametrize("page", PAGES)
def test_no_output_shows_a_warning_or_a_traceback(page, soups):
    for output in soups[page].select(".cell_output"):
        assert not output.select(".stderr, .traceback"), output
        assert not re.search(r"Traceback \(most|\w+(Warning|Error): ", output.get_text()), output


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_small_with_all_that_it_loads(page, soups, site):
    folder = (site / page).parent
    loaded = {item["src"] for item in soups[page].select("img[src], script[src]")}
    loaded |= {item["href"] for item in soups[page].select("link[rel=stylesheet]")}
    files = {
        (folder / name.split("?")[0]).resolve() for name in loaded if not name.startswith("data")
    }
    size = (site / page).stat().st_size + sum(path.stat().st_size for path in files)
    assert size <= 5 * MEGABYTE


def test_the_whole_site_fits_a_stick(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= 40 * MEGABYTE


def test_the_book_prints_with_its_math_set(site, tmp_path):
    if printing.find_browser() is None:
        missing(f"none of {', '.join(printing.BROWSERS)} is installed")
    # One page stands for Sphinx's single page, which takes a build of its own.
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.html").write_bytes((site / "book" / "01_ou.html").read_bytes())
    (tmp_path / "_static").symlink_to(site / "_static")
    text = (tmp_path / "book" / "index.html").read_text().replace("../_", "_")
    (tmp_path / "book" / "index.html").write_text(text)
    # In a process of its own: a second Playwright would disturb this one's.
    command = [sys.executable, "-m", "lib.book", "pdf", tmp_path, "--out", tmp_path / "book.pdf"]
    subprocess.run(command, check=True, cwd=ledger.ROOT)
    data = (tmp_path / "book.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert data.count(b"/Type /Page\n") >= 4
    assert b"MJXTEX" in data or b"MathJax" in data


def test_what_cannot_be_printed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="site must hold a book"):
        printing.print_pdf(tmp_path, tmp_path / "x.pdf")
