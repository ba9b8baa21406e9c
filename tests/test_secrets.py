"""Secrets are masked in texts, command lines and mappings, and files that hold them are recognised by name."""

from __future__ import annotations

import random

import pytest

from tracker.secrets import MASK, is_secret_name, looks_secret, mask_argv, mask_mapping, mask_text, mask_url, mask_value

GITHUB = "ghp_" + "a1B2" * 9
AWS = "AKIA" + "ABCDEFGH12345678"
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + "sflKxwRJSMeKKF2QT4"


def _words(text: str) -> list[str]:
    return text.split()


PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:pa55@host/x.git", "https://***@host/x.git"),
        (f"https://{GITHUB}@github.com/a/b", "https://***@github.com/a/b"),
        ("postgresql+psycopg2://me:p@ss:w0rd@db:5432/x", "postgresql+psycopg2://***@db:5432/x"),
        ("postgres://me:pa/ss@db/x", "postgres://***@db/x"),
        ("redis://:secret@cache:6379/0", "redis://***@cache:6379/0"),
        (
            "s3://bucket/k?X-Amz-Credential=abc&X-Amz-Signature=def&n=1",
            "s3://bucket/k?X-Amz-Credential=***&X-Amz-Signature=***&n=1",
        ),
        ("https://acc.blob.net/c?sv=2021&sig=abc%3D&se=2030", "https://acc.blob.net/c?sv=2021&sig=***&se=2030"),
        (
            "see https://h/?access_token=t1#top and http://a:b@c.",
            "see https://h/?access_token=***#top and http://***@c.",
        ),
    ],
)
def test_credentials_leave_urls(url: str, expected: str) -> None:
    """User parts and signing values vanish wherever the URL stands in the text; the rest stays."""
    assert mask_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "ssh://git@github.com/a/b.git",
        "git@github.com:a/b.git",
        "https://pypi.test/simple/pkg@1.2",
        "http://localhost:8080/a@b",
        "http://[::1]:9000/x",
        "git+https://host/repo@v1.2#egg=x",
        "file:///home/me/x@y",
        "s3://bucket/prefix?page=2",
    ],
)
def test_harmless_urls_stay(url: str) -> None:
    """An at sign in a path, a port, or the user of ssh is no credential."""
    assert mask_url(url) == url
    assert mask_text(url) == url


@pytest.mark.parametrize(
    "secret", [GITHUB, AWS, JWT, PRIVATE, "sk-" + "x" * 40, "hf_" + "Q" * 34, "xoxb-123456789012-abc"]
)
def test_known_key_forms_are_masked_in_any_text(secret: str) -> None:
    """A key of a known form is masked whatever stands around it."""
    masked = mask_text(f"value {secret} end")

    assert secret not in masked
    assert masked == f"value {MASK} end"


def test_authorization_headers_are_masked_and_prose_is_not() -> None:
    """The value behind an authentication scheme goes, also when it is short; a sentence with the word stays."""
    assert mask_text("curl -H 'Authorization: Basic dTpw' x") == "curl -H 'Authorization: ***' x"
    assert mask_text("sent Bearer abc123def456") == "sent Bearer ***"
    assert mask_text("the basic training of a bearer") == "the basic training of a bearer"


def test_private_key_without_an_end_is_masked_to_the_end() -> None:
    """A cut-off private key does not show its rest."""
    assert mask_text("x -----BEGIN PRIVATE KEY-----\nabcdef\nghi") == f"x {MASK}"


@pytest.mark.parametrize(
    "name",
    _words(
        """
        password DB_PASSWORD PGPASSWORD userPassword MYSQL_PWD api_key apiKey X-Api-Key OPENAI_API_KEY token
        HF_TOKEN github_token_prod accessToken AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN secret client-secret
        private_key Authorization Proxy-Authorization http_auth credentials SENTRY_DSN Set-Cookie AIRFLOW_CONN_MY_DB
        AIRFLOW__CORE__FERNET_KEY AIRFLOW__DATABASE__SQL_ALCHEMY_CONN db_pass WANDB_API_KEY jwt passphrase authtoken
        secret_access_key azure.account-key SSECustomerKey x-amz-server-side-encryption-customer-key
        """
    ),
)
def test_secret_names_are_known(name: str) -> None:
    """Names of secrets are recognised in every spelling."""
    assert is_secret_name(name, "abc")


@pytest.mark.parametrize(
    "name",
    _words(
        """
        tokenizer max_tokens num_tokens tokens pad_token eos_token eos_token_id mask_token token_embedding token_dim
        PWD OLDPWD key keys sort_key keyboard author authors GIT_AUTHOR_NAME SSH_AUTH_SOCK forward_pass passes
        compass bypass password_file secret_name monkey lr connection conn_count special_token patience patch
        customer_key
        """
    ),
)
def test_training_names_are_no_secrets(name: str) -> None:
    """Names that training code uses stay readable, or the run could not be repeated."""
    assert not is_secret_name(name, "abc")


def test_doubtful_names_are_settled_by_the_value() -> None:
    """A number or a switch is no token, but may be a password."""
    assert not is_secret_name("token", 3)
    assert not is_secret_name("use_token", True)
    assert not is_secret_name("password", None)
    assert is_secret_name("password", 12345678)


@pytest.mark.parametrize(
    "text",
    [
        "x-amz-security-token:t0ken-value\nhost:x",
        "{'X-Amz-Security-Token': 't0ken-value'}",
        "{'X-Amz-Security-Token': b't0ken-value', 'Date': b'now'}",
        "{b'Authorization': b'AWS4-HMAC-SHA256 Credential=t0ken-value'}",
        "Cookie: session=t0ken-value",
        "secret=b't0ken-value'",
    ],
)
def test_headers_are_masked_in_every_form_that_stands_in_logs(text: str) -> None:
    """Clients of stores log their requests when a program asks for all that is logged."""
    assert "t0ken-value" not in mask_text(text)
    assert mask_text(mask_text(text)) == mask_text(text)


def test_argv_masks_values_of_secret_options() -> None:
    """Every way of passing a secret on a command line is covered, and the rest is kept."""
    argv = [
        "--lr",
        "0.1",
        "--password",
        "hunter2",
        "--api-key=abc",
        "+db.password=xyz",
        "-H",
        "Authorization: Bearer abcdefghijkl",
    ]
    argv += [
        "--config",
        '{"password": "x y", "lr": 1}',
        "--token",
        "5",
        "--store",
        "s3://k:s@b/x",
        "--use-secret",
        "--max-tokens",
        "512",
    ]

    masked = mask_argv(argv)

    assert masked[:6] == ("--lr", "0.1", "--password", MASK, f"--api-key={MASK}", f"+db.password={MASK}")
    assert "abcdefghijkl" not in masked[7]
    assert masked[8:12] == ("--config", f'{{"password": "{MASK}", "lr": 1}}', "--token", "5")
    assert masked[12:] == ("--store", f"s3://{MASK}@b/x", "--use-secret", "--max-tokens", "512")


def test_mapping_masks_at_every_depth_and_keeps_the_rest() -> None:
    """Nested mappings, lists, headers and bytes are masked; numbers, empty and unknown values are kept."""
    mapping = {
        "db": [{"password": "p", "port": 5432}],
        "secret": {"a": 1},
        "secrets": [],
        "url": "http://u:p@h",
        1: b"x " + AWS.encode(),
    }
    mapping["headers"] = [("Authorization", "abc"), ("Accept", "json")]

    masked = mask_mapping(mapping)

    assert masked["db"] == [{"password": MASK, "port": 5432}]
    assert (masked["secret"], masked["secrets"], masked["url"], masked[1]) == (MASK, [], "http://***@h", b"x ***")
    assert masked["headers"] == [("Authorization", MASK), ("Accept", "json")]
    assert mapping["db"] == [{"password": "p", "port": 5432}]


def test_cycles_end() -> None:
    """A list that contains itself is masked at a bounded depth instead of running for ever."""
    cycle: list[object] = []
    cycle.append(cycle)

    assert MASK in repr(mask_value(cycle))


def test_masking_is_linear_in_the_text() -> None:
    """Long texts of near-matches do not make a pattern run away."""
    generator = random.Random(7)
    pieces = [
        "a://",
        "@",
        "x=",
        ":",
        "'",
        '"',
        "eyJabcdefghi.",
        "password",
        " ",
        "-----BEGIN PRIVATE KEY",
        "\\",
        "&sig",
        "bearer ",
    ]

    text = "".join(generator.choices(pieces, k=200_000)) + "a" * 500_000 + "://" + "b" * 500_000

    assert len(mask_text(text)) > 0


@pytest.mark.parametrize(
    "path",
    _words(
        """
        .env .env.local conf/.env.production prod.env .envrc id_rsa keys/id_ed25519 id_rsa_work server.key tls.pem
        private.pem privkey.pem key.pem a.p12 a.pfx a.jks credentials .aws/credentials .aws/config credentials.json
        gcp-credentials.json .netrc .pypirc .npmrc .pgpass kubeconfig .kube/config secrets.yaml
        client_secret_12.json service-account-prod.json .git-credentials .ssh/config vpn.ovpn host.keytab ID_RSA
        private.asc token.json
        """
    ),
)
def test_secret_files_are_recognised(path: str) -> None:
    """Files that hold keys, passwords or tokens are known by their names."""
    assert looks_secret(path)


@pytest.mark.parametrize(
    "path",
    _words(
        """
        .env.example .env.sample .env.template example.env id_rsa.pub public.pem cacert.pem ca-bundle.pem
        fullchain.pem credentials.py secrets.py token.py tokenizer.json special_tokens_map.json train.py key.py
        keys.json environment.yml env.py secrets.example.yaml data/config.json test_credentials.py README.md
        public.key release.tar.gz.asc monkey.txt
        """
    ),
)
def test_harmless_files_are_kept(path: str) -> None:
    """Examples, public halves and source code are not secrets."""
    assert not looks_secret(path)
