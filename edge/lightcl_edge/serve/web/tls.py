"""A certificate that this machine makes for itself on first use. Browsers ask once whether to trust it."""

from __future__ import annotations

import hashlib
import socket
import ssl
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from lightcl_edge.errors import UsageError
from lightcl_edge.files.durable import make_folders, replace_durably

_LASTS = timedelta(days=3650)
_CERTIFICATE, _KEY = "certificate.pem", "key.pem"


def own_certificate(folder: Path, host: str, names: list[str]) -> tuple[Path, Path]:
    """Files of certificate and key in ``folder``, made when they are missing."""
    certificate, key = folder / _CERTIFICATE, folder / _KEY
    if not (certificate.exists() and key.exists()):
        make_folders(folder)
        folder.chmod(0o700)
        made, secret = _make(host, names)
        replace_durably(key, secret)
        replace_durably(certificate, made)
    return certificate, key


def _make(host: str, names: list[str]) -> tuple[bytes, bytes]:
    """Certificate and key in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = generate_private_key(SECP256R1())
    own = socket.gethostname()
    about = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, own[:64])])
    called = dict.fromkeys([own, f"{own}.local", "localhost", *names])
    others: list[x509.GeneralName] = [x509.DNSName(name) for name in called if name.isascii()]
    try:
        others.append(x509.IPAddress(ip_address(host)))
    except ValueError:
        others.append(x509.DNSName(host))
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder(about, about, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LASTS)
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM), secret


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate, as browsers show it. Raises UsageError when the file holds none."""
    try:
        text = certificate.read_text(encoding="ascii")
        data = ssl.PEM_cert_to_DER_cert(
            text[text.index("-----BEGIN CERTIFICATE") :].partition("-----END CERTIFICATE-----")[0]
            + "-----END CERTIFICATE-----\n"
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"{certificate} can't be read as a certificate ({error}); expected a PEM file") from error
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(data).digest())
