"""Fetching data: a real server, real broken files, and nothing half done under a final name."""

import dataclasses
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from disks import run_on_disk

from lib import _downloads
from lib.datasets import SOURCES, DataDamaged, DataUnavailable, File, Source, download, fetch

ROOT = Path(__file__).resolve().parents[1]
PAYLOAD = np.random.default_rng(0).bytes(300_000)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no local data, and no proxy between the test and its server."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(_downloads, "cache_folder", lambda: folder)
    monkeypatch.delenv("LIB_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


class Server(ThreadingHTTPServer):
    """Serves `pages`: path → bytes, or a function of the handler that answers by itself."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.requests = {}, []

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def file(self, name, data, answer=None):
        """A `File` that pins `data`; what is sent is `answer`, if given."""
        self.pages[f"/{name}"] = data if answer is None else answer
        return File(name, self.url(name), len(data), sha256(data))


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        page = self.server.pages.get(self.path)
        if page is None:
            self.send_error(404)
        elif callable(page):
            page(self)
        else:
            self.start(len(page))
            self.wfile.write(page)

    def start(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def toy(*files, **more):
    fields = {"title": "toy", "home": "https://example.org/toy", "licence": "none", "citation": ""}
    return Source("toy", path="toy", files=files, **{**fields, **more})


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


def test_single_file_arrives_with_a_progress_bar_and_nothing_else(server, tmp_path, capfd):
    path = download(toy(server.file("a.bin", PAYLOAD)), tmp_path / "new" / "data")
    assert path == tmp_path / "new" / "data" / "toy"
    assert path.read_bytes() == PAYLOAD
    assert list(path.parent.iterdir()) == [path]
    out, err = capfd.readouterr()
    assert out == ""
    assert "300k/300k" in err
    download(toy(server.file("a.bin", PAYLOAD)), tmp_path / "quiet", progress=False)
    before = path.stat().st_ino
    download(toy(server.file("a.bin", PAYLOAD)), path.parent, progress=False)
    assert path.stat().st_ino == before  # another process may be reading it
    assert capfd.readouterr() == ("", "")


def test_several_files_arrive_together_or_not_at_all(server, tmp_path):
    good = server.file("a.bin", b"alpha"), server.file("b.bin", b"beta")
    path = download(toy(*good), tmp_path / "good", progress=False)
    assert contents(path) == {"a.bin": b"alpha", "b.bin": b"beta"}
    bad = good[0], server.file("b.bin", b"beta", answer=b"gamma")
    with pytest.raises(DataDamaged, match=r"b\.bin did not deliver toy as pinned"):
        download(toy(*bad), tmp_path / "bad", progress=False)
    assert contents(tmp_path / "bad") == {}


def test_archive_keeps_what_is_wanted_and_is_checked_once_unpacked(server, tmp_path):
    wanted = {"in/x/1.txt": b"one", "in/2.txt": b"two"}
    other = {"readme.md": b"", "in/.hidden.txt": b"", "__MACOSX/in/._2.txt": b""}
    manifest = f"{sha256(b'two')}  2.txt\n{sha256(b'one')}  x/1.txt\n"
    for name, data in (
        ("a.zip", zipped(wanted | other)),
        ("a.tgz", tarred(*(wanted | other).items())),
    ):
        source = toy(
            server.file(name, data),
            keep=r"(?:__MACOSX/)?in/(.+\.txt)",
            fingerprint=sha256(manifest.encode()),
        )
        path = download(source, tmp_path / name, progress=False)
        assert contents(path) == {"x/1.txt": b"one", "2.txt": b"two"}
        wrong = dataclasses.replace(source, fingerprint="0" * 64)
        with pytest.raises(
            DataDamaged, match=r"toy as published: its 2 files have the fingerprint"
        ):
            download(wrong, tmp_path / f"wrong-{name}", progress=False)
        assert contents(tmp_path / f"wrong-{name}") == {}


def hang_up(handler):
    handler.start(len(PAYLOAD))
    handler.wfile.write(PAYLOAD[:1000])


def stall(handler):
    hang_up(handler)
    handler.wfile.flush()
    time.sleep(2)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (b"a login page", DataDamaged, "did not deliver toy as pinned, and nothing was kept"),
        (PAYLOAD[:-1], DataDamaged, "did not deliver toy as pinned, and nothing was kept"),
        (hang_up, DataUnavailable, r"could not be downloaded \(ChunkedEncodingError"),
        (stall, DataUnavailable, r"could not be downloaded \(ConnectionError: .*timed out"),
        (lambda h: h.send_error(503), DataUnavailable, r"could not be .* \(HTTPError: 503 Server"),
        (lambda h: h.send_error(404), DataUnavailable, r"could not be .* \(HTTPError: 404 Client"),
    ],
    ids=["other", "short", "hang-up", "stall", "503", "404"],
)
def test_bad_answers_are_explained_and_leave_nothing(
    server, tmp_path, monkeypatch, answer, error, message
):
    monkeypatch.setattr(_downloads, "_TIMEOUT", 0.3)
    source = toy(server.file("a.bin", PAYLOAD, answer))
    with pytest.raises(error, match=message) as raised:
        download(source, tmp_path, progress=False)
    if error is DataUnavailable:
        assert "https://example.org/toy; get it elsewhere and put it into" in str(raised.value)
    assert contents(tmp_path) == {}
    server.pages["/a.bin"] = PAYLOAD
    assert download(source, tmp_path, progress=False).read_bytes() == PAYLOAD
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_no_network(tmp_path):
    with Server() as closed:
        file = closed.file("a.bin", PAYLOAD)
    with pytest.raises(DataUnavailable, match=r"toy is not on disk, and .*ConnectionError"):
        download(toy(file), tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (File("a.zip", "http://127.0.0.1:9/a.zip", 1, None), "its SHA-256 is not pinned"),
        (File("a.zip", None, 1, "0" * 64), "it is not downloaded unattended"),
    ],
)
def test_nothing_unpinned_is_downloaded(server, tmp_path, file, message):
    with pytest.raises(DataUnavailable, match=rf"^toy is not on disk and {message}"):
        download(toy(file), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_killed_download_leaves_no_final_name_and_restarts(server, tmp_path):
    arrived = threading.Event()

    def half(handler):
        handler.start(len(PAYLOAD))
        handler.wfile.write(PAYLOAD[: len(PAYLOAD) // 2])
        handler.wfile.flush()
        arrived.set()
        time.sleep(1)

    file = server.file("a.bin", PAYLOAD, half)
    code = (
        "from lib.datasets import *\n"
        f"download(Source('toy', '', '', '', '', 'toy', (File{tuple(file)!r},)), {str(tmp_path)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    assert arrived.wait(20)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".toy-")
    server.pages["/a.bin"] = PAYLOAD
    assert download(toy(file), tmp_path, progress=False).read_bytes() == PAYLOAD
    assert left.exists()  # it may belong to a download that is running
    os.utime(left, (0, 0))
    download(toy(file), tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_two_at_once_both_get_it(server, tmp_path):
    source = toy(server.file("a.tgz", tarred(("1.txt", PAYLOAD))), keep=r"(.+)")
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(download(source, tmp_path, progress=False)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [tmp_path / "toy"] * 4
    assert contents(tmp_path) == {"toy/1.txt": PAYLOAD}


@pytest.mark.parametrize("there", ["nothing", "damaged", "moved away"])
def test_another_process_is_faster_at_the_last_moment(server, tmp_path, monkeypatch, there):
    """Between the look at the final name and the renaming, another download ends there."""
    source = toy(server.file("a.tgz", tarred(("1.txt", PAYLOAD))), keep=r"(.+)")
    line = f"{sha256(PAYLOAD)}  1.txt\n"
    source = dataclasses.replace(source, suffixes=(".txt",), fingerprint=sha256(line.encode()))
    final = tmp_path / "toy"
    if there != "nothing":
        final.mkdir()
        (final / "1.txt").write_bytes(b"damaged")
    is_sound = _downloads._is_sound
    looks = []

    def look(source, path):
        looks.append(is_sound(source, path))
        if len(looks) == 1:
            if there != "nothing":
                final.rename(tmp_path / "away")
            if there != "moved away":
                final.mkdir()
                (final / "1.txt").write_bytes(PAYLOAD)
        return looks[-1]

    monkeypatch.setattr(_downloads, "_is_sound", look)
    assert download(source, tmp_path, progress=False) == final
    assert looks == ([False, True] if there == "nothing" else [False])
    assert contents(final) == {"1.txt": PAYLOAD}


def test_a_final_name_that_stays_taken_is_an_error(server, tmp_path, monkeypatch):
    source = toy(server.file("a.tgz", tarred(("1.txt", PAYLOAD))), keep=r"(.+)")

    def look(source, path):
        (path / "other").mkdir(parents=True, exist_ok=True)
        return False

    monkeypatch.setattr(_downloads, "_is_sound", look)
    monkeypatch.setattr(Path, "exists", lambda path: False)
    with pytest.raises(OSError, match="toy"):
        download(source, tmp_path, progress=False)


@pytest.mark.parametrize("packed", [False, True], ids=["downloading", "unpacking"])
def test_full_disk(server, tmp_path, packed):
    data = zipped({"1.txt": b"0" * 200_000}) if packed else PAYLOAD
    if packed:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("1.txt", b"0" * 1_000_000)
        data = buffer.getvalue()
    file = server.file("a.zip", data)._replace(size=5_000_000)
    keep = "(.+)" if packed else None
    code = (
        "from lib.datasets import *\n"
        "try:\n"
        f"    download(Source('toy', '', '', '', '', 'toy', (File{tuple(file)!r},), {keep!r}), "
        f"{str(tmp_path)!r})\n"
        "except OSError as error:\n"
        f"    print(error.errno, error.strerror, __import__('os').listdir({str(tmp_path)!r}))"
    )
    told = run_on_disk(tmp_path, "size=128k", code)
    assert told == (
        f"28 the disk is full: toy (5 MB to download) does not fit into {tmp_path}; nothing of it "
        "was kept []\n"
    )


def test_read_only_folder_is_named(server, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(OSError, match=str(blocked)):
        download(toy(server.file("a.bin", PAYLOAD)), blocked / "below")


@pytest.fixture
def registered(server, monkeypatch):
    """The connectome's entry, served by the test's server."""
    file = server.file("fib25-fib19_v2.2.json", PAYLOAD)
    source = dataclasses.replace(SOURCES["connectome"], files=(file,))
    monkeypatch.setitem(SOURCES, "connectome", source)
    return source


def test_fetch_downloads_once_and_replaces_a_damaged_copy(registered, server, cache):
    path = fetch("connectome")
    assert path == cache / "connectome" / "fib25-fib19_v2.2.json"
    assert path.read_bytes() == PAYLOAD
    fetch("connectome")
    assert len(server.requests) == 1
    path.write_bytes(PAYLOAD[:-1])
    assert fetch("connectome").read_bytes() == PAYLOAD
    assert len(server.requests) == 2
    assert list(path.parent.iterdir()) == [path]


def test_local_data_comes_first_and_is_checked(registered, server, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    local = second / "connectome" / "fib25-fib19_v2.2.json"
    local.parent.mkdir(parents=True)
    local.write_bytes(PAYLOAD)
    first.mkdir()
    monkeypatch.setenv("LIB_DATA", os.pathsep.join([str(first), str(second)]))
    assert fetch("connectome") == local
    local.write_bytes(PAYLOAD[1:])
    with pytest.raises(DataDamaged, match=rf"{local} is damaged or another version: its SHA-256"):
        fetch("connectome")
    local.unlink()
    local.mkdir()
    with pytest.raises(DataDamaged, match=r"is incomplete: it lacks fib25-fib19_v2\.2\.json"):
        fetch("connectome")
    assert server.requests == []
    monkeypatch.setenv("LIB_DATA", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"LIB_DATA must name existing folders, separated by"):
        fetch("connectome")


def test_an_archive_in_local_data_saves_the_download(server, tmp_path, cache, monkeypatch):
    data = zipped({"photos/a.jpg": b"a", "photos/b.PNG": b"b", "notes.txt": b""})
    (tmp_path / "hd-natural.zip").write_bytes(data)
    monkeypatch.setenv("LIB_DATA", str(tmp_path))
    assert fetch("hd-natural") == cache / "hd-natural"
    assert contents(cache / "hd-natural") == {"photos/a.jpg": b"a", "photos/b.PNG": b"b"}
    (tmp_path / "BSR_bsds500.tgz").write_bytes(data)
    with pytest.raises(DataDamaged, match=r"BSR_bsds500\.tgz is damaged or another version"):
        fetch("bsds500")


def test_bsds500_takes_the_photographs_out_of_its_archive(server, cache, monkeypatch):
    names = {"test/10.jpg": b"1", "train/20.jpg": b"2", "val/30.jpg": b"3"}
    inside = "BSR/BSDS500/data/"
    members = [(f"{inside}images/{name}", data) for name, data in names.items()]
    members += [(f"{inside}images/test/Thumbs.db", b"x"), (f"{inside}groundTruth/test/10.mat", b"")]
    manifest = "".join(f"{sha256(data)}  {name}\n" for name, data in names.items())
    source = dataclasses.replace(
        SOURCES["bsds500"],
        files=(server.file("BSR_bsds500.tgz", tarred(*members)),),
        fingerprint=sha256(manifest.encode()),
    )
    monkeypatch.setitem(SOURCES, "bsds500", source)
    assert contents(fetch("bsds500")) == names
    (cache / "bsds500" / "test" / "10.jpg").unlink()
    assert contents(fetch("bsds500")) == names  # an incomplete folder is fetched again


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hd-natural", ["24167265", "its SHA-256 is not pinned", "save it as hd-natural.zip"]),
        ("meyer2014", ["record/2689637", "7z x", "folder meyer2014", "LIB_DATA"]),
        ("cifar10-jpeg", ["no public home", "use cifar10"]),
        ("ketkar2022", ["zenodo.6335347", "folder ketkar2022", "LIB_DATA"]),
    ],
)
def test_what_cannot_be_downloaded_says_how_to_get_it(name, told):
    with pytest.raises(DataUnavailable) as raised:
        fetch(name)
    assert all(part in str(raised.value) for part in told)


@pytest.mark.parametrize("name", ["bundled", "digits", "nothing", 3, None, np.array(["bsds500"])])
def test_unknown_names(name):
    with pytest.raises(ValueError, match=r"^name must be one of bsds500, hd-natural, .*, got "):
        fetch(name)


def test_every_pin_is_a_sha256_and_downloads_are_https():
    files = [file for source in SOURCES.values() for file in source.files]
    assert len(files) == 15
    for file in files:
        assert file.sha256 is None or int(file.sha256, 16).bit_length() > 200
        assert file.sha256 is None or len(file.sha256) == 64
        assert file.url is None or file.url.startswith("https://")
    assert [file.name for file in files if file.sha256 is None] == ["hd-natural.zip"]
