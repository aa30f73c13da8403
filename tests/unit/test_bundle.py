"""A contract is taken only as this deployment signed it."""

import json

import pytest

from common.bundle import CONTRACT, NETWORK, Bundle, check_contract, sign_bundle, signature
from common.errors import BundleRefused

KEY = "the-bundle-key"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / NETWORK).write_bytes(b"a network")
    (tmp_path / "golden.npz").write_bytes(b"answers")
    sign_bundle(tmp_path, {"pipeline": "flowers", "labels": [{"es": "Pequeña"}], "thresholds": {"sure": 0.9}}, KEY)
    return tmp_path


def test_what_was_signed_is_taken_with_the_sha256_of_every_file(folder):
    contract = check_contract((folder / CONTRACT).read_bytes(), KEY)
    assert (contract["pipeline"], contract["format"]) == ("flowers", 1)
    assert set(contract["files"]) == {NETWORK, "golden.npz"}


def test_signing_again_gives_the_same_contract(folder):
    before = (folder / CONTRACT).read_bytes()
    contract = {key: value for key, value in json.loads(before).items() if key not in ("files", "hmac", "format")}
    sign_bundle(folder, contract, KEY)
    assert (folder / CONTRACT).read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": {"sure": 0.1}},
        {"labels": []},
        {"more": 1},
        {"format": 2},
        {"files": {}},
        {"hmac": "0" * 64},
        {"hmac": "ñ"},
        {"hmac": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_altered_contract_is_refused(folder, change):
    text = json.dumps({**json.loads((folder / CONTRACT).read_bytes()), **change})
    with pytest.raises(BundleRefused, match=r"altered|not a signed contract"):
        check_contract(text.encode(), KEY)


def test_another_key_signs_nothing_of_ours(folder):
    with pytest.raises(BundleRefused, match="bundle-key"):
        check_contract((folder / CONTRACT).read_bytes(), "another key")


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"not JSON", b'{"hmac": {}}'])
def test_what_is_no_contract_is_refused(text):
    with pytest.raises(BundleRefused, match=r"contract\.json"):
        check_contract(text, KEY)


def test_an_unknown_format_is_refused_and_both_numbers_are_told(folder):
    sign_bundle(folder, {"pipeline": "flowers", "format": 7}, KEY)
    with pytest.raises(BundleRefused, match="has format 7; this code reads 1"):
        check_contract((folder / CONTRACT).read_bytes(), KEY)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ".hidden"])
def test_a_file_outside_the_bundle_is_refused_even_if_signed(folder, name):
    contract = json.loads((folder / CONTRACT).read_bytes()) | {"files": {name: "0" * 64}}
    contract["hmac"] = signature(contract, KEY)
    with pytest.raises(BundleRefused, match="outside the bundle"):
        check_contract(json.dumps(contract).encode(), KEY)


@pytest.mark.parametrize("name", [NETWORK, "golden.npz"])
def test_an_altered_file_is_refused_before_it_is_read(folder, name):
    (folder / name).write_bytes(b"something else")
    with pytest.raises(BundleRefused, match=f"{name} is not the file that was signed"):
        Bundle(folder, KEY)


@pytest.mark.parametrize("name", [NETWORK, CONTRACT])
def test_a_missing_file_is_told(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleRefused, match="is not whole"):
        Bundle(folder, KEY)
