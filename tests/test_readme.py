"""The first hour of the README, pasted as it stands, gives what the README says."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@pytest.fixture
def fresh_server(tmp_path):
    """The address of a server with empty books."""
    command = [sys.executable, "-m", "server", "serve", "--listen", "127.0.0.1:0"]
    command += ["--database", f"sqlite:///{tmp_path / 'scrip.db'}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            line = next(line for line in process.stdout if "[info     ] serving" in line)
            yield re.search(r"listen=(\S+)", line)[1]
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()


def test_the_readme_is_short():
    assert README.count("\n") <= 160


def test_the_first_hour_gives_what_the_readme_says(fresh_server):
    commands, expected = _console()
    # The server of this test listens elsewhere; everything else is pasted as it is.
    script = "\n".join(f"echo '<<<'\n{command}" for command in commands).replace("127.0.0.1:50051", fresh_server)

    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(ROOT), "SCRIP_SERVER": fresh_server},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    printed = done.stdout.split("<<<\n")[1:]
    assert done.stderr == ""
    assert [_comparable(text) for text in printed] == [_comparable(text) for text in expected]


def test_the_python_of_the_readme_runs(fresh_server):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    prepared = f"""
import scrip
with scrip.Client("{fresh_server}") as client:
    client.open_account("acme")
    client.grant("acme", 100, "promo")
"""
    counted = f"""
with scrip.Client("{fresh_server}") as client:
    assert client.balance("acme").available == 59
"""

    for part in (prepared, code.replace("127.0.0.1:50051", fresh_server), counted):
        exec(part, {"scrip": __import__("scrip")})  # noqa: S102 -- the README's own words


def _console() -> tuple[list[str], list[str]]:
    """The commands in the README's console blocks, and what it shows for each."""
    commands, shown = [], []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            commands.append(command)
            shown.append(output)
    return commands, shown


def _comparable(text: str) -> str:
    """Without white space, which JSON leaves free, and with every instant alike."""
    return re.sub(r"\s+", "", INSTANT.sub("INSTANT", text))
