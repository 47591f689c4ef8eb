"""A flag wins over a variable, that over the file, that over the default; what is not known or wrong is an error."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from ledger import WriterOptions
from server.config import Secret, Settings, option_name, variable_name

NAMES = [setting.name for setting in fields(Settings)]
DOCUMENTED = Path(__file__).parent.parent.parent / "docs" / "settings.md"


@pytest.fixture
def config(run):
    """What `scrip config` shows: the value of each setting, and where it came from."""

    def config(*arguments, before=(), **variables) -> dict[str, tuple[object, str]]:
        result = run(*before, "config", *arguments, "--format", "json", **variables)
        assert result.exit_code == 0, result.stderr
        return {row["setting"]: (row["value"], row["from"]) for row in json.loads(result.stdout)}

    return config


def toml(text: str, name: str = "scrip.toml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("batch_max", (1000, 10, 20, 30)),
        ("workers", (1, 2, 3, 4)),
        ("linger_ms", (2.0, 1.5, 2.5, 3.5)),
        ("listen", ("127.0.0.1:50051", "[::1]:1", "0.0.0.0:2", "localhost:3")),
        ("database", ("sqlite:///data/scrip.db", "sqlite:///1.db", "sqlite:///2.db", "sqlite:///3.db")),
        ("log_level", ("info", "debug", "warning", "error")),
        ("deadline_s", (10.0, 1.0, 2.0, 3.0)),
    ],
)
def test_a_flag_wins_over_a_variable_that_over_the_file_that_over_the_default(config, name, values):
    default, in_file, in_variable, in_flag = values
    variable, flag = {variable_name(name): str(in_variable)}, (option_name(name), str(in_flag))

    assert config()[name] == (default, "default")
    toml(f"{name} = {json.dumps(in_file)}")
    assert config()[name] == (in_file, "file scrip.toml")
    assert config(**variable)[name] == (in_variable, f"variable {variable_name(name)}")
    assert config(*flag, **variable)[name] == (in_flag, f"flag {option_name(name)}")
    assert config(*flag)[name] == (in_flag, f"flag {option_name(name)}")


def test_a_server_gathers_as_the_ledger_does_by_itself():
    of_server, of_ledger = Settings(), WriterOptions()

    assert all(getattr(of_server, option.name) == getattr(of_ledger, option.name) for option in fields(WriterOptions))


def test_the_file_is_the_flag_s_then_the_variable_s_then_the_one_that_is_there(config):
    first, second = toml("batch_max = 1", "first.toml"), toml("batch_max = 2", "second.toml")
    toml("batch_max = 3")

    assert config()["batch_max"] == (3, "file scrip.toml")
    assert config(SCRIP_CONFIG=second)["batch_max"] == (2, "file second.toml")
    assert config(before=("--config", first), SCRIP_CONFIG=second)["batch_max"] == (1, "file first.toml")


def test_every_setting_has_all_four_places(config):
    assert list(config()) == sorted(NAMES)


def test_an_empty_variable_says_nothing_and_those_of_the_tests_are_none_of_ours(config):
    assert config(SCRIP_BATCH_MAX="", SCRIP_TEST_POSTGRES_URL="postgresql://h/x")["batch_max"] == (1000, "default")


def test_an_unknown_variable_is_an_error_that_names_the_known_ones(run):
    result = run("config", SCRIP_BATCHMAX="10")

    assert result.exit_code == 2
    assert "The environment has SCRIP_BATCHMAX, which is no setting of Scrip. Known are: " in result.stderr
    assert [name for name in NAMES if variable_name(name) not in result.stderr] == []


@pytest.mark.parametrize("text", ["batchmax = 10", "[serve]\nbatch_max = 10"])
def test_an_unknown_line_of_the_file_is_an_error_that_names_the_known_ones(run, text):
    toml(text)

    result = run("config")

    assert result.exit_code == 2
    assert "which is no setting of Scrip. Known are: " in result.stderr
    assert [name for name in NAMES if name not in result.stderr] == []


def test_unknown_settings_are_errors_for_every_command(run):
    toml("batchmax = 10")

    assert {run(*command.split()).exit_code for command in ("serve", "migrate", "balance acme", "audit")} == {2}


def test_the_file_speaks_to_commands_within_groups(run):
    toml('server = "127.0.0.1:1"\ndeadline_s = 0.5')

    result = run("packages", "list")

    assert "Is a server running at 127.0.0.1:1?" in result.stderr


def test_an_unknown_flag_is_an_error_that_names_the_likely_one(run):
    result = run("serve", "--batch-maximum", "10")

    assert result.exit_code == 2
    assert "No such option '--batch-maximum'. Did you mean '--batch-max'?" in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_max", "many"),
        ("batch_max", "0"),
        ("batch_max", "10001"),
        ("batch_max", "12.5"),
        ("queue_max", "1e3"),
        ("readers", "65"),
        ("workers", "0"),
        ("workers", "65"),
        ("linger_ms", "-1"),
        ("linger_ms", "nan"),
        ("sweep_s", "inf"),
        ("drain_s", "10s"),
        ("deadline_s", "0"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("listen", "50051"),
        ("listen", "127.0.0.1"),
        ("listen", "127.0.0.1:99999"),
        ("listen", "127.0.0.1:http"),
        ("listen", "http://127.0.0.1:50051"),
        ("listen", "unix:/run/scrip.sock"),
        ("listen", "unix:1"),
        ("listen", "::1:50051"),
        ("http_listen", "8080"),
        ("http_listen", "http://127.0.0.1:8080"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_an_error_wherever_it_is(run, name, value):
    results = [run("config", option_name(name), value), run("config", **{variable_name(name): value})]
    toml(f"{name} = {json.dumps(value)}")
    results.append(run("config"))

    for result in results:
        assert result.exit_code == 2
        assert f"Invalid value for '{option_name(name)}': " in result.stderr


@pytest.mark.parametrize(
    "line", ["batch_max = 12.5", "linger_ms = nan", "linger_ms = -1", "batch_max = 1e3", "log_level = 5"]
)
def test_a_number_of_the_file_is_as_good_as_a_flag(run, line):
    toml(line)

    result = run("config")

    assert result.exit_code == 2
    assert "Invalid value for '--" in result.stderr


@pytest.mark.parametrize("value", ["true", "[1]", "{a = 1}", "2026-01-01"])
def test_a_line_of_the_file_is_a_text_or_a_number(run, value):
    toml(f"linger_ms = {value}")

    result = run("config")

    assert result.exit_code == 2
    assert "scrip.toml: linger_ms must be a text or a number." in result.stderr


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.write_text("batch_max = ["), "is not TOML"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is not TOML"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory."),
        (lambda _: None, "cannot be read: No such file or directory."),
    ],
    ids=["no TOML", "no UTF-8", "a directory", "not there"],
)
def test_a_file_that_cannot_be_read_is_an_error(run, make, complaint):
    make(Path("settings.toml"))

    for result in (run("--config", "settings.toml", "config"), run("config", SCRIP_CONFIG="settings.toml")):
        assert result.exit_code == 2
        assert f"settings.toml {complaint}" in result.stderr


def test_a_password_is_not_shown(run):
    for form in ("table", "json", "csv"):
        result = run("config", "--format", form, SCRIP_DATABASE="postgresql://scrip:swordfish@db/scrip")

        assert "***" in result.stdout
        assert "swordfish" not in result.output


def test_a_password_among_the_parameters_is_not_shown(run):
    result = run("config", SCRIP_DATABASE="postgresql://db/scrip?user=scrip&password=swordfish")

    assert "swordfish" not in result.output


def test_a_password_in_a_url_that_is_none_is_not_shown(run):
    result = run("config", SCRIP_DATABASE="postgresql://scrip:swordfish@db:five/scrip")

    assert result.exit_code == 1
    assert "swordfish" not in result.output


@pytest.mark.parametrize("url", ["nonsense", "mysql://db/scrip", "sqlite://", "sqlite:///:memory:"])
def test_what_is_no_database_is_an_error(run, url):
    for command in ("config", "trial-balance"):
        result = run(command, "--database", url)

        assert result.exit_code == 1
        assert "Use sqlite:///path/to/file.db or postgresql://user:password@host:5432/database." in result.stderr


def test_the_database_of_a_server_is_not_opened_by_who_asks_the_server(run):
    toml('database = "sqlite:///server.db"')

    result = run("balance", "acme", SCRIP_SERVER="127.0.0.1:1", SCRIP_DEADLINE_S="0.5")

    assert "Is a server running at 127.0.0.1:1?" in result.stderr


def test_the_documentation_lists_every_setting_with_its_default():
    rows = re.findall(r"^\| `(\w+)` \| `?([^`|]*?)`? \|", DOCUMENTED.read_text(encoding="utf-8"), re.MULTILINE)

    assert dict(rows) == {setting.name: f"{setting.default}".removesuffix(".0") for setting in fields(Settings)}


SECRETS = [setting.name for setting in fields(Settings) if isinstance(setting.metadata["type"], Secret)]
BEGINS = {"stripe_api_key": "rk_test_", "stripe_webhook_secret": "whsec_"}


def test_the_secrets_are_known_here():
    assert set(SECRETS) == {"link_secret", *BEGINS}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_shown_nowhere(run, name):
    secret = BEGINS.get(name, "") + "swordfish" * 10

    shown = [run("config", "--format", form, **{variable_name(name): secret}) for form in ("table", "json", "csv")]

    assert [result.exit_code for result in shown] == [0, 0, 0]
    assert all("***" in result.stdout and "swordfish" not in result.output for result in shown)
    assert "swordfish" not in repr(Settings(**{name: secret}))


def test_the_password_of_the_database_is_not_told_with_the_settings():
    assert "swordfish" not in repr(Settings(database="postgresql://scrip:swordfish@db.example/scrip"))


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_of_the_file_is_not_shown_as_a_default(run, name):
    toml(f'{name} = "{BEGINS.get(name, "")}{"swordfish" * 10}"')

    result = run("serve", "--help")

    assert option_name(name) in result.stdout
    assert "swordfish" not in result.output


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("stripe_api_key", "pk_test_swordfishswordfish"),
        ("stripe_api_key", "whsec_swordfishswordfish"),
        ("stripe_api_key", "sk_test"),
        ("stripe_webhook_secret", "sk_test_swordfishswordfish"),
        ("stripe_webhook_secret", "whsec_swordfishswordfish,swordfishswordfish"),
        ("stripe_webhook_secret", "whsec_swordfishswordfish,"),
    ],
)
def test_what_is_no_secret_of_stripe_is_an_error_that_does_not_repeat_it(run, name, secret):
    result = run("config", **{variable_name(name): secret})

    assert result.exit_code == 2
    assert f"Invalid value for '{option_name(name)}': it must " in result.stderr
    assert "swordfish" not in result.output


def test_two_secrets_of_a_webhook_are_good_while_one_replaces_the_other(config):
    assert config(SCRIP_STRIPE_WEBHOOK_SECRET=f"whsec_{'a' * 20},whsec_{'b' * 20}")["stripe_webhook_secret"] == (
        "***",
        "variable SCRIP_STRIPE_WEBHOOK_SECRET",
    )


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_could_be_guessed_is_an_error_that_does_not_repeat_it(run, name):
    result = run("config", **{variable_name(name): BEGINS.get(name, "") + "fish"})

    assert result.exit_code == 2
    assert f"Invalid value for '{option_name(name)}': it must have at least " in result.stderr
    assert "fish" not in result.output


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://pay.example.com", "https://pay.example.com"),
        ("https://pay.example.com/credits/", "https://pay.example.com/credits"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_public_url_is_kept_without_the_slash_at_its_end(config, url, kept):
    assert config(SCRIP_PUBLIC_URL=url)["public_url"][0] == kept


@pytest.mark.parametrize(
    "url",
    [
        "pay.example.com",
        "http://pay.example.com",
        "http://localhost.example.com",
        "https://",
        "https://me@pay.example.com",
        "https://pay.example.com/?a=1",
        "https://pay.example.com/#top",
        "javascript:alert(1)",
    ],
)
def test_what_is_no_public_url_is_an_error(run, url):
    result = run("config", SCRIP_PUBLIC_URL=url)

    assert result.exit_code == 2
    assert "is not a URL such as https://pay.example.com" in result.stderr
