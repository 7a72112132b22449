"""Tables of the data that the book uses: where each set lives, its terms, how it is checked."""

from dataclasses import dataclass
from typing import NamedTuple

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class File(NamedTuple):
    """A file to download: its name, address, size in bytes and SHA-256 (None: not known)."""

    name: str
    url: str | None
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Source:
    """A data set: what it is, where it comes from, and what is pinned of it.

    Attributes
    ----------
    name : str
        What the functions of `lib.datasets` call it.
    title, home, licence, citation : str
        What it is, the address of its public page, the terms, whom to cite.
    path : str
        File or folder that holds it, inside a data folder; empty where an installed package does.
    files : tuple of File
        What is downloaded: the set's files, or one archive (see `keep`).
    keep : str, optional
        If `files` holds an archive: regular expression of the members to unpack. Its first group
        is the member's name inside `path`.
    fingerprint : str, optional
        What `lib.datasets.fingerprint` says of it.
    suffixes : tuple of str
        Endings of the files in the folder that count as data; empty: all.
    by_hand : str
        How to get it where it cannot be downloaded unattended.
    """

    name: str
    title: str
    home: str
    licence: str
    citation: str
    path: str = ""
    files: tuple[File, ...] = ()
    keep: str | None = None
    fingerprint: str | None = None
    suffixes: tuple[str, ...] = ()
    by_hand: str = ""


def _github(repository, commit, folder, *files):
    """Files of a GitHub repository at a commit, given as (name, size, sha256)."""
    base = f"https://raw.githubusercontent.com/{repository}/{commit}/{folder}/"
    return tuple(File(name, base + name, size, sha256) for name, size, sha256 in files)


_LADRET = "Ladret, Casanova & Perrinet (2023), arXiv:2312.14685"

_TABLE = (
    Source(
        name="bundled",
        title="Photographs that are installed with scikit-image and SPORCO (see BUNDLED)",
        home="https://scikit-image.org/docs/stable/api/skimage.data.html",
        licence="public domain, CC0 or free to redistribute, image by image, as both packages say",
        citation="van der Walt et al. (2014), doi:10.7717/peerj.453; Wohlberg (2017), "
        "doi:10.25080/shinma-7f4c6e7-001",
        fingerprint="c1058d413234532ff370e8c1ac6626865d57b00c433158f669f62c8ee8896f3c",
    ),
    Source(
        name="bsds500",
        title="BSDS500: 500 photographs of 481 × 321 pixels in three folders: train, val, test",
        home="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html",
        licence="non-commercial research and education",
        citation="Arbeláez, Maire, Fowlkes & Malik (2011), doi:10.1109/TPAMI.2010.161",
        path="bsds500",
        files=(
            File(
                "BSR_bsds500.tgz",
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/"
                "BSR_bsds500.tgz",
                70_763_455,
                "97e49d31764f3912f0c4122707d53062ac9e783ba0f095e447a4d53c1a41af8e",
            ),
        ),
        keep=r"BSR/BSDS500/data/images/((?:train|val|test)/\d+\.jpg)",
        fingerprint="eaae4240cb921a9a77b3a87ade9a6a517588996ac105d7fb25c57c21256f856c",
        suffixes=(".jpg",),
    ),
    Source(
        name="hd-natural",
        title="HD natural images database for sparse coding: 1145 photographs",
        home="https://doi.org/10.6084/m9.figshare.24167265.v1",
        licence="as stated on its FigShare page",
        citation=_LADRET,
        path="hd-natural",
        files=(
            File("hd-natural.zip", "https://figshare.com/ndownloader/files/42404574", None, None),
        ),
        keep=r"(.+\.(?:jpe?g|png|tiff?|JPE?G|PNG|TIFF?))",
        suffixes=IMAGE_SUFFIXES,
        by_hand="download the zip from its page and save it as hd-natural.zip in a folder that "
        "LIB_DATA names, or unpack it there into a folder hd-natural",
    ),
    Source(
        name="meyer2014",
        title="421 panoramas of natural scenes, high dynamic range, 927 columns for 360°",
        home="https://pub.uni-bielefeld.de/record/2689637",
        licence="as stated on its record",
        citation="Meyer, Schwegmann, Lindemann & Egelhaaf (2014), Panoramic high dynamic range "
        "images in diverse environments, Bielefeld University, record 2689637",
        path="meyer2014",
        suffixes=(".mat",),
        by_hand="download the .rar archives from the record, unpack them with a tool that reads "
        ".rar (7-Zip: `7z x NAME.rar`; or `unar NAME.rar`), and put the .mat files into a folder "
        "meyer2014 inside a folder that LIB_DATA names",
    ),
    Source(
        name="cifar10",
        title="CIFAR-10: 60,000 colour images of 32 × 32 pixels in ten classes",
        home="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated",
        citation="Krizhevsky (2009), Learning multiple layers of features from tiny images, "
        "University of Toronto",
        path="cifar-10-batches-py",
        files=(
            File(
                "cifar-10-python.tar.gz",
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                170_498_071,
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
        ),
        keep=r"cifar-10-batches-py/([^/]+)",
    ),
    Source(
        name="cifar10-jpeg",
        title="CIFAR-10 in grey, decoded from a JPEG copy of quality 75",
        home="https://www.cs.toronto.edu/~kriz/cifar.html (the original)",
        licence="that of CIFAR-10",
        citation="Krizhevsky (2009), as cifar10",
        path="cifar10_gray_jpeg75.npz",
        files=(
            File(
                "cifar10_gray_jpeg75.npz",
                None,
                58_429_919,
                "258e4ce88950dccdaeb13684731890b6a3a618a14a44106c48126433b17e94f2",
            ),
        ),
        by_hand="this copy has no public home: use cifar10, the original, which downloads; or put "
        "cifar10_gray_jpeg75.npz into a folder that LIB_DATA names",
    ),
    Source(
        name="digits",
        title="1797 handwritten digits of 8 × 8 pixels, installed with scikit-learn",
        home="https://archive.ics.uci.edu/dataset/80",
        licence="CC BY 4.0",
        citation="Alpaydin & Kaynak (1998), doi:10.24432/C50P49",
        fingerprint="4e1325d038813314ead2a30970b4ad8eed6ef36a845f57a2129b3ece33899fd1",
    ),
    Source(
        name="connectome",
        title="Synapse counts by column offset among cell types of the fly's optic lobe",
        home="https://github.com/TuragaLab/flyvis",
        licence="MIT",
        citation="Lappalainen et al. (2024), doi:10.1038/s41586-024-07939-3",
        path="connectome/fib25-fib19_v2.2.json",
        files=_github(
            "TuragaLab/flyvis",
            "a76037e6309277b18d3c4e86c01a05860d69eadf",
            "flyvis/connectome",
            (
                "fib25-fib19_v2.2.json",
                618_148,
                "bfbb0766251ff09e22723d0ebbf7b14793e70b3ae8ad0eea64eac9d28223351a",
            ),
        ),
    ),
    Source(
        name="ladret2024",
        title="Published learned dictionaries and per-image fits and histograms of 1145 images",
        home="https://github.com/hugoladret/epistemic_CSC",
        licence="none stated in the repository: compared with, not passed on",
        citation=_LADRET,
        path="ladret2024",
        files=_github(
            "hugoladret/epistemic_CSC",
            "a2eff63df0b161be89d7eacbc2676a7ea96cf31b",
            "code/data",
            (
                "dictionary_learned.npz",
                78_417,
                "f005f3c0d55f8f8e6c4ff16c99aa4ca8485acfcce7490539e71f7c841175710f",
            ),
            (
                "dictionary_learned_thin.npz",
                78_409,
                "5deae7c887060631cff3613f475316d4ef1ad311b793679f9c789b4c00030287",
            ),
            (
                "full_histo_R2_btheta.npy",
                9_288,
                "fa0638423b0613198936ce19aa023b80169a6745031375cecce3e0c60f71b806",
            ),
            (
                "full_histo_a_btheta.npy",
                9_288,
                "315b088c6352fa9c697708ef691d5c75974d29ce50855f8860a54ba54370acbb",
            ),
            (
                "full_histo_b_btheta.npy",
                9_288,
                "8cac2d7ea7e8a3a881310927e74863e28da2bd84e5566b23a9dc0399bbbd2739",
            ),
            (
                "hist_coeffs_btheta.npy",
                595_528,
                "2382d8e04a789256525c56c265634362fa9c0e18188d91aa78f65f74b1c80561",
            ),
            (
                "hist_ori_.npy",
                659_648,
                "115111bbf0ed6bdfd93a478da2ecfdbd415d573a68350736547f8aba03d21209",
            ),
            (
                "hist_ori_btheta_0.npy",
                110_048,
                "21f5a35cb49a7b3f71c1aa04f14072a5855f2661798a4c81a4897831ccb41509",
            ),
            (
                "hist_ori_btheta_3.npy",
                110_048,
                "d4d383f1c31ec987563c28b4fb46a93d983cf51636c3552fe51d04848223c020",
            ),
            (
                "hist_ori_btheta_5.npy",
                110_048,
                "6815b3a866484a38e81023bae1fc993363d12cb668152d31247129ee292b91c6",
            ),
        ),
    ),
    Source(
        name="ketkar2022",
        title="Recorded responses of L1–L3 to a staircase of luminance",
        home="https://doi.org/10.5281/zenodo.6335347",
        licence="as stated on its Zenodo page",
        citation="Ketkar et al. (2022), doi:10.7554/eLife.74937",
        path="ketkar2022",
        by_hand="download the archive from its page and unpack it into a folder ketkar2022 inside "
        "a folder that LIB_DATA names",
    ),
)

SOURCES = {source.name: source for source in _TABLE}


class BundledImage(NamedTuple):
    """An image file of an installed package: whether it is used as a photograph, and why."""

    package: str
    file: str
    used: bool
    why: str


BUNDLED = (
    BundledImage("skimage", "astronaut.png", True, "portrait indoors"),
    BundledImage("skimage", "camera.png", True, "person on a lawn, skyline"),
    BundledImage("skimage", "chelsea.png", True, "face of a cat"),
    BundledImage("skimage", "coffee.png", True, "cup on a wooden table"),
    BundledImage("skimage", "coins.png", True, "coins laid out on a dark ground"),
    BundledImage("skimage", "grass.png", True, "grass and leaves from above"),
    BundledImage("skimage", "gravel.png", True, "gravel from above"),
    BundledImage("skimage", "motorcycle_left.png", True, "motorcycle in a garage"),
    BundledImage("skimage", "rocket.jpg", True, "rocket and towers at dusk"),
    BundledImage("sporco", "barbara.png", True, "person, books and patterned cloth"),
    BundledImage("sporco", "kodim23.png", True, "two parrots before leaves"),
    BundledImage("sporco", "monarch.png", True, "butterfly on flowers"),
    BundledImage("sporco", "sail.png", True, "sailboards on the sea"),
    BundledImage("sporco", "tulips.png", True, "flower bed"),
    BundledImage("skimage", "brick.png", False, "texture map, warped and turned by 90°"),
    BundledImage("skimage", "cell.png", False, "hologram of a cell"),
    BundledImage("skimage", "chessboard_GRAY.png", False, "synthetic"),
    BundledImage("skimage", "chessboard_RGB.png", False, "synthetic"),
    BundledImage("skimage", "clock_motion.png", False, "blurred by a moving camera on purpose"),
    BundledImage("skimage", "color.png", False, "synthetic colour wheel"),
    BundledImage("skimage", "horse.png", False, "binary silhouette"),
    BundledImage("skimage", "hubble_deep_field.jpg", False, "astronomy: points on black"),
    BundledImage("skimage", "ihc.png", False, "medical: stained tissue"),
    BundledImage("skimage", "logo.png", False, "drawing"),
    BundledImage("skimage", "microaneurysms.png", False, "medical: detail of a retina"),
    BundledImage("skimage", "moon.png", False, "astronomy: the moon from orbit"),
    BundledImage("skimage", "motorcycle_right.png", False, "same scene as motorcycle_left"),
    BundledImage("skimage", "multipage.tif", False, "synthetic, 10 × 15 pixels"),
    BundledImage("skimage", "multipage_rgb.tif", False, "synthetic, for tests of TIFF readers"),
    BundledImage("skimage", "no_time_for_that_tiny.gif", False, "animation, 14 × 25 pixels"),
    BundledImage("skimage", "page.png", False, "text"),
    BundledImage("skimage", "phantom.png", False, "synthetic head phantom"),
    BundledImage("skimage", "retina.jpg", False, "medical: retina"),
    BundledImage("skimage", "text.png", False, "text"),
)
