"""What is wrong with a connection, without the packages that TLS needs."""

import ssl


def trouble(error: Exception) -> str:
    """What OpenSSL or the network says, in a reader's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.lower()
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None):  # one that Python raised has none
        return error.reason.replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "not in time"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
