"""The second factor: codes that an authenticator shows (TOTP, RFC 6238), each good once, and recovery codes."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from io import BytesIO

import pyotp
import segno
import structlog

from triage_agent.domain.accounts import Account, Role, SignedIn, Source
from triage_agent.domain.ports import Clock
from triage_agent.domain.second_factor import SecondFactors
from triage_agent.web.site.sealing import Seal

log = structlog.get_logger(__name__)

LONGEST_CODE = 40
_STEP_SECONDS = 30
_DRIFT = (0, -1, 1)  # steps that a phone's clock may be off (RFC 6238 section 5.2)
_CODES = 10
_SIGNS = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 without what is taken for another
_OFFER_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondSettings:
    """Who must give a second factor, and what authenticators call us."""

    required: frozenset[Role] = frozenset()
    issuer: str = "Triage"


class SecondFactor:
    """Offers, checks and uses up second factors. Knows no HTTP."""

    def __init__(self, store: SecondFactors, seal: Seal, clock: Clock, settings: SecondSettings) -> None:
        self._store = store
        self._seal = seal
        self._clock = clock
        self._settings = settings

    def is_asked_of(self, account: Account) -> bool:
        """Whether the account signs in with one; whom a provider vouches for gives it there."""
        needed = account.totp_secret is not None or bool(account.roles & self._settings.required)
        return account.source is Source.LOCAL and needed

    def waits(self, session: SignedIn) -> bool:
        """Whether a session still lacks it."""
        return not session.strong and self.is_asked_of(session.account)

    def offer(self, account: Account) -> str:
        """A new secret, sealed for this account; it is nobody's until `accept`."""
        return self._seal.close(f"offer {account.name}", pyotp.random_base32())

    def offered(self, account: Account, sealed: str) -> str | None:
        """The secret of an offer (base32), to be typed; None where it is too old or not theirs."""
        return self._seal.open(f"offer {account.name}", sealed, _OFFER_SECONDS)

    def picture(self, account: Account, sealed: str) -> bytes | None:
        """The QR code of an offer, SVG, black on white whatever the page's colours."""
        secret = self.offered(account, sealed)
        if secret is None:
            return None
        uri = pyotp.TOTP(secret).provisioning_uri(name=account.name, issuer_name=self._settings.issuer)
        drawn = BytesIO()
        segno.make(uri, error="m", micro=False).save(drawn, kind="svg", scale=5, light="white")
        return drawn.getvalue()

    def accept(self, account: Account, sealed: str, code: str) -> tuple[str, ...] | None:
        """Set up what was offered: the recovery codes, which are kept nowhere; None where the code is wrong."""
        secret = self.offered(account, sealed)
        step = None if secret is None else self._step_of(secret, code)
        if secret is None or step is None:
            return None
        codes = tuple(_new_code() for _ in range(_CODES))
        kept = self._seal.close(f"totp {account.name}", secret)
        digests = [_digest(account.name, one) for one in codes]
        return codes if self._store.set_up(account.name, kept, step, digests, self._clock()) else None

    def recovery_left(self, account: Account) -> int:
        """How many recovery codes are unused."""
        return self._store.recovery_left(account.name)

    def fits(self, account: Account, code: str) -> bool:
        """Whether a code of the authenticator, or a recovery code, is right; it is used up then."""
        if account.totp_secret is None:
            return False
        plain = "".join(sign for sign in code.lower() if sign.isalnum())
        if not plain.isdecimal():
            return self._store.take_recovery(account.name, _digest(account.name, plain), self._clock())
        secret = self._seal.open(f"totp {account.name}", account.totp_secret)
        if secret is None:
            log.error("second_factor_unreadable", account=account.name, remedy="the key of data_dir is another one")
            return False
        step = self._step_of(secret, plain)
        return step is not None and self._store.take_step(account.name, step)

    def _step_of(self, secret: str, code: str) -> int | None:
        """Of which time a code is; None where of none that is near."""
        totp, now = pyotp.TOTP(secret), int(self._clock().timestamp()) // _STEP_SECONDS
        said = code.replace(" ", "").encode("utf-8", "replace")
        return next((now + off for off in _DRIFT if _same(totp.generate_otp(now + off).encode(), said)), None)


def groups(code: str) -> str:
    """A recovery code as people read it."""
    return "-".join(code[at : at + 4] for at in range(0, len(code), 4))


def _same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _new_code() -> str:
    """120 bits, so that a plain hash is enough (OWASP ASVS 5.0, 6.5.2)."""
    return "".join(secrets.choice(_SIGNS) for _ in range(24))


def _digest(name: str, code: str) -> str:
    return hashlib.sha256(f"{name}\n{code}".encode("utf-8", "replace")).hexdigest()
