"""Archives from strangers: nothing leaves the folder, nothing broken passes."""

import io
import tarfile
import zipfile

import numpy as np
import pytest

from lib import _archives
from lib.datasets import DataDamaged

PAYLOAD = np.random.default_rng(0).bytes(300_000)


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(*members):
    """A .tar.gz of (name, data) pairs and ready-made TarInfo objects."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "C:\\evil.txt", "a\\..\\..\\evil.txt"]
)
def test_zip_that_climbs_out(tmp_path, name):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"good.txt": b"good", name: b"evil"}))
    with pytest.raises(DataDamaged, match=r"is not safe: its member .* would be written outside"):
        _archives.unpack(path, tmp_path / "below" / "out", "(.+)")
    assert contents(tmp_path / "below") == {}


@pytest.mark.parametrize(
    "member",
    [
        ("../evil.txt", b"evil"),
        link("evil.txt", "/etc/passwd"),
        link("evil.txt", "../../secret"),
        link("evil.txt", "/etc/passwd", tarfile.LNKTYPE),
        link("evil.txt", "", tarfile.CHRTYPE),
    ],
    ids=["name", "absolute link", "relative link", "hard link", "device"],
)
def test_tar_that_climbs_out(tmp_path, member):
    path = tmp_path / "a.tgz"
    path.write_bytes(tarred(("good.txt", b"good"), member))
    with pytest.raises(DataDamaged, match=r"is not safe: its member .*evil\.txt' would reach out"):
        _archives.unpack(path, tmp_path / "below" / "out", "(.+)")
    assert contents(tmp_path / "below") == {}


def test_absolute_names_in_a_tar_stay_inside_and_links_are_left_out(tmp_path):
    path = tmp_path / "a.tgz"
    outside = tmp_path / "outside.txt"
    path.write_bytes(tarred((str(outside), b"data"), link("link.txt", "inside.txt")))
    out = _archives.unpack(path, tmp_path / "out", "(.+)")
    assert contents(out) == {str(outside).lstrip("/"): b"data"}
    assert not outside.exists()


def deflated(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("pack", "at", "reason"),
    [
        (zipped, 50_000, r"Bad CRC-32 for file '1\.txt'"),
        (deflated, 35, "Error -3 while decompressing"),  # where the compressed data begin
        (lambda members: tarred(*members.items()), 10, "Error -3 while decompressing"),
        (lambda members: tarred(*members.items()), 20_000, "CRC check failed"),
    ],
)
def test_damage_inside(tmp_path, pack, at, reason):
    text = "".join(f"line {i}\n" for i in range(20_000)).encode()
    whole = pack({"1.txt": text})
    (tmp_path / "a").write_bytes(whole[:at] + b"\xff" * 9 + whole[at + 9 :])
    with pytest.raises(DataDamaged, match=rf"is a broken archive \({reason}"):
        _archives.unpack(tmp_path / "a", tmp_path / "out", "(.+)")


@pytest.mark.parametrize("pack", [zipped, lambda members: tarred(*members.items())])
def test_broken_archives(tmp_path, pack, monkeypatch):
    whole = pack({"1.txt": PAYLOAD, "2.txt": b"two"})
    path = tmp_path / "a"
    for i, data in enumerate((whole[:-2000], whole[:100_000], b"", b"no archive at all")):
        path.write_bytes(data)
        with pytest.raises(DataDamaged, match="is a broken archive"):
            _archives.unpack(path, tmp_path / str(i), "(.+)")
    path.write_bytes(whole)
    with pytest.raises(DataDamaged, match=r"holds nothing that was expected in it \(names like"):
        _archives.unpack(path, tmp_path / "nothing", r"(.+\.jpg)")
    monkeypatch.setattr(_archives, "_MAX_UNPACKED", len(PAYLOAD) + 2)
    with pytest.raises(DataDamaged, match="claims to unpack to more than 300002 bytes"):
        _archives.unpack(path, tmp_path / "bomb", "(.+)")
