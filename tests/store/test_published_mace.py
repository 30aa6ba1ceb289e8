"""Published MACE models by name: download from an address, cache, licence, error messages."""

import contextlib
import hashlib
import http.server
import json
import socket
import sys
import threading
import time

import pytest
import typer.testing

from ase_pet import PETCalculator, cli, downloads, published, published_mace, store
from ase_pet.cli import md_plan
from toys import ethanol

NAME = "mace-mp-0-small"
ACADEMIC = "mace-off23-small"
CONTENT = bytes(range(256)) * 400  # of tests that read no model
ASL = "licence ASL"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers of the test: {path: (status, headers, content)}."""

    def do_GET(self):
        """One file; a content that is a function writes to the connection itself."""
        status, headers, content = self.server.answers[self.path]
        self.server.asked.append(self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the reader may have left
            content(self.wfile) if callable(content) else self.wfile.write(content)

    def log_message(self, *_):
        """Nothing is printed."""


@pytest.fixture
def server(monkeypatch):
    """A local server; http is allowed here only."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.answers, server.asked = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(downloads, "SCHEMES", ("http",))
    monkeypatch.setenv("no_proxy", "*")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The empty cache, in a folder of the test."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home" / "ase_pet"


@pytest.fixture
def no_network(monkeypatch):
    """A test fails if it opens a connection or resolves a host name."""

    def refuse(*arguments, **options):
        raise AssertionError(f"the network was used: {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def publish(server, monkeypatch):
    """Function that replaces the address and the sha256 of a published model."""

    def replace(name=NAME, content=CONTENT, answer=None, path="/file.model"):
        known = published_mace.FILES[name]
        lengths = {"Content-Length": str(len(content))}
        server.answers[path] = answer or (200, lengths, content)
        file = published_mace.File(
            server.url + path, digest(content), known.licence, known.reference
        )
        monkeypatch.setitem(published_mace.FILES, name, file)

    return replace


@pytest.fixture
def model(reference_file):
    """Path of a MACE with random weights."""
    pytest.importorskip("ase_pet.formats.mace")
    return reference_file("mace/organic.model")


def put(cache, name=NAME, content=CONTENT):
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{name}.model"
    path.write_bytes(content)
    return path


def run(*arguments):
    """Output of the command, run in this process."""
    result = typer.testing.CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


# Table


def test_the_table():
    assert {NAME, "mace-mp-0-large", "mace-mpa-0-medium", "mace-off23-medium"} <= set(
        published_mace.names()
    )
    for name, file in published_mace.FILES.items():
        assert file.url.startswith("https://")
        assert file.url.endswith(".model")
        assert len(bytes.fromhex(file.sha256)) == 32
        is_academic = name.startswith(("mace-off", "mace-omat", "mace-matpes"))
        assert (file.licence == "MIT") != is_academic
    hashes = [file.sha256 for file in published_mace.FILES.values()]
    assert len(set(hashes)) == len(hashes)


def test_names_of_both_kinds():
    assert published.known() == [*published.names(), *published_mace.names()]
    assert all(published.is_name(name) for name in [*published.known(), "pet-mad-s-v1.5.0"])
    others = ("silicon", "pet-mad-l", "mace-mp-0", f"{NAME}.model", f"./{NAME}", "")
    assert not any(published.is_name(text) for text in others)
    assert md_plan._is_known(NAME)


# Download and cache


def test_downloaded_once_and_then_offline(cache, publish, server, model, monkeypatch):
    publish(content=model.read_bytes())
    expected = PETCalculator(model).get_potential_energy(ethanol())
    assert PETCalculator(NAME).get_potential_energy(ethanol()) == expected
    assert [path.name for path in cache.iterdir()] == [f"{NAME}.model"]
    assert server.asked == ["/file.model"]
    monkeypatch.setattr(downloads, "fetch", None)
    calculator = PETCalculator(NAME)
    assert calculator.get_potential_energy(ethanol()) == expected
    assert calculator.card.name == NAME
    assert published.download(NAME) == store.find(NAME) == cache / f"{NAME}.model"


def test_the_cache_needs_no_network(cache, no_network, monkeypatch):
    path = put(cache)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert store.find(NAME) == path
    assert published_mace.cached() == {NAME: path}


def test_without_huggingface_hub(cache, publish, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", None)
    publish()
    assert store.find(NAME).read_bytes() == CONTENT


def test_the_folder_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "a"))
    assert published_mace.cache_folder() == tmp_path / "a" / "ase_pet"
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert published_mace.cache_folder() == tmp_path / "b" / "huggingface" / "ase_pet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert published_mace.cache_folder() == tmp_path / ".cache" / "huggingface" / "ase_pet"


def test_a_redirect_is_followed(cache, publish, server):
    publish()
    server.answers["/moved"] = server.answers.pop("/file.model")
    server.answers["/file.model"] = (302, {"Location": "/moved", "Content-Length": "0"}, b"")
    assert store.find(NAME).read_bytes() == CONTENT
    assert server.asked == ["/file.model", "/moved"]


def test_the_licence_is_told_at_download_only(cache, publish):
    publish(ACADEMIC)
    with pytest.warns(UserWarning, match=f"`{ACADEMIC}`: {ASL} .*non-commercial.*gabor1/ASL"):
        store.find(ACADEMIC)
    store.find(ACADEMIC)


def drip(file):
    """A server that sends a little and then nothing."""
    file.write(b"x")
    file.flush()
    time.sleep(1)


def endless(file):
    """A server that never stops."""
    while True:
        file.write(bytes(2**16))


HTML = b"<html>sorry</html>"
FAILURES = {  # answer of the server -> message
    "no such file": ((404, {}, b""), "HTTP status 404"),
    "forbidden": ((403, {}, HTML), "HTTP status 403"),
    "broken server": ((500, {}, b""), "HTTP status 500"),
    "another file": ((200, {}, HTML), f"its sha256 is {digest(HTML)}, expected"),
    "nothing": ((200, {"Content-Length": "0"}, b""), "is not the published file"),
    "cut off": (
        (200, {"Content-Length": str(len(CONTENT))}, CONTENT[:1000]),
        f"cut off after 1000 of {len(CONTENT)} bytes",
    ),
    "cut off, length unknown": ((200, {}, CONTENT[:1000]), "is not the published file"),
    "too much": ((200, {"Content-Length": "9999999999999"}, b"x"), "larger than"),
    "endless": ((200, {}, endless), "larger than"),
    "silent": ((200, {}, drip), "timed out"),
    "odd length": ((200, {"Content-Length": "-5"}, HTML), "is not the published file"),
    "to a file": ((302, {"Location": "file:///etc/passwd"}, b""), "HTTP status 302"),
    "to ftp": ((302, {"Location": "ftp://127.0.0.1/x"}, b""), "is not https"),
    "in a circle": ((302, {"Location": "/file.model"}, b""), "HTTP status 302"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_download_leaves_nothing(cache, publish, monkeypatch, failure):
    answer, message = FAILURES[failure]
    publish(answer=answer)
    monkeypatch.setattr(downloads, "SILENCE", 0.2)
    defaults = list(downloads.fetch.__defaults__)
    defaults[0] = 3 * len(CONTENT)
    monkeypatch.setattr(downloads.fetch, "__defaults__", tuple(defaults))
    with pytest.raises(FileNotFoundError, match=message) as caught:
        PETCalculator(NAME)
    text = str(caught.value)
    assert text.startswith(f"`{NAME}` cannot be fetched from http://127.0.0.1")
    assert text.endswith(f"or put it there as {cache / NAME}.model")
    assert "\n" not in text
    assert caught.value.__suppress_context__
    assert list(cache.iterdir()) == []
    assert published_mace.cached() == {}


def test_a_slow_download_ends(cache, publish, monkeypatch):
    publish(answer=(200, {}, endless))
    monkeypatch.setattr(downloads, "LONGEST", 0.0)
    with pytest.raises(FileNotFoundError, match="it took longer than"):
        store.find(NAME)


def test_no_server(cache, publish, server, monkeypatch):
    publish()
    file = published_mace.FILES[NAME]
    free = socket.socket()
    free.bind(("127.0.0.1", 0))  # nobody listens
    url = f"http://127.0.0.1:{free.getsockname()[1]}/file.model"
    monkeypatch.setitem(
        published_mace.FILES, NAME, published_mace.File(url, file.sha256, "MIT", "")
    )
    with pytest.raises(FileNotFoundError, match=r"\(ConnectionRefusedError: "):
        store.find(NAME)
    free.close()


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/passwd", "ftp://a/b", "a"])
def test_https_only(tmp_path, no_network, url):
    with pytest.raises(downloads.DownloadError, match="is not https"):
        downloads.fetch(url, tmp_path / "a", digest(b""))
    assert list(tmp_path.iterdir()) == []


def test_offline_is_respected(cache, no_network, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="HF_HUB_OFFLINE forbids the network"):
        PETCalculator(NAME)


def test_an_interrupted_download_is_not_taken(cache, publish):
    cache.mkdir(parents=True)
    (cache / f".{NAME}.model.0123.incomplete").write_bytes(CONTENT[:100])
    assert published_mace.cached() == {}
    publish()
    assert store.find(NAME).read_bytes() == CONTENT


def test_progress_is_reported(tmp_path, publish):
    publish()
    seen = []
    file = published_mace.FILES[NAME]
    downloads.fetch(file.url, tmp_path / "a", file.sha256, report=lambda *now: seen.append(now))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


# Names and files


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mace-mp-0-smal", "did you mean mace-mp-0-small"),
        ("mace_mp_0_small", "did you mean mace-mp-0-small"),
        ("MACE-MPA-0-medium", "did you mean mace-mpa-0-medium"),
        ("mace-off23", "did you mean mace-off23-"),
        ("mace-mh-1", "its non-linear interaction blocks are not supported; .* mace-mp-0-small"),
        ("mace-omol-0-extra-large", "embeddings of charge and spin are not supported"),
        ("mace-polar-1-s", "long-range electrostatics are not supported"),
    ],
)
def test_other_names(cache, no_network, name, message):
    with pytest.raises(FileNotFoundError, match=message):
        PETCalculator(name)


def test_a_damaged_file_of_the_cache_is_named(cache, no_network, model):
    path = put(cache, content=model.read_bytes()[:-100])
    with pytest.raises(ValueError, match="If it is damaged, delete `") as caught:
        PETCalculator(NAME)
    assert f"`{path.resolve()}`" in str(caught.value)


def test_the_licence_of_a_copy_is_known_by_its_content(cache, tmp_path, publish, model):
    content = model.read_bytes()
    publish(content=content)
    assert published_mace.facts(put(cache))["license"] == "MIT"
    copy = tmp_path / f"{NAME}.model"
    copy.write_bytes(content)
    assert store.load(copy)[1].provenance["license"] == "MIT"
    copy.write_bytes(content + b" ")
    assert published_mace.facts(copy) == {}
    assert published_mace.facts(model) == {}


# Commands


def test_list(cache, no_network, monkeypatch):
    put(cache)
    monkeypatch.setattr(published, "cached", dict)
    monkeypatch.setattr(published, "listed", dict)
    rows = {row["name"]: row for row in json.loads(run("list", "--published", "--json"))["mace"]}
    assert list(rows) == published_mace.names()
    assert rows[NAME]["cached"]
    assert not rows[ACADEMIC]["cached"]
    assert rows[ACADEMIC]["licence"].startswith("ASL")
    text = run("list", "--published")
    assert NAME in text
    assert "MIT" in text


def test_download_info_and_convert(cache, publish, model):
    publish(ACADEMIC, model.read_bytes())
    with pytest.warns(UserWarning, match=ASL):
        answer = json.loads(run("download", ACADEMIC, "--json"))
    assert answer["name"] == ACADEMIC
    assert answer["path"] == str(cache / f"{ACADEMIC}.model")
    assert "academic, non-commercial" in answer["licence"]
    assert "non-commercial" in json.loads(run("info", ACADEMIC, "--json"))["licence"]
    assert "non-commercial" in run("info", ACADEMIC)
    run("convert", ACADEMIC, "folder")
    card = (cache.parent.parent / "folder" / "README.md").read_text()
    assert "non-commercial use only, see https://github.com/gabor1/ASL" in card
    source = store.load("folder")[1].provenance["source"]
    assert source["url"] == published_mace.FILES[ACADEMIC].url
    assert source["sha256"] == digest(model.read_bytes())


@pytest.mark.parametrize("name", ["mace-mp-0-tiny", "mace-mh-1"])
def test_bad_names_of_the_command(cache, no_network, monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["ase-pet", "download", name])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"ase-pet: `{name}` ")
