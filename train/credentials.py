"""Content credentials: a signed C2PA manifest inside each sampled video, saying that it is generated, and by which checkpoint.

The signature proves that the file is as it was written and names who signed. Without a certificate of one's own, a
throw-away one is made for each file: readers then show the claim intact and its signer as unknown, which is the truth.
"""

import datetime
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.document import DocumentError

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
AGENT = "clipmill"
VALID_DAYS = 3650


@dataclass(frozen=True)
class Signature:
    """A certificate chain and its private key, PEM, for ES256 (P-256)."""

    chain: bytes
    key: bytes

    @classmethod
    def from_files(cls, chain: Path, key: Path) -> "Signature":
        """One's own certificate.

        Raises:
            DocumentError: a file cannot be read.
        """
        try:
            return cls(chain.read_bytes(), key.read_bytes())
        except OSError as error:
            raise DocumentError(f"content credentials: {error.filename}: {error.strerror}; give a PEM certificate chain and its PEM key") from None


def sign_video(video: Path, checkpoint: Path, facts: dict[str, Any], signature: Signature | None = None) -> None:
    """Put a manifest into a video, in place: whole or not at all.

    Args:
        video: an MP4.
        checkpoint: the cascade that made it; its digests and its selection are named.
        facts: what else to state, such as prompt and seed, as JSON values.
        signature: whose; a throw-away one when None.

    Raises:
        DocumentError: the certificate was refused.
    """
    import c2pa

    signature = signature or throw_away_signature()
    partial = video.with_name(video.name + ".partial")
    info = c2pa.C2paSignerInfo(b"es256", signature.chain, signature.key, None)
    try:
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(_manifest(video.name, checkpoint, facts)) as builder:
            partial.unlink(missing_ok=True)
            with video.open("rb") as source, partial.open("w+b") as target:
                builder.sign(signer, "video/mp4", source, target)
    except c2pa.C2paError as error:
        partial.unlink(missing_ok=True)
        raise DocumentError(
            f"content credentials: {video} was not signed: {error}; check the certificate (an ES256 chain with its end entity first)"
        ) from error
    partial.replace(video)


def read_credentials(video: Path) -> dict[str, Any] | None:
    """The active manifest of a video, or None where it has none."""
    import c2pa

    reader = c2pa.Reader.try_create(str(video))
    if reader is None:
        return None
    with reader:
        return reader.get_active_manifest()


def checkpoint_digest(checkpoint: Path) -> str:
    """SHA-256 over the weights of a cascade, by name."""
    digest = hashlib.sha256()
    for path in sorted(checkpoint.rglob("*.safetensors")):
        digest.update(str(path.relative_to(checkpoint)).encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _manifest(title: str, checkpoint: Path, facts: dict[str, Any]) -> dict[str, Any]:
    lineage_path = checkpoint / "lineage.json"
    lineage = json.loads(lineage_path.read_text()) if lineage_path.exists() else {}
    shards = lineage.get("shards", {})
    selection = {name: shards[name] for name in ("name", "contents", "manifest_sha256") if name in shards}
    told = {"checkpoint_sha256": checkpoint_digest(checkpoint), "run": lineage.get("run", {}).get("name"), "selection": selection, **facts}
    action = {"action": "c2pa.created", "digitalSourceType": GENERATED, "softwareAgent": {"name": AGENT}}
    return {
        "claim_generator_info": [{"name": AGENT}],
        "title": title,
        "format": "video/mp4",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}, {"label": "org.clipmill.generation", "data": told}],
    }


def throw_away_signature() -> Signature:
    """A fresh certificate under a fresh authority, with the key usages that C2PA asks for (specification 2.1, section 14.5)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, AGENT), x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
        builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True).add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        if not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate("throw-away authority", root_key, "throw-away authority", root_key, authority=True)
    leaf = certificate("throw-away signer", key, "throw-away authority", root_key, authority=False)
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, root))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Signature(chain, private)
