"""A bundle is accepted only as this deployment signed it."""

import json

import pytest

from common.errors import BundleRefused
from common.inference.bundle import CONTRACT, NETWORK, Bundle, read_contract, signature
from contracts import make_contract
from train.export.sign_bundle import sign_bundle

KEY = "the-bundle-key"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / NETWORK).write_bytes(b"a network")
    (tmp_path / "golden.npz").write_bytes(b"answers")
    sign_bundle(tmp_path, make_contract(), KEY)
    return tmp_path


def changed(folder, key=None, **changes):
    """The text of the stored contract with changes; with `key` signed again."""
    contract = {**json.loads((folder / CONTRACT).read_bytes()), **changes}
    if key is not None:
        contract["hmac"] = signature(contract, key)
    return json.dumps(contract).encode()


def test_a_signed_contract_is_accepted_with_the_sha256_of_every_file(folder):
    contract = read_contract((folder / CONTRACT).read_bytes(), KEY)
    assert (contract.pipeline, contract.format) == ("pets", 1)
    assert set(contract.files) == {NETWORK, "golden.npz"}


def test_signing_again_gives_the_same_contract(folder):
    before = (folder / CONTRACT).read_bytes()
    sign_bundle(folder, read_contract(before, KEY), KEY)
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
    with pytest.raises(BundleRefused, match=r"altered|not a signed contract"):
        read_contract(changed(folder, **change), KEY)


def test_a_contract_signed_with_another_key_is_refused(folder):
    with pytest.raises(BundleRefused, match="bundle-key"):
        read_contract((folder / CONTRACT).read_bytes(), "another key")


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"not JSON", b'{"hmac": {}}'])
def test_a_file_that_is_no_contract_is_refused(text):
    with pytest.raises(BundleRefused, match=r"contract\.json"):
        read_contract(text, KEY)


@pytest.mark.parametrize("number", [7, None])
def test_an_unknown_format_is_refused_naming_both_numbers(folder, number):
    with pytest.raises(BundleRefused, match=f"has format {number}; this code reads 1"):
        read_contract(changed(folder, KEY, format=number), KEY)


def test_a_signed_contract_that_lacks_a_field_is_refused_naming_it(folder):
    with pytest.raises(BundleRefused, match=r"thresholds\.novelty"):
        read_contract(changed(folder, KEY, thresholds={"sure": 0.9}), KEY)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ".hidden"])
def test_a_file_outside_the_bundle_is_refused_even_if_signed(folder, name):
    with pytest.raises(BundleRefused, match="outside the bundle"):
        read_contract(changed(folder, KEY, files={name: "0" * 64}), KEY)


@pytest.mark.parametrize("name", [NETWORK, "golden.npz"])
def test_an_altered_file_is_refused_before_it_is_read(folder, name):
    (folder / name).write_bytes(b"something else")
    with pytest.raises(BundleRefused, match=f"{name} is not the file that was signed"):
        Bundle(folder, KEY)


@pytest.mark.parametrize("name", [NETWORK, CONTRACT])
def test_a_missing_file_is_an_error(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleRefused, match="is incomplete"):
        Bundle(folder, KEY)
