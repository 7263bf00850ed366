"""A Hugging Face hub in memory on loopback: creating a repository, one commit, and downloading its files."""

import base64
import hashlib
import http.server
import json
import re

from tests import loopback


class FakeHub:
    def __init__(self):
        self.repos = {}  # name -> {path: bytes}
        self.created, self.asked, self.refuses = [], [], False

    def answer(self, method, path, body):
        """(status, JSON or bytes, headers)."""
        self.asked.append(path)
        if self.refuses:
            return 403, {"error": "forbidden"}, {"X-Error-Message": "You have no right to write here"}
        if path == "/api/repos/create":
            request = json.loads(body)
            name = f"{request.get('organization') or 'me'}/{request['name']}"
            self.created.append(request)
            self.repos.setdefault(name, {})
            return 200, {"url": f"https://huggingface.co/{name}"}, {}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        name, _, action = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/?]+)(/([^?]*))?(?:\?.*)?", path).groups()
        files = self.repos.get(name)
        if files is None:
            return (
                404,
                {"error": "not found"},
                {"X-Error-Code": "RepoNotFound"},
            )
        if (action or "").startswith("preupload"):
            listed = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                      for file in json.loads(body)["files"]]  # fmt: skip
            return 200, {"files": listed}, {}
        if (action or "").startswith("commit"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
            return 200, {"commitUrl": f"https://huggingface.co/{name}/commit/1", "commitOid": self.sha(files)}, {}
        if (action or "").startswith("resolve"):
            content = files.get(action.split("/", 2)[2])
            if content is None:
                return 404, {}, {"X-Error-Code": "EntryNotFound"}
            etag = hashlib.sha1(content).hexdigest()
            return 200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": self.sha(files)}
        if (action or "").startswith("tree"):
            return 200, [{"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                         for path, content in files.items()], {}  # fmt: skip
        siblings = [{"rfilename": path} for path in files]
        return 200, {"id": name, "sha": self.sha(files), "siblings": siblings, "private": True}, {}

    @staticmethod
    def sha(files):
        return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


def serve(hub):
    """The address of a server that answers for the hub."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content, headers = hub.answer(self.command, self.path, body)
            is_bytes = isinstance(content, bytes)
            content = content if is_bytes else json.dumps(content).encode()
            self.send_response(status)
            kind = "application/octet-stream" if is_bytes else "application/json"
            for key, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = _answer

        def log_message(self, *_):
            pass

    return loopback.served(Handler)
