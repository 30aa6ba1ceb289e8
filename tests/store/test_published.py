"""Published checkpoints by name: which file is used, no network if it is cached, error messages."""

import copy
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
import typer.testing
from huggingface_hub import errors

import hub
from ase_pet import PETCalculator, cli, published, store
from paths import DATA, ROOT
from toys import silicon

CHECKPOINT = DATA / "pet_direct_heads.ckpt"
CONTENT = CHECKPOINT.read_bytes()
FILE = "models/pet-mad-s-v{}.ckpt"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of huggingface_hub, in a folder of the test."""
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path / "hub")
    monkeypatch.setattr(
        published, "_check_host", lambda constants: None
    )  # the hub of these tests has no address
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


@pytest.fixture
def no_network(monkeypatch):
    """A test fails if it opens a connection or resolves a host name."""

    def refuse(*arguments, **options):
        raise AssertionError(f"the network was used: {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def repository(cache, monkeypatch):
    """Files of the repository {path: bytes}; a download is replaced by a copy into the cache."""

    def download(repository, file, cache_dir):
        assert (repository, cache_dir) == (hub.REPOSITORY, cache)
        calls.append(file)
        if file not in files:
            raise errors.RemoteEntryNotFoundError("404", response=response(404))
        return str(hub.put(cache_dir, file, files[file]))

    def listing(self, repository):
        assert repository == hub.REPOSITORY
        calls.append("list")
        return list(files)

    files = {"README.md": b"card"}
    calls = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", listing)
    return SimpleNamespace(files=files, calls=calls)


def response(status):
    """Server response in the form of huggingface_hub errors."""
    return SimpleNamespace(status_code=status, headers={}, request=None)


def failing(monkeypatch, error):
    """Make every request to the repository fail."""

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", fail)


def test_names():
    assert len(published.names()) == 20
    assert {"pet-mad-s", "pet-omat-xl", "pet-omatpes-l", "pet-spice-s"} <= set(published.names())
    assert all(published.NAME.fullmatch(name) for name in published.names())


@pytest.mark.parametrize("name", ["pet-mad-s-v1.5.0", "pet-mad-s-1.5.0", "pet-mad-s"])
def test_a_cached_file_needs_no_network(cache, no_network, name):
    path = hub.put(cache, FILE.format("1.5.0"), CONTENT)
    assert store.find(name) == path
    calculator = PETCalculator(name)
    assert calculator.card.name == "pet-mad-s-v1.5.0"
    expected = PETCalculator(CHECKPOINT)
    atoms = silicon()
    assert calculator.get_potential_energy(atoms) == expected.get_potential_energy(atoms)
    assert (calculator.get_forces(atoms) == expected.get_forces(atoms)).all()


def test_a_calculator_by_name_is_copied_pickled_and_written(cache, no_network):
    hub.put(cache, FILE.format("1.5.0"), CONTENT)
    calculator = PETCalculator("pet-mad-s", dtype="float64")
    atoms = silicon()
    energy = calculator.get_potential_energy(atoms)
    assert calculator.todict()["model"] == "pet-mad-s"
    for again in (
        copy.deepcopy(calculator),
        pickle.loads(pickle.dumps(calculator)),
        PETCalculator.fromdict(json.loads(json.dumps(calculator.todict()))),
    ):
        assert again.get_potential_energy(silicon()) == energy
        assert again.todict() == calculator.todict()


def test_newest_cached_version_is_that_of_the_largest_numbers(cache, no_network):
    for version in ("1.9.0", "1.10.0", "1.2.11"):
        hub.put(cache, FILE.format(version), CONTENT)
    assert store.find("pet-mad-s").name == "pet-mad-s-v1.10.0.ckpt"
    assert store.find("pet-mad-s-v1.9.0").name == "pet-mad-s-v1.9.0.ckpt"
    assert list(published.cached()) == ["pet-mad-s"]


UNSTABLE = [
    "pet-mad-s-v2.0.0rc1.ckpt",
    "pet-mad-s-v2.0.0-beta.ckpt",
    "pet-mad-s-v2.0.ckpt",
    "pet-mad-s-latest.ckpt",
    "pet-mad-s-v2.0.0.ckpt.incomplete",
    "pet-mad-s-v2.0.0.1.ckpt",
    "pet-mad-s.ckpt",
    "pet-mad-s-v2.0.0.pt",
]


@pytest.mark.parametrize("file", UNSTABLE)
def test_a_file_that_is_no_stable_version_never_counts(cache, repository, file):
    hub.put(cache, f"models/{file}", CONTENT)
    repository.files |= {
        f"models/{file}": CONTENT,
        FILE.format("1.0.0"): CONTENT,
        "pet-mad-s-v9.0.0.ckpt": CONTENT,
    }
    assert published.cached() == {}
    assert published.listed() == {"pet-mad-s": ["1.0.0"]}
    assert store.find("pet-mad-s").name == "pet-mad-s-v1.0.0.ckpt"


def test_a_download_that_was_broken_off_is_not_taken(cache, repository):
    hub.put_incomplete(cache, FILE.format("1.5.0"), CONTENT)
    assert published.cached() == {}
    repository.files[FILE.format("1.4.0")] = CONTENT
    assert store.find("pet-mad-s").name == "pet-mad-s-v1.4.0.ckpt"


@pytest.mark.parametrize("current", [True, False])
def test_of_two_snapshots_the_current_one_is_taken(cache, no_network, current):
    paths = [
        hub.put(cache, FILE.format("1.5.0"), CONTENT, commit, current=commit == hub.COMMIT)
        for commit in (hub.COMMIT, hub.OLD_COMMIT)[:: 1 if current else -1]
    ]
    assert store.find("pet-mad-s") == paths[0 if current else 1]
    assert published.origin(store.find("pet-mad-s")) == {
        "repository": hub.REPOSITORY,
        "commit": hub.COMMIT,
    }


def test_a_version_of_an_older_snapshot_is_found(cache, no_network):
    """Each download makes the newest commit current, with links to files requested since."""
    old = hub.put(cache, FILE.format("1.5.0"), CONTENT, hub.OLD_COMMIT)
    hub.put(cache, FILE.format("1.6.0"), CONTENT, hub.COMMIT)
    assert store.find("pet-mad-s-v1.5.0") == old


def test_odd_files_in_the_cache_are_passed_over(cache, no_network):
    path = hub.put(cache, FILE.format("1.5.0"), CONTENT)
    snapshots = path.parent.parent.parent
    (snapshots / "note.txt").write_text("odd")
    (snapshots / "gone").symlink_to("nowhere")
    (path.parent / "pet-mad-s-v1.6.0.ckpt").mkdir()
    assert published.cached() == {"pet-mad-s": {"1.5.0": path}}


def test_a_name_without_version_is_downloaded_once(cache, repository):
    repository.files |= {FILE.format(version): CONTENT for version in ("1.9.0", "1.10.0")}
    assert PETCalculator("pet-mad-s").card.name == "pet-mad-s-v1.10.0"
    assert repository.calls == ["list", FILE.format("1.10.0")]
    assert PETCalculator("pet-mad-s").card.name == "pet-mad-s-v1.10.0"
    assert len(repository.calls) == 2


@pytest.mark.parametrize("name", ["pet-mad-s-v1.9.0", "pet-mad-s-1.9.0"])
def test_a_name_with_version_is_downloaded_without_a_list(cache, repository, name):
    repository.files |= {FILE.format(version): CONTENT for version in ("1.9.0", "1.10.0")}
    hub.put(cache, FILE.format("1.8.0"), CONTENT)
    assert PETCalculator(name).card.name == "pet-mad-s-v1.9.0"
    assert repository.calls == [FILE.format("1.9.0")]


def test_a_shipped_calculator_and_a_path_come_before_a_published_name(
    cache, no_network, monkeypatch
):
    hub.put(cache, FILE.format("1.5.0"), CONTENT)
    folder = store.convert(CHECKPOINT, "pet-mad-s", "mine")
    assert store.find("pet-mad-s") == folder
    assert PETCalculator("pet-mad-s").card.name == "mine"
    monkeypatch.setattr(store, "shipped", lambda: ["pet-mad-s"])
    assert store.find("pet-mad-s") == store.shipped_folder() / "pet-mad-s"


def test_models_outside_the_table_are_downloaded_on_request(cache, repository):
    repository.files["models/pet-new_2-xl-v0.1.0.ckpt"] = CONTENT
    with pytest.raises(
        FileNotFoundError, match="`pet-new_2-xl` is neither a path nor the name of a calculator"
    ):
        store.find("pet-new_2-xl")
    assert repository.calls == []
    assert published.download("pet-new_2-xl") == store.find("pet-new_2-xl")


def test_download_looks_for_a_newer_version(cache, repository):
    hub.put(cache, FILE.format("1.5.0"), CONTENT)
    repository.files |= {FILE.format(version): CONTENT for version in ("1.5.0", "1.6.0")}
    assert store.find("pet-mad-s").name == "pet-mad-s-v1.5.0.ckpt"
    assert published.download("pet-mad-s").name == "pet-mad-s-v1.6.0.ckpt"
    assert store.find("pet-mad-s").name == "pet-mad-s-v1.6.0.ckpt"


@pytest.mark.parametrize(
    "name", ["silicon", "pet-mad", "pet-mad-s-v1.5.0.ckpt", "pet-mad-s-v1.5", "a/pet-mad-s", ""]
)
def test_download_of_what_is_no_published_name(cache, name):
    assert published.find(name) is None
    with pytest.raises(
        ValueError,
        match=f"`{name}` is not the name of a published checkpoint: expected MODEL-SIZE or",
    ):
        published.download(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pet-spice-m",
            "`pet-spice-m` is not a published checkpoint: sizes of pet-spice are s, l$",
        ),
        (
            "pet-mad-l-v1.0.0",
            "`pet-mad-l-v1.0.0` is not a published checkpoint: sizes of pet-mad are xs, s, m$",
        ),
        ("pet-mda-s", "`pet-mda-s` is neither a path nor .* did you mean pet-mad-s"),
        (
            "pet-mad-s-v1.7.0",
            "`pet-mad-s-v1.7.0` is not in the repository .* of pet-mad-s there are 1.9.0, 1.10.0$",
        ),
        (
            "pet-mad-m",
            (
                "`pet-mad-m` is not in the repository `lab-cosmo/upet`: stable versions there are"
                " of pet-mad-s$"
            ),
        ),
        (
            "pet-mad-m-v1.0.0",
            (
                "`pet-mad-m-v1.0.0` is not in the repository .*: stable versions there are of"
                " pet-mad-s$"
            ),
        ),
    ],
)
def test_missing_names(repository, name, message):
    repository.files |= {FILE.format(version): CONTENT for version in ("1.10.0", "1.9.0")}
    with pytest.raises(FileNotFoundError, match=message):
        PETCalculator(name)


def caused(error, cause):
    """The error with a cause, as after `raise error from cause`."""
    error.__cause__ = cause
    return error


NO_ANSWER = ConnectionError("no route to host")
FAILURES = {
    "no network": (NO_ANSWER, "ConnectionError: no route to host"),
    "no network, head": (
        caused(errors.LocalEntryNotFoundError("no"), NO_ANSWER),
        "ConnectionError: no route to host",
    ),
    "offline": (errors.OfflineModeIsEnabled("no"), "HF_HUB_OFFLINE forbids the network"),
    "offline, head": (
        caused(errors.LocalEntryNotFoundError("no"), errors.OfflineModeIsEnabled("no")),
        "_OFFLINE",
    ),
    "gated": (
        errors.GatedRepoError("no", response=response(403)),
        "an account with access: `hf auth login`",
    ),
    "no repository": (
        errors.RepositoryNotFoundError("no", response=response(404)),
        "no such repository is open to",
    ),
    "server": (errors.HfHubHTTPError("no", response=response(503)), "HTTP status 503"),
    "cut off": (
        OSError("Consistency check failed\nPlease retry"),
        r"OSError: Consistency check failed\)",
    ),
    "without a word": (RuntimeError(), "RuntimeError: "),
}


@pytest.mark.parametrize("name", ["pet-mad-xs", "pet-mad-xs-v1.0.0"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_download_that_fails(cache, monkeypatch, failure, name):
    error, message = FAILURES[failure]
    failing(monkeypatch, error)
    with pytest.raises(FileNotFoundError, match=message) as caught:
        PETCalculator(name)
    text = str(caught.value)
    assert text.startswith(
        f"`{name}` cannot be fetched from https://huggingface.co/lab-cosmo/upet ("
    )
    assert text.endswith(
        f" {cache}/models--lab-cosmo--upet of a machine that has it to the same place"
    )
    assert "\n" not in text
    assert caught.value.__suppress_context__


def test_offline_the_cached_versions_are_named(cache, monkeypatch):
    for version in ("1.10.0", "1.9.0"):
        hub.put(cache, FILE.format(version), CONTENT)
    failing(monkeypatch, NO_ANSWER)
    with pytest.raises(FileNotFoundError, match="; versions in the cache: 1.9.0, 1.10.0$"):
        PETCalculator("pet-mad-s-v1.11.0")


def test_without_huggingface_hub(monkeypatch, no_network):
    for name in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"] + [
        "huggingface_hub"
    ]:
        monkeypatch.setitem(sys.modules, name, None)
    assert published.cached() == {}
    with pytest.raises(
        FileNotFoundError, match=r"`pet-mad-s` .* extra `hub` \(pip install '\.\[hub\]' in a clone"
    ):
        PETCalculator("pet-mad-s")
    with pytest.raises(FileNotFoundError, match="sizes of pet-mad are xs, s, m"):
        PETCalculator("pet-mad-l")
    assert PETCalculator(CHECKPOINT).card.name == "pet_direct_heads"


@pytest.mark.parametrize("damaged", [CONTENT[:-100], b"<html>not found</html>", b""])
def test_a_damaged_file_of_the_cache_is_named(cache, no_network, damaged):
    path = hub.put(cache, FILE.format("1.5.0"), damaged)
    with pytest.raises(
        ValueError, match="If it is damaged, delete `.*` and load it by name again"
    ) as caught:
        PETCalculator("pet-mad-s")
    assert f"`{path.resolve()}`" in str(caught.value)
    shutil.copy(path, "own.ckpt")
    with pytest.raises(ValueError, match="own.ckpt") as caught:
        PETCalculator("own.ckpt")
    assert "delete" not in str(caught.value)


def run(*arguments):
    """Exit status and output of the command, run in this process."""
    result = typer.testing.CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_of_shipped_calculators():
    assert [row["name"] for row in json.loads(run("list", "--json"))] == store.shipped()
    assert "ase-pet list --published" in run("list")


def test_a_structure_that_cannot_be_read(tmp_path, monkeypatch, capsys):
    (tmp_path / "odd.xyz").write_text("no structure\n")
    monkeypatch.setattr(
        sys, "argv", ["ase-pet", "info", str(CHECKPOINT), str(tmp_path / "odd.xyz")]
    )
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "odd.xyz` cannot be read as structures: " in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="No such file or directory: 'none.xyz'"):
        run("info", str(CHECKPOINT), "none.xyz")


def test_list_of_published_checkpoints(cache, repository):
    hub.put(cache, FILE.format("1.9.0"), CONTENT)
    hub.put(cache, "models/pet-other-s-v0.1.0.ckpt", CONTENT)
    repository.files |= {FILE.format(version): CONTENT for version in ("1.9.0", "1.10.0")}
    report = json.loads(run("list", "--published", "--json"))
    rows = {row.pop("name"): row for row in report["checkpoints"]}
    assert (report["repository"], report["problem"]) == (hub.REPOSITORY, None)
    assert rows["pet-mad-s"] == {
        "cached": ["1.9.0"],
        "repository": ["1.9.0", "1.10.0"],
        "newest": "1.10.0",
    }
    assert rows["pet-other-s"] == {"cached": ["0.1.0"], "repository": [], "newest": "0.1.0"}
    assert rows["pet-mad-m"] == {"cached": [], "repository": [], "newest": None}
    assert list(rows) == [*published.names(), "pet-other-s"]
    text = run("list", "--published")
    assert "1.9.0 1.10.0*" in text
    assert "newest of those listed" in text


def test_list_of_published_checkpoints_offline(cache, monkeypatch):
    hub.put(cache, FILE.format("1.9.0"), CONTENT)
    failing(monkeypatch, NO_ANSWER)
    report = json.loads(run("list", "--published", "--json"))
    rows = {row["name"]: row for row in report["checkpoints"]}
    assert "ConnectionError: no route to host" in report["problem"]
    assert rows["pet-mad-s"] == {
        "name": "pet-mad-s",
        "cached": ["1.9.0"],
        "repository": None,
        "newest": "1.9.0",
    }
    text = run("list", "--published")
    assert "1.9.0*" in text
    assert "not known" in text
    assert "newest of those in the cache; `lab-cosmo/upet` cannot be fetched" in text


def test_download_and_info(cache, repository):
    repository.files[FILE.format("1.9.0")] = CONTENT
    path = run("download", "pet-mad-s").strip()
    assert path == str(store.find("pet-mad-s"))
    assert json.loads(run("download", "pet-mad-s", "--json")) == {
        "name": "pet-mad-s-v1.9.0",
        "path": path,
    }
    assert json.loads(run("info", "pet-mad-s", "--json"))["name"] == "pet-mad-s-v1.9.0"
    assert "non_conservative_force" in run("info", "pet-mad-s")


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "pet-mad-s"),
        ("download", "pet-mad-s"),
        ("download", "pet"),
        ("convert", "pet-mad-s", "folder"),
    ],
)
def test_bad_input_of_the_command(cache, monkeypatch, capsys, arguments):
    failing(monkeypatch, NO_ANSWER)
    monkeypatch.setattr(sys, "argv", ["ase-pet", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"ase-pet: `{arguments[1]}` ")


ASK = """
import sys
from ase_pet import PETCalculator
for name in sys.argv[1:]:
    try:
        print(PETCalculator(name).card.name)
    except FileNotFoundError as error:
        print(error)
"""


def test_with_huggingface_hub_and_a_server(tmp_path):
    """Listing, download, cache and errors of huggingface_hub itself, with a local server."""
    files = {FILE.format(version): CONTENT for version in ("1.9.0", "1.10.0", "2.0.0rc1")}
    removed = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN")
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    names = ("pet-mad-s", "pet-mad-s", "pet-mad-s-v1.10.0", "pet-mad-s-v1.7.0", "pet-omol-s-v1.0.0")
    with hub.serve(
        files, {"models/pet-omol-s-v1.0.0.ckpt": (403, {"X-Error-Code": "GatedRepo"})}
    ) as server:
        environment |= {
            "HF_HOME": str(tmp_path / "home"),
            "HF_ENDPOINT": server.url,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-c", ASK, *names],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            env=environment | {"no_proxy": "*"},
            stdin=subprocess.DEVNULL,
        )
    assert done.returncode == 0, done.stderr
    *loaded, unknown, gated = done.stdout.splitlines()
    assert loaded == 3 * ["pet-mad-s-v1.10.0"]
    assert unknown.endswith("versions of pet-mad-s there are 1.9.0, 1.10.0")
    assert "it asks for an account with access: `hf auth login`" in gated
    listing = ("GET", f"/api/models/{hub.REPOSITORY}/tree/main")
    first, missing, closed = (
        f"/{hub.REPOSITORY}/resolve/main/models/{name}.ckpt"
        for name in ("pet-mad-s-v1.10.0", "pet-mad-s-v1.7.0", "pet-omol-s-v1.0.0")
    )
    assert [entry for entry in server.asked if hub.REPOSITORY in entry[1]] == [
        listing,
        ("HEAD", first),
        ("GET", first),
        ("HEAD", missing),
        listing,
        ("HEAD", closed),
    ]
    snapshots = tmp_path / "home" / "hub" / "models--lab-cosmo--upet" / "snapshots"
    assert [path.name for path in snapshots.glob("*/models/*")] == ["pet-mad-s-v1.10.0.ckpt"]


def test_without_a_name_server_the_error_comes_at_once(tmp_path, monkeypatch):
    asked = []

    def unknown(*arguments):
        asked.append(arguments)
        raise socket.gaierror("no such host")

    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(
        FileNotFoundError, match="`pet-mad-s` cannot be fetched .*no such host.*: without network"
    ):
        published.find("pet-mad-s")
    assert len(asked) == 1
