"""Settings: where they may be given, which counts, and what is said of a wrong one."""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim.sidecar.app import check
from ap_resume_shim.sidecar.cli import main
from ap_resume_shim.sidecar.setting_values import pairs
from ap_resume_shim.sidecar.settings import GROUPS, NAMES, Settings, kebab, schema
from ap_resume_shim.sidecar.settings_sources import Serve, WrongSettings, read
from tests.servers.process import free_port
from tests.support.redis_server import redis_server

ROOT = Path(__file__).parents[2]
UPSTREAM = ("--upstream", "http://127.0.0.1:9")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and an environment without settings."""
    for name in [name for name in os.environ if name.startswith("AP_RESUME_SHIM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file(text: str, name: str = "shim.toml") -> str:
    Path(name).write_text(text)
    return name


def wrong(*argv: str) -> list[str]:
    """What is said of settings that are wrong."""
    with pytest.raises(WrongSettings) as caught:
        read(argv)
    return caught.value.lines


def example(name: str) -> tuple[Any, str]:
    """A value of a setting that is not its default: as TOML has it, and as a flag."""
    described = schema()["properties"][kebab(name)]
    if described["type"] == "boolean":
        return not described["default"], str(not described["default"]).lower()
    if described["type"] == "array":
        return ["a=example", "b=example"], "a=example,b=example"
    if described["type"] in ("number", "integer"):
        return 1234, "1234"
    value = described.get("enum", ["/a"])[-1] if described.get("format") != "file-path" else __file__
    return value, value


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_a_flag_a_variable_and_a_key_of_a_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, text = example(name)
    rest = () if name == "upstream" else UPSTREAM
    flag = f"--{'no-' if value is False else ''}{kebab(name)}"
    expected = getattr(read([*rest, flag] if isinstance(value, bool) else [*rest, flag, text]), name)
    assert expected != Settings.model_fields[name].default
    for key in (name, kebab(name)):
        config = file(f"{key} = {json.dumps(value)}")
        assert getattr(read([*rest, "--config", config]), name) == expected
    monkeypatch.setenv(f"AP_RESUME_SHIM_{name.upper()}", text)
    assert getattr(read(rest), name) == expected


def test_a_flag_counts_more_than_the_environment_and_that_more_than_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ("--config", file("upstream = 'http://file'\nvia = 'file'\nprefix = '/file'\nhost = 'file'"))
    monkeypatch.setenv("AP_RESUME_SHIM_VIA", "environment")
    monkeypatch.setenv("AP_RESUME_SHIM_PREFIX", "/environment")
    settings = read([*config, "--prefix", "/flag"])
    assert (settings.prefix, settings.via, settings.host) == ("/flag", "environment", "file")
    assert settings.backend == "auto"


def test_a_section_of_another_projects_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[project]\nport = 1\n\n[tool.ap-resume-shim]\nupstream = 'http://file'\n\n[tool.other]\nport = 2"
    monkeypatch.setenv("AP_RESUME_SHIM_CONFIG", file(text, "pyproject.toml"))
    assert (read([]).upstream, read([]).port) == ("http://file", 8063)


@pytest.mark.parametrize("given", ["x-user,x-tenant", "x-user, x-tenant", '["x-user", "x-tenant"]'])
def test_a_list_is_written_with_commas_or_as_json(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read([*UPSTREAM, "--credentials", given]).credentials == ["x-user", "x-tenant"]
    monkeypatch.setenv("AP_RESUME_SHIM_CREDENTIALS", given)
    assert read(UPSTREAM).credentials == ["x-user", "x-tenant"]


def test_a_list_may_be_empty() -> None:
    assert read([*UPSTREAM, "--credentials", ""]).credentials == []


def test_a_reference_is_the_variables_value_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "me")
    monkeypatch.setenv("PORT_OF_OURS", "1234")
    monkeypatch.setenv("AP_RESUME_SHIM_VIA", "${WHO}")
    text = "port = '${PORT_OF_OURS}'\ncredentials = ['x-${WHO}']\nnamespace = '$${WHO} $WHO ${WHO}${WHO}'"
    settings = read([*UPSTREAM, "--config", file(text), "--prefix", "/${WHO}"])
    assert (settings.port, settings.credentials, settings.via, settings.prefix) == (1234, ["x-me"], "me", "/me")
    assert settings.namespace == "${WHO} $WHO meme"


def test_a_value_that_was_referred_to_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "${NOBODY}")
    assert read([*UPSTREAM, "--via", "${WHO}"]).via == "${NOBODY}"


def test_a_reference_that_leads_nowhere_is_told_with_its_place() -> None:
    text = "upstream = 'http://file'\nguard = 'redis://:${NOT_THERE}@redis/0'\nvia = '${a b}'"
    assert wrong("--config", file(text)) == [
        "shim.toml:3: via: ${ starts a reference, ${NAME}; write $${ for a literal ${",
        "shim.toml:2: guard: it refers to the environment variable NOT_THERE, which is not set",
    ]


def test_unknown_names_are_errors_with_the_nearest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AP_RESUME_SHIM_UPSTRAEM", "http://x")
    assert wrong("--resume-timout=3", "--xyzzy") == [
        "unknown flag --resume-timout; did you mean --resume-timeout?",
        "unknown flag --xyzzy",
        "unknown environment variable AP_RESUME_SHIM_UPSTRAEM; did you mean AP_RESUME_SHIM_UPSTREAM?",
    ]


@pytest.mark.parametrize("key", ["resume-timout", "resume_timout"])
def test_an_unknown_key_is_told_with_file_and_line(key: str) -> None:
    text = f"upstream = 'http://file'\n\n{key} = 3\n"
    assert wrong("--config", file(text)) == ["shim.toml:3: unknown setting resume-timout; did you mean resume-timeout?"]


@pytest.mark.parametrize("key", ["config", "check"])
def test_what_is_no_setting_of_the_sidecar_has_no_place_in_a_file(key: str) -> None:
    (line,) = wrong("--config", file(f"{key} = true"))
    assert line.startswith(f"shim.toml:1: unknown setting {key}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("upstream 'http://file'", "shim.toml: Expected '=' after a key in a key/value pair (at line 1, column 10)"),
        ("[tool.other]", "shim.toml: the section [tool.ap-resume-shim] is missing"),
        (
            "lookup-timeout = 1\nlookup_timeout = 2",
            "shim.toml: a setting occurs twice, with dashes and with underscores",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_told(text: str, says: str) -> None:
    assert wrong("--config", file(text)) == [says]


def test_a_file_that_is_not_there_is_told() -> None:
    assert wrong(*UPSTREAM, "--config", "nowhere.toml") == ["--config: must be the path of an existing file"]


def test_a_wrong_value_is_told_with_its_name_its_place_and_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AP_RESUME_SHIM_SETTLE", "soon")
    monkeypatch.setenv("AP_RESUME_SHIM_CREDENTIALS", "[x-user")
    lines = wrong(*UPSTREAM, "--config", file("\nresume-timeout = 'long'\nport = 1"), "--port", "70000", "--no-lenient")
    assert sorted(lines) == [
        "--port: must be at most 65535",
        'AP_RESUME_SHIM_CREDENTIALS: a list is written a,b or ["a", "b"]',
        "AP_RESUME_SHIM_SETTLE: must be a number",
        "shim.toml:2: resume-timeout: must be a number",
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["{}", "-1", "1.5", "[1]", "'?'"])
def test_an_error_of_any_setting_has_a_text_of_our_own(name: str, value: str) -> None:
    flags = () if name == "upstream" else UPSTREAM
    try:
        read([*flags, "--config", file(f"{kebab(name)} = {value}")])
    except WrongSettings as error:
        (line,) = error.lines
        assert line.startswith(f"shim.toml:1: {kebab(name)}: must be ")


def test_a_list_of_one_name_may_be_a_text() -> None:
    settings = read([*UPSTREAM, "--config", file("cors = 'https://app.example'"), "--credentials", "x-user"])
    assert (settings.cors, settings.credentials) == (["https://app.example"], ["x-user"])


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["http://here:1"], "unexpected argument http://here:1; did you mean --upstream http://here:1?"),
        (["unix:/run/a"], "unexpected argument unix:/run/a; did you mean --upstream unix:/run/a?"),
        ([*UPSTREAM, "8063"], "unexpected argument 8063; each setting is a flag, such as --port 8063"),
        ([*UPSTREAM, "--port"], "--port: a value is missing"),
    ],
)
def test_the_error_of_a_wrong_command_line_has_what_to_do_next(argv: list[str], line: str) -> None:
    assert wrong(*argv) == [line]


def test_a_place_in_a_section_is_not_that_of_another_sections_key() -> None:
    text = "[project]\nport = 1\n\n[tool.ap-resume-shim]\nport = 'x'"
    (line,) = wrong(*UPSTREAM, "--config", file(text, "pyproject.toml"))
    assert line.startswith("pyproject.toml:5: port: ")


@pytest.mark.parametrize("prefix", ["-", "/-/", "//", "/a b", "/a?b", "x"])
def test_a_reserved_prefix_is_a_path(prefix: str) -> None:
    (line,) = wrong(*UPSTREAM, "--reserved-prefix", prefix)
    assert line.startswith("--reserved-prefix: ")


SECRET = "swordfish-7"


@pytest.mark.parametrize(
    "text",
    [
        "guard = 'redis://:{}@127.0.0.1:1/0'",
        "guard = 'redis://:/{}@127.0.0.1:1/0'",
        "guard = 'redis://:{}/x@127.0.0.1:1/0'",
        "guard = 'redis://:{}#x@127.0.0.1:1/0'",
        "guard = 'redis://:x@{}@127.0.0.1:1/0'",
        "guard = 'redis://us/er:{}@127.0.0.1:1/0'",
        "guard = 'mongodb://user:x/{}/@127.0.0.1'",
        "upstream = 'http://user:{}/x@host'",
        "upstream = 'http://user:x/{}@host'",
        "guard = 'redis://user:{}@127.0.0.1:1/0?protocol=3'",
        "guard = 'redis://:{}@127.0.0.1:x'",
        "guard = 'mongodb://user:{}@127.0.0.1'",
        "guard = 'unix:///redis.sock?password={}'",
        "ssl-keyfile-password = '{}'",
        "upstream-key-password = '{}'",
        "report-key = '{}'",
        "upstream = 'http://user:{}@host'",
        "upstream = 'http://user:{}@host?x'",
        "upstreams = 'http://user:{}@host'",
        "guard = ['redis://:{}@host']",
    ],
)
@pytest.mark.parametrize("how", ["referred to", "written down", "flag"])
def test_a_secret_is_never_said(
    text: str, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("A_SECRET", SECRET)
    text = text.format("${A_SECRET}" if how == "referred to" else SECRET)
    name, value = text.split(" = ")
    flags = [f"--{name}", value.strip("'")] if how == "flag" else ["--config", file(text)]
    with suppress(SystemExit):
        main(["serve", *(() if name == "upstream" else UPSTREAM), *flags, "--check"])
    said = capsys.readouterr()
    assert (said.out or said.err) and SECRET not in said.out + said.err


@pytest.mark.parametrize("setting", ["--guard=redis://:7a/b2@127.0.0.1:1/0", "--upstream=http://u:7a/b2@host"])
def test_of_a_secret_no_part_is_said(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", *UPSTREAM, setting, "--check"])
    said = capsys.readouterr().err
    assert "7a" not in said and "b2" not in said


def test_check_says_what_is_wrong_with_the_guards_store(capsys: pytest.CaptureFixture[str]) -> None:
    with redis_server("--requirepass", "right") as store, pytest.raises(SystemExit) as end:
        main(["serve", *UPSTREAM, "--guard", f"redis://:wrong@127.0.0.1:{store.port}/0", "--check"])
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    assert "refuses the user or the password" in said.err


@pytest.mark.parametrize(
    ("options", "warning"), [(None, "connecting to 127.0.0.1:"), (("--maxmemory-policy", "allkeys-lru"), "may evict")]
)
def test_check_warns_of_the_guards_store(
    options: tuple[str, ...] | None, warning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        port = free_port() if options is None else stack.enter_context(redis_server(*options)).port
        main(["serve", *UPSTREAM, "--guard", f"redis://127.0.0.1:{port}/0", "--check"])
    said = capsys.readouterr()
    assert said.out.startswith("The settings are valid")
    assert warning in said.err


def test_what_a_reference_stands_for_is_not_said_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("A_SECRET", SECRET)
    with pytest.raises(SystemExit):
        main(["serve", *UPSTREAM, "--backend", "${A_SECRET}", "--via", "${A_SECRET} "])
    assert "${A_SECRET}" in (said := capsys.readouterr().err) and SECRET not in said


def test_check_says_what_was_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", SECRET)
    config = file("guard = 'redis://:${REDIS_PASSWORD}@127.0.0.1:1/0'\nlenient = true")
    main(["serve", *UPSTREAM, "--config", config, "--check", "--port", "0"])
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [
        "  upstream = http://127.0.0.1:9",
        "  lenient = True",
        "  guard = redis://:${REDIS_PASSWORD}@127.0.0.1:1/0",
        "  port = 0",
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    settings = read(["--upstream", "x", "--backend", "x", "--guard", "x", "--ssl-keyfile", __file__])
    assert [line.split()[0] for line in check(settings)] == ["TLS", "'x'", "There", "Unknown"]


def test_every_setting_is_described_and_belongs_to_one_group() -> None:
    assert sorted(NAMES) == sorted(Settings.model_fields)
    assert all(field.description for field in Serve.model_fields.values())
    assert len({group.__doc__ for group in GROUPS}) == len(GROUPS)


def test_help_has_the_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert [line for line in said.splitlines() if line in {f"{group.__doc__}:" for group in GROUPS}] == [
        f"{group.__doc__}:" for group in GROUPS
    ]
    assert said.startswith("usage: ap-resume-shim serve --upstream ADDRESS [OPTIONS]\n")
    assert "127.0.0.1,::1" in said
    assert re.findall(r"\b(?:str|SecretStr|Path|float|int|null)\b|list\[|default: (?:\[|\))", said) == []


def test_the_published_schema_is_that_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schema"])
    assert (ROOT / "docs/reference/config.schema.json").read_text() == capsys.readouterr().out


def test_the_published_openapi_document_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schema", "openapi"])
    assert (ROOT / "docs/reference/openapi.json").read_text() == capsys.readouterr().out


def test_the_console_needs_a_path() -> None:
    (problem,) = check(read([*UPSTREAM, "--console", "--reserved-prefix", ""]))
    assert "--reserved-prefix" in problem
    assert check(read([*UPSTREAM, "--console"])) == []


@pytest.mark.parametrize("name", [kebab(name) for name in NAMES])
def test_the_reference_describes_every_setting(name: str) -> None:
    described = schema()["properties"][name]
    default = json.dumps(described["default"]) if described.get("default") not in (None, "", []) else ""
    row = f"| `{name}` | {default and f'`{default}`'} | {described['description']} |"
    assert row in (ROOT / "docs/reference/settings.md").read_text().splitlines()


@pytest.mark.parametrize(
    ("written", "options"),
    [
        (["path=/agent"], {"path": "/agent"}),
        (["a=1", "b=2"], {"a": "1", "b": "2"}),
        (["a=1, b=2,3"], {"a": "1", "b": "2,3"}),
        (["a="], {"a": ""}),
    ],
)
def test_options_of_a_backend_are_pairs_whose_values_may_hold_commas(
    written: list[str], options: dict[str, str]
) -> None:
    argv = [part for each in written for part in ("--option", each)]
    assert pairs(read(["--upstream", "http://127.0.0.1:1", *argv]).option) == options
