"""Rights: what rows say, which row governs, what a policy refuses and why, in words a lawyer would accept."""

import io
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.footage.grants import Grants, conflict, merged
from curate.footage.rights_file import read_grants
from schemas.document import DocumentError
from schemas.rights import GRANTS, Policy, licence, licence_problem, permitted_uses, refusal, territory

DAY = date(2027, 6, 1)
DIGITAL_CAPTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
NOTHING = dict.fromkeys(
    ("license", "rights_holder", "rights_uses", "rights_territories", "rights_start", "rights_expires", "attribution", "releases", "rights_proof")
)


def granted(**terms: object) -> dict:
    return {**NOTHING, "license": "CC0-1.0", **terms}


def read(tmp_path: Path, text: str) -> list[dict]:
    path = tmp_path / "rights.csv"
    path.write_text(text)
    return read_grants(str(path)).to_pylist()


def test_a_row_is_read_with_its_lists_dates_and_line(tmp_path: Path) -> None:
    heading = "\ufeffFile;Licence;Owner;Permitted uses;Territories;Start;Expiry;Tags;Note"
    (row,) = read(tmp_path, f"{heading}\n\nb.mp4;cc by 4.0;Ann;Train | display;de|US-CA;2027-01-01;2028-01-01;a|b;x\n")
    assert (row["path"], row["license"], row["rights_holder"], row["line"]) == ("b.mp4", "CC-BY-4.0", "Ann", 3)
    assert (row["rights_uses"], row["rights_territories"], row["tags"]) == (["train", "display"], ["DE", "US-CA"], ["a", "b"])
    assert (row["rights_start"], row["rights_expires"]) == (date(2027, 1, 1), date(2028, 1, 1))


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    rows = [{"path": "a.mp4", "license": "CC0-1.0", "uses": ["train"], "expires": date(2028, 1, 1)}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rights.parquet")
    (from_parquet,) = read_grants(str(tmp_path / "rights.parquet")).to_pylist()
    (from_csv,) = read(tmp_path, "path,license,uses,expires\na.mp4,CC0-1.0,train,2028-01-01\n")
    assert {**from_parquet, "origin": "", "line": 0} == {**from_csv, "origin": "", "line": 0}


@pytest.mark.parametrize(
    ("match", "kind"),
    [("s0123456789abcdef0123", "source_id"), ("A" * 64, "sha256"), ("sha256:" + "a" * 64, "sha256"), ("clips/*.mp4", "glob"), ("clips/a.mp4", "path")],
)
def test_one_column_can_match_in_any_way(tmp_path: Path, match: str, kind: str) -> None:
    (row,) = read(tmp_path, f"match,license\n{match},CC0-1.0\n")
    assert [name for name in ("source_id", "sha256", "glob", "path") if row[name]] == [kind]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path,licence,expirse\na,CC0-1.0,2028-01-01\n", "line 1: `expirse` is not a column of a rights file; did you mean `expires`"),
        ("path,holder\na,me\n", "there is no column `license`"),
        ("license\nCC0-1.0\n", "no column says which source"),
        ("path,license,licence\na,b,c\n", "two columns stand for `license`"),
        ("path,license\na,\n", "line 2: names no license"),
        ("path,license\n,CC0-1.0\n", "line 2: names no source"),
        ("path,license,expires\na,CC0-1.0,31/12/2027\n", "line 2: `31/12/2027` is not a date: write it as 2027-12-31"),
        ("path,license,start,expires\na,CC0-1.0,2028-01-01,2027-01-01\n", "expire before"),
        ("path,license,territories\na,CC0-1.0,Germany\n", "`Germany` is not a territory"),
        ("path,license\na,CC-BY-MAYBE\n", "`CC-BY-MAYBE` is not a Creative Commons licence"),
        ("path,license\na,all rights reserved\n", "neither an SPDX"),
        ("sha256,license\nabc,CC0-1.0\n", "`abc` is not a sha256"),
        ("path,license\na,b,c,d\n", "line 2: has another number of cells"),
        ("path,license,holder\na,b\n", "line 2: has another number of cells"),
        ('path,license\n"a,b\n', "is not valid CSV"),
    ],
)
def test_a_wrong_rights_file_is_refused_with_the_line_and_what_is_allowed(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DocumentError, match=r"rights\.csv") as raised:
        read(tmp_path, text)
    assert told in str(raised.value)


def test_every_wrong_row_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as raised:
        read(tmp_path, "path,license\n" + "a,\n" * 30)
    assert str(raised.value).count("names no license") == 20 and "and 10 more" in str(raised.value)


@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=300))
def test_no_bytes_whatever_crash_the_reader_of_rights(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("rights") / "rights.csv"
    for start in (b"", b"path,license\n", b"PAR1"):
        path.write_bytes(start + data)
        try:
            assert read_grants(str(path)).schema == GRANTS
        except DocumentError as error:
            assert "rights.csv" in str(error)


def rows_of(tmp_path: Path, *lines: str) -> Grants:
    return Grants(read(tmp_path, "\n".join(("id,sha256,path,glob,license", *lines))))


def test_the_most_specific_row_governs(tmp_path: Path) -> None:
    source, digest = "s" + "0" * 20, "0" * 64
    grants = rows_of(tmp_path, ",,,*.mp4,contract:glob", ",,a/b.mp4,,contract:path", f",{digest},,,contract:hash", f"{source},,,,contract:id")
    assert [row["license"] for row in grants.governing(source, digest, ["a/b.mp4"])] == ["contract:id"]
    assert [row["license"] for row in grants.governing("s1", digest, ["a/b.mp4"])] == ["contract:hash"]
    assert [row["license"] for row in grants.governing("s1", "1", ["./a//b.mp4"])] == ["contract:path"]
    assert [row["license"] for row in grants.governing("s1", None, ["a/c.mp4"])] == ["contract:glob"]
    assert grants.governing("s1", None, ["a/c.mov", "b.MP4"]) == []


def test_a_row_that_names_two_things_needs_both_to_be_true(tmp_path: Path) -> None:
    grants = rows_of(tmp_path, f",{'0' * 64},a.mp4,,contract:both")
    assert grants.governing("s1", "0" * 64, ["a.mp4"])
    assert not grants.governing("s1", "0" * 64, ["b.mp4"])
    assert not grants.governing("s1", "1" * 64, ["a.mp4"])


def test_a_path_is_not_the_end_of_another(tmp_path: Path) -> None:
    assert not rows_of(tmp_path, ",,a.mp4,,CC0-1.0").governing("s1", None, ["private/a.mp4", "/footage/private/a.mp4"])


def test_rows_that_are_true_of_no_file_are_idle_even_where_others_govern(tmp_path: Path) -> None:
    digest = "0" * 64
    lines = [",,a.mp4,,CC0-1.0", ",,b.mp4,,CC0-1.0", ",,,*.mp4,CC0-1.0", ",,,*.mov,CC0-1.0", f",{digest},,,CC0-1.0", f",{'1' * 64},a.mp4,,CC0-1.0"]
    idle = rows_of(tmp_path, *lines).idle([("s1", digest, ["./a.mp4"]), ("s2", None, ["c.mp4"])])
    assert [row["line"] for row in idle] == [3, 5, 7]


def test_rows_that_agree_govern_together_and_rows_that_differ_conflict(tmp_path: Path) -> None:
    agreeing = rows_of(tmp_path, ",,,*.mp4,CC0-1.0", ",,,a*,CC0-1.0").governing("s1", None, ["a.mp4"])
    assert len(agreeing) == 2 and conflict(agreeing) is None
    differing = rows_of(tmp_path, ",,,*.mp4,CC0-1.0", ",,,a*,contract:1").governing("s1", None, ["a.mp4"])
    assert conflict(differing) == "conflicting rights: rights.csv line 2 says license CC0-1.0, rights.csv line 3 says contract:1"


def test_a_corrected_row_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("first.csv", "second.csv"))
    first.write_text("path,license\na.mp4,contract:1\nb.mp4,contract:2\n")
    second.write_text("path,license\na.mp4,contract:3\n")
    both = merged(read_grants(str(first)), read_grants(str(second)))
    assert sorted(zip(both["path"].to_pylist(), both["license"].to_pylist())) == [("a.mp4", "contract:3"), ("b.mp4", "contract:2")]


@pytest.mark.parametrize(
    ("policy", "rights", "told"),
    [
        (None, granted(rights_expires=date(2027, 5, 31)), "the rights expired on 2027-05-31"),
        (None, granted(rights_expires=DAY), None),
        (None, granted(rights_start=date(2027, 6, 2)), "the rights start on 2027-06-02"),
        (None, granted(license="contract:1"), None),
        (None, granted(rights_uses=["redistribute"]), "the rights permit redistribute, and not `train`"),
        (Policy(), granted(license="unstated"), "no rights are stated, and policy `policy` asks for them"),
        (Policy(licenses=("unstated",)), granted(license="unstated"), None),
        (Policy(licenses=("CC-BY-*",)), granted(license="CC-BY-SA-4.0"), None),
        (Policy(licenses=("CC-BY-*",)), granted(), "policy `policy` does not accept the licence CC0-1.0: it accepts CC-BY-*"),
        (Policy(refused_licenses=("CC-BY-NC*",)), granted(license="CC-BY-NC-ND-4.0", attribution="x"), "policy `policy` refuses the licence CC-BY-NC-ND-4.0"),
        (
            Policy(uses=("commercial",)),
            granted(license="CC-BY-NC-4.0"),
            "policy `policy` needs the use `commercial`, and the rights permit train, redistribute, derivatives, display",
        ),
        (Policy(), granted(license="contract:1"), "policy `policy` needs the use `train`, and the rights permit no stated use"),
        (
            Policy(territories=("DE", "US-CA")),
            granted(rights_territories=["US", "FR"]),
            "policy `policy` needs the territory DE, and the rights cover US, FR",
        ),
        (Policy(territories=("DE",)), granted(rights_territories=["worldwide"]), None),
        (Policy(territories=("DE",)), granted(), "policy `policy` needs the territory DE, and the rights cover none that is stated"),
        (Policy(releases=("people",)), granted(releases=["property"]), "policy `policy` needs a release for people"),
        (Policy(days_left=30), granted(rights_expires=date(2027, 6, 20)), "policy `policy` needs 30 days more, and the rights expire on 2027-06-20"),
        (Policy(proof=True), granted(), "policy `policy` needs the proof, and none is given"),
        (Policy(holder=True), granted(), "policy `policy` needs the holder, and none is given"),
        (Policy(), granted(license="CC-BY-4.0"), "policy `policy` needs the attribution, and none is given"),
        (Policy(attribution=False), granted(license="CC-BY-4.0"), None),
    ],
)
def test_a_refusal_says_which_rule_and_what_there_is(policy: Policy | None, rights: dict, told: str | None) -> None:
    if policy is not None and policy.licenses == ("CC-BY-*",) and rights["license"].startswith("CC-BY"):
        rights = {**rights, "attribution": "Ann"}
    assert refusal(rights, policy, DAY) == told


def test_licences_come_in_one_spelling() -> None:
    assert [licence(text) for text in ("cc by-nc 4.0", "CC0", "cc0 1.0", " Apache-2.0 ", "Unstated", "contract: 7")] == [
        "CC-BY-NC-4.0", "CC0-1.0", "CC0-1.0", "Apache-2.0", "unstated", "contract: 7",
    ]  # fmt: skip
    assert licence_problem("CC-BY-SA-3.0-DE") is None
    assert permitted_uses("CC-BY-NC-ND-4.0", None) == ["train", "redistribute", "display"]
    assert permitted_uses("contract:7", None) is None
    assert permitted_uses("contract:7", ["display"]) == ["display"]


@given(st.text())
def test_a_territory_is_iso_or_refused(text: str) -> None:
    try:
        assert territory(territory(text)) == territory(text)
    except ValueError as error:
        assert "ISO 3166" in str(error)


def test_content_credentials_are_read_and_their_refusal_of_training_is_heard(tmp_path: Path) -> None:
    from curate.footage.credentials import forbids_training, read_credentials

    signed = signed_picture(tmp_path)
    credentials = read_credentials(str(signed))
    assert credentials is not None and "An owner" in credentials
    assert forbids_training(credentials)
    plain = tmp_path / "plain.jpg"
    plain.write_bytes(picture())
    assert read_credentials(str(plain)) is None
    assert not forbids_training(None)


def picture() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def signed_picture(folder: Path) -> Path:
    """A JPEG signed by a throw-away authority, whose manifest does not allow training."""
    import c2pa

    key, chain = throwaway_signer()
    told = {
        "claim_generator_info": [{"name": "An owner", "version": "1"}],
        "format": "image/jpeg",
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": DIGITAL_CAPTURE}]}},
            {"label": "cawg.training-mining", "data": {"entries": {"cawg.ai_training": {"use": "notAllowed"}}}},
        ],
    }
    signer = c2pa.Signer.from_callback(lambda data: _raw_signature(key, data), c2pa.C2paSigningAlg.ES256, chain.decode(), None)
    path = folder / "signed.jpg"
    with c2pa.Builder(told) as builder, open(path, "w+b") as signed:
        builder.sign(signer, "image/jpeg", io.BytesIO(picture()), signed)
    return path


def _raw_signature(key: bytes, data: bytes) -> bytes:
    """An ECDSA signature as COSE wants it: r and s, 32 bytes each."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    loaded = serialization.load_pem_private_key(key, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(loaded.sign(data, ec.ECDSA(hashes.SHA256()))))


def throwaway_signer() -> tuple[bytes, bytes]:
    """A P-256 key and its certificate chain (leaf, authority), as PEM."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    authority_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    since, until = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=30)

    def certificate(name: str, key, issuer: str, issuer_key, authority: bool) -> x509.Certificate:
        names = [x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, who)]) for who in (name, issuer)]
        usage = x509.KeyUsage(not authority, False, False, False, False, authority, False, False, False)
        made = (
            x509.CertificateBuilder()
            .subject_name(names[0])
            .issuer_name(names[1])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if not authority:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        return made.sign(issuer_key, hashes.SHA256())

    root = certificate("Authority", authority_key, "Authority", authority_key, True)
    leaf = certificate("Signer", leaf_key, "Authority", authority_key, False)
    pem = serialization.Encoding.PEM
    key = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key, leaf.public_bytes(pem) + root.public_bytes(pem)
