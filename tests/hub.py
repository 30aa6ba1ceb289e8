"""A repository of checkpoints for huggingface_hub: its cache on disk, and a local server."""

import contextlib
import hashlib
import http.server
import json
import threading

REPOSITORY = "lab-cosmo/upet"
COMMIT = "c0ffee" + "0" * 34
OLD_COMMIT = "0ddba11" + "0" * 33


def put(cache, file, content, commit=COMMIT, current=True):
    """Path of a file in a cache of huggingface_hub: a link in a snapshot to a blob."""
    folder = cache / "models--lab-cosmo--upet"
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    link = folder / "snapshots" / commit / file
    for path in (blob, link, folder / "refs" / "main"):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link.unlink(missing_ok=True)
    link.symlink_to("../../../blobs/" + blob.name)
    if current:
        (folder / "refs" / "main").write_text(commit)
    return link


def put_incomplete(cache, file, content):
    """An interrupted download: part of a blob, and a link to the missing blob."""
    link = put(cache, file, content)
    blob = link.resolve()
    blob.write_bytes(content[: len(content) // 2])
    blob.rename(f"{blob}.1234abcd.incomplete")
    return link


class Handler(http.server.BaseHTTPRequestHandler):
    """The endpoints that listing and downloading need.

    Attributes of the server: `files` {path: bytes}, `refused` {path: (status, headers)}, `asked`
    [(method, path)].
    """

    def do_HEAD(self):
        """Headers of a file."""
        self._answer()

    def do_GET(self):
        """List of files, or a file."""
        self.wfile.write(self._answer())

    def _answer(self):
        server = self.server
        path = self.path.partition("?")[0]
        server.asked.append((self.command, path))
        file = path.removeprefix(f"/{REPOSITORY}/resolve/main/")
        if file in server.refused:
            return self._reply(*server.refused[file])
        if path.startswith(f"/api/models/{REPOSITORY}/tree/main"):
            entries = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(content),
                    "oid": hashlib.sha1(content).hexdigest(),
                }
                for name, content in server.files.items()
            ]
            return self._reply(
                200, {"Content-Type": "application/json"}, json.dumps(entries).encode()
            )
        if file not in server.files:
            return self._reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        content = server.files[file]
        return self._reply(
            200,
            {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT},
            content,
        )

    def _reply(self, status, headers, content=b""):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        return content

    def log_message(self, *_):
        """Nothing is printed."""


@contextlib.contextmanager
def serve(files, refused):
    """A local server of files {path: bytes}; `refused` {path: (status, headers)}: other answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files = files
    server.refused = refused
    server.asked = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
