"""A gateway that cannot use its certificates does not start, and says which setting is wrong."""

from pathlib import Path

import pytest
import trustme

from app.errors import CannotServe
from app.proxy.upstream.tls import upstream_context


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, own.pem, key.pem, another key and a file that holds none of them."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    own, other = authority.issue_cert("gateway.test"), authority.issue_cert("other.test")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own.cert_chain_pems[0].write_to_path(folder / "own.pem")
    own.private_key_pem.write_to_path(folder / "key.pem")
    other.private_key_pem.write_to_path(folder / "other.pem")
    (folder / "text.pem").write_text("not PEM")
    return folder


def test_files_that_fit_are_taken(pem: Path) -> None:
    context = upstream_context(pem / "ca.pem", pem / "own.pem", pem / "key.pem")
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("ca", "own", "key", "setting"),
    [
        ("none.pem", None, None, "TURNBACK_UPSTREAM_CA_FILE"),
        ("text.pem", None, None, "TURNBACK_UPSTREAM_CA_FILE"),
        (None, "none.pem", None, "TURNBACK_UPSTREAM_CERT_FILE"),
        (None, "own.pem", None, "TURNBACK_UPSTREAM_CERT_FILE"),
        (None, "own.pem", "none.pem", "TURNBACK_UPSTREAM_KEY_FILE"),
        (None, "own.pem", "other.pem", "TURNBACK_UPSTREAM_KEY_FILE"),
        (None, None, "key.pem", "TURNBACK_UPSTREAM_KEY_FILE"),
    ],
)
def test_files_that_do_not_are_refused_in_one_sentence_that_names_the_setting(
    pem: Path, ca: str | None, own: str | None, key: str | None, setting: str
) -> None:
    given = [None if name is None else pem / name for name in (ca, own, key)]
    with pytest.raises(CannotServe) as refused:
        upstream_context(*given)
    assert setting in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
