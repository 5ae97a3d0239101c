"""Where Flower's programs are for tests, and certificates for them."""

import datetime
import os
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

PROGRAMS = Path(os.environ.get("LIGHTCL_FLOWER") or Path(__file__).parents[2] / "build" / "fleet" / "bin")
needs_flower = pytest.mark.skipif(not (PROGRAMS / "flwr").exists(), reason="no Flower here: make fleet installs it")


def _pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_certificates(folder, *addresses):
    """``ca.crt``, and ``server.crt`` and ``server.key`` for 127.0.0.1 and other addresses."""
    folder.mkdir()
    keys = {name: ec.generate_private_key(ec.SECP384R1()) for name in ("ca", "server")}
    now, issuer = datetime.datetime.now(datetime.timezone.utc), x509.Name([])
    for name, key in keys.items():
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer = subject if name == "ca" else issuer
        named = x509.SubjectAlternativeName([x509.IPAddress(ip_address(each)) for each in ("127.0.0.1", *addresses)])
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(1))
            .not_valid_after(now + datetime.timedelta(1))
            .add_extension(x509.BasicConstraints(name == "ca", None), critical=True)
            .add_extension(named, critical=False)
            .sign(keys["ca"], SHA256())
        )
        (folder / f"{name}.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "server.key").write_bytes(_pem(keys["server"]))
    return folder


def make_node_key(path):
    """A SuperNode's private key at ``path``, its public one beside it."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    path.write_bytes(private)
    public = path.with_suffix(".pub")
    public.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    return public
