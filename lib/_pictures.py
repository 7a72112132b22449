"""Pictures in notebooks: stored small, printed sharp, shown at the size they were drawn for."""

import base64
import io

from PIL import Image

# CSS pixels per inch of figure.
_SHOWN = 100


def slim(notebook):
    """Store the PNG pictures of a notebook with 256 colours, where that makes them smaller."""
    for _, data in _pictures(notebook):
        png = base64.b64decode(data["image/png"])
        picture = Image.open(io.BytesIO(png))
        buffer = io.BytesIO()
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(buffer, "PNG", optimize=True, dpi=picture.info.get("dpi"))
        if buffer.tell() < len(png):
            data["image/png"] = base64.b64encode(buffer.getvalue()).decode()


def set_widths(notebook):
    """Have the figures of a notebook shown at their size in inches, whatever their resolution."""
    for cell, data in _pictures(notebook):
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        shown = cell.metadata.get("mystnb", {})
        if "figure" in shown and "dpi" in picture.info:
            inches = picture.width / picture.info["dpi"][0]
            shown.setdefault("image", {})["width"] = f"{round(_SHOWN * inches)}px"


def _pictures(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield cell, output["data"]
