"""An identity provider on loopback that keeps to OpenID Connect Core, and that a test can make lie."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "triage", "client secret: with signs %&"
_KEYS = [RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}) for kid in ("first", "second")]


class Provider:
    """What it says and does; `lies` are laid over the claims, `header` over the token's header."""

    def __init__(self, now):
        self.now = now
        self.person = {"sub": "s-1", "preferred_username": "Grace", "groups": ["rad", "other"]}
        self.lies = {}
        self.alg = "RS256"
        self.key = 0
        self.published = [0]
        self.description = {}
        self.codes = {}
        self.asked = []

    @property
    def issuer(self):
        return f"http://127.0.0.1:{self.port}/realm"

    def described(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            **self.description,
        }

    def authorize(self, address):
        """A person signs in there: where the browser is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert (asked["code_challenge_method"], "openid" in asked["scope"].split()) == ("S256", True)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchange(self, form, authorization):
        """The answer of the token endpoint (RFC 6749 section 4.1.3, RFC 7636 section 4.6)."""
        asked = self.codes.pop(form.get("code"), None)
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or (unquote(user), unquote(password)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        if challenge != asked["code_challenge"] or form.get("redirect_uri") != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": self.token(asked["nonce"])}

    def token(self, nonce):
        now = int(self.now().timestamp())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.person}
        claims = {name: value for name, value in {**claims, **self.lies}.items() if value is not None}
        key = _KEYS[self.key]
        header = {"alg": self.alg, "kid": key.kid}
        signed = ".".join(_part(json.dumps(one).encode()) for one in (header, claims))
        if self.alg == "none":
            return f"{signed}."
        if self.alg == "HS256":  # the public key, which everybody knows, as a shared secret
            return f"{signed}.{_part(hmac.digest(key.as_pem(private=False), signed.encode(), 'sha256'))}"
        return jwt.encode(header, claims, key, algorithms=[self.alg])

    def keys(self):
        return KeySet([_KEYS[number] for number in self.published]).as_dict(private=False)


def _part(content):
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        provider = self.server.provider
        provider.asked.append(self.path)
        found = {
            "/realm/.well-known/openid-configuration": provider.described,
            "/realm/keys": provider.keys,
        }.get(self.path)
        self._say(*((404, {}) if found is None else (200, found())))

    def do_POST(self):
        length = int(self.headers["content-length"])
        form = {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}
        self._say(*self.server.provider.exchange(form, self.headers.get("authorization", "")))

    def _say(self, status, content):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing."""


@contextmanager
def provider(now):
    """Serve one until the end of the block."""
    made = Provider(now)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.provider, made.port = made, server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
