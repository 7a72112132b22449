"""The whole book as one PDF: Sphinx's single page, printed by Chromium."""

import shutil
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FOOTER = '<div style="width: 100%; font-size: 8px; text-align: center" class="pageNumber"></div>'
_MARGINS = {"top": "15mm", "bottom": "18mm", "left": "14mm", "right": "14mm"}
# Letters of a screen are too large for paper: at this scale a line of code fits a line of A4.
_SCALE = 0.8


def find_browser():
    """Path of an installed Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def print_pdf(site, target):
    """Print a book that Sphinx's builder ``singlehtml`` has rendered.

    Parameters
    ----------
    site : Path
        The builder's output folder.
    target : Path
        The PDF.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    ValueError
        The folder holds no such book, or no browser is installed.
    """
    from playwright.sync_api import sync_playwright

    page = Path(site).resolve() / "book" / "index.html"
    program = find_browser()
    if not page.exists():
        raise ValueError(f"site must hold a book rendered as one page, {page} does not exist")
    if program is None:
        raise ValueError(f"printing needs one of {', '.join(BROWSERS)}")
    # Sphinx writes a page in a folder, with links as if it were above it.
    page = Path(shutil.copy(page, page.parents[1] / "print.html"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        view = browser.new_page(color_scheme="light")
        view.goto(page.as_uri())
        view.evaluate("() => MathJax.startup.promise")
        view.evaluate("() => document.fonts.ready.then(() => true)")
        view.pdf(
            path=target,
            format="A4",
            scale=_SCALE,
            print_background=True,
            outline=True,
            tagged=True,
            margin=_MARGINS,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=_FOOTER,
        )
        browser.close()
    return Path(target)
