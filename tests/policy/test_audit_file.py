"""An audit file: its chain, its lock, its failures, and what a verification finds."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import resource
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim import ConfigurationError
from ap_resume_shim.core.errors import PolicyUnavailable
from ap_resume_shim.policy import AuditFile
from ap_resume_shim.policy.audit_verify import Verification, verify

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[AuditFile]:
    with closing(AuditFile(path, **options)) as file:
        yield file


async def write(file: AuditFile, *names: str) -> None:
    for name in names:
        await file.record(lambda name=name: {"event": name})  # type: ignore[misc]


async def written(path: Path, *names: str) -> bytes:
    with opened(path) as file:
        await write(file, *names)
    return path.read_bytes()


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_bytes().splitlines() if line.endswith(b'"}')]


def check(*paths: Path) -> Verification:
    return verify(paths)[-1]


async def test_each_line_has_the_digest_of_the_line_before_and_its_own(path: Path) -> None:
    lines = (await written(path, "a", "b")).splitlines()
    before = None
    for line in lines:
        record = json.loads(line)
        assert record["prev"] == before
        assert record["line_sha256"] == hashlib.sha256(line[: line.index(b',"line_sha256"')]).hexdigest()
        before = hashlib.sha256(line).hexdigest()
    assert (events(path), check(path).records, check(path).last) == (["opened", "a", "b"], 3, before)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_the_chain_continues_after_a_restart(path: Path) -> None:
    await written(path, "a")
    await written(path, "b")
    assert events(path) == ["opened", "a", "opened", "b"]
    assert check(path).lines() == [
        f"{path} is complete and unchanged: 4 records, the last digest is {check(path).last}."
    ]


@pytest.mark.parametrize("size", [1, 20, 200, -1])
async def test_a_torn_line_is_tolerated_and_recorded_at_the_restart(path: Path, size: int) -> None:
    whole = await written(path, "a")
    last = (await written(path, "b"))[len(whole) :].splitlines()[0]
    path.write_bytes(whole + last[:size])
    assert (check(path).problems, check(path).torn[0][:21]) == ([], "Line 3 is torn at the")
    await written(path, "c")
    assert path.read_bytes().startswith(whole + last[:size] + b"\n")
    assert (check(path).problems, check(path).torn) == ([], ["Line 3 is torn, and the next record says so."])


async def test_a_restart_that_was_torn_after_its_newline_is_recorded_too(path: Path) -> None:
    whole = await written(path, "a")
    path.write_bytes(whole + b'{"prev":"1\n')
    await written(path, "b")
    assert (check(path).problems, len(check(path).torn)) == ([], 1)


async def test_a_closed_file_refuses_and_notes_nothing(path: Path) -> None:
    with opened(path) as file:
        pass
    file.note(dict)
    with pytest.raises(PolicyUnavailable):
        await write(file, "a")


async def test_a_line_without_its_newline_is_whole_and_a_restart_may_be_torn(path: Path) -> None:
    whole = await written(path, "a")
    path.write_bytes(whole[:-1])
    twice = (await written(path, "b")).splitlines()
    path.write_bytes(b"\n".join(twice[:2]) + b"\n" + twice[2][:30])
    assert check(path).problems == []
    await written(path, "c")
    assert (check(path).problems, check(path).records) == ([], 4)


async def test_a_power_failure_may_leave_zeros(path: Path) -> None:
    whole = await written(path, "a")
    path.write_bytes(whole + b"\0" * 100)
    await written(path, "b")
    assert check(path).problems == []


async def damaged(path: Path) -> bytes:
    """A file with all kinds of lines: restarts, a torn line, questions."""
    await written(path, "sending", "outcome")
    path.write_bytes(path.read_bytes() + b'{"prev":"12')
    with opened(path) as file:
        await file.record(lambda: {"event": "not_sent", "questions": [{"id": "q1", "sha256": "0" * 64, "value": {}}]})
    return path.read_bytes()


def line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
async def test_a_flipped_byte_anywhere_is_found_and_its_line_is_named(path: Path, flip: int) -> None:
    data = await damaged(path)
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :])
        result = check(path)
        assert result.problems, (position, data[position - 20 : position + 20])
        (problem, *_), line = result.problems, line_at(data, position)
        named = [int(number) for number in re.findall(r"\d+", problem)]
        assert problem.endswith("changed."), position
        assert named[0] <= line <= named[-1] <= named[0] + 1, (position, problem)


async def test_a_byte_that_becomes_a_newline_is_found(path: Path) -> None:
    data = await damaged(path)
    for position in range(len(data)):
        if data[position] != 10:
            path.write_bytes(data[:position] + b"\n" + data[position + 1 :])
            assert check(path).problems, position


async def test_lines_that_are_removed_swapped_or_added_are_found(path: Path) -> None:
    data = await written(path, "a", "b", "c")
    first, a, b, c = data.splitlines(keepends=True)
    for lines in (
        [first, b, c],
        [first, a, c],
        [first, b, a, c],
        [first, a, a, b, c],
        [a, b, c],
        [first, a, b, b"{}\n"],
    ):
        path.write_bytes(b"".join(lines))
        assert check(path).problems, lines


@pytest.mark.parametrize("end", [b"root:x:0:0\n", b'{"event":"a"}\n'])
async def test_another_file_is_not_written_to(path: Path, end: bytes) -> None:
    path.write_bytes(end)
    with pytest.raises(ConfigurationError, match="is no audit file"):
        AuditFile(path)
    assert path.read_bytes() == end


async def test_a_file_whose_last_line_was_changed_is_not_continued(path: Path) -> None:
    data = await written(path, "a")
    path.write_bytes(data.replace(b'"event":"a"', b'"event":"b"'))
    with pytest.raises(ConfigurationError, match="its end was changed: check it with"):
        AuditFile(path)


def test_a_large_file_of_another_kind_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"log\n")
        file.truncate(1 << 40)
    with pytest.raises(ConfigurationError, match="is no audit file"):
        AuditFile(path)


async def test_a_line_larger_than_a_block_is_found_at_the_restart(path: Path) -> None:
    await written(path, "a", "x" * 300_000)
    await written(path, "b")
    assert (check(path).problems, check(path).records) == ([], 5)


def test_a_second_process_is_refused(path: Path) -> None:
    code = f"from ap_resume_shim.policy import AuditFile; AuditFile({str(path)!r})"
    with opened(path):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert f"The audit file {path} is in use by another process: each process needs a file of its own." in second.stderr
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_folder_that_does_not_exist_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened: No such file or directory"):
        AuditFile(tmp_path / "none" / "audit.jsonl")


async def test_records_that_wait_at_the_same_time_share_one_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    sync = os.fsync

    def counted(file: int) -> None:
        syncs.append(file)
        sync(file)

    monkeypatch.setattr(os, "fsync", counted)
    with opened(path) as file:
        await asyncio.gather(*(write(file, f"r{number}") for number in range(200)))
    assert sorted(events(path)) == sorted(["opened", *(f"r{number}" for number in range(200))])
    assert len(syncs) < 50
    assert check(path).problems == []


async def test_a_record_is_written_before_the_sync_that_it_waits_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file).st_ino, os.fstat(file).st_size)))
    with opened(path) as file:
        for name in ("a", "b"):
            await write(file, name)
            assert (path.stat().st_ino, path.stat().st_size) in synced


async def test_a_slow_disk_does_not_block_the_event_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: gate.wait(20))
    with opened(path) as file:
        writing = asyncio.create_task(write(file, "a"))
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert not writing.done()
        gate.set()
        await writing


async def test_a_disk_that_does_not_respond_refuses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: gate.wait(20))
    monkeypatch.setattr("ap_resume_shim.policy.audit_file.TIMEOUT", 0.05)
    with opened(path) as file:
        with pytest.raises(PolicyUnavailable) as refused:
            await write(file, "a")
        gate.set()
    assert refused.value.reason == f"{path} cannot be written: the disk did not respond within 0.05 seconds"


@pytest.mark.parametrize("required", [True, False])
async def test_a_record_that_waits_in_vain_for_the_disk_is_logged_and_counted(
    path: Path, required: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: gate.wait(20))
    monkeypatch.setattr("ap_resume_shim.policy.audit_file.TIMEOUT", 0.05)
    with opened(path, required=required) as file:
        results = await asyncio.gather(*(write(file, name) for name in ("a", "b", "c")), return_exceptions=True)
        assert [type(result) for result in results] == [PolicyUnavailable if required else type(None)] * 3
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        gate.set()
        monkeypatch.undo()
        await write(file, "d")
    written = [json.loads(line) for line in path.read_bytes().splitlines()]
    lost = sum(line.get("lost", 0) for line in written)
    assert (events(path)[-1], len({"a", "b", "c"} - set(events(path))), check(path).problems) == ("d", lost, [])
    assert 0 < lost < 3
    assert caplog.messages[1:] == [f"the audit file {path} can be written again; {lost} records are missing"]


async def test_a_record_that_is_lost_alone_is_counted_in_the_file(path: Path) -> None:
    with opened(path) as file:
        await write(file, "a")
        with pytest.raises(PolicyUnavailable):
            await file.record(lambda: {"event": [][0]})
        await write(file, "b")
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(line["event"], line.get("lost")) for line in lines[2:]] == [("recovered", 1), ("b", None)]


@contextmanager
def full(size: int) -> Iterator[None]:
    """Limit the size of files: a write beyond it is cut short, and the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 30, 250])
async def test_a_full_disk_refuses_and_the_file_continues_when_there_is_room(
    path: Path, room: int, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(path) as file:
        await write(file, "a")
        with full(path.stat().st_size + room):
            for _ in range(3):
                with pytest.raises(PolicyUnavailable) as refused:
                    await write(file, "x" * 300)
        assert (refused.value.code, refused.value.metadata) == ("policy_unavailable", {"resume_state": "not_sent"})
        await write(file, "b")
    assert events(path)[-2:] == ["recovered", "b"]
    recovered = json.loads(path.read_bytes().splitlines()[-2])
    assert (recovered["lost"], check(path).problems) == (3, [])
    levels = [record.levelno for record in caplog.records if "audit file" in record.message]
    assert levels == [logging.ERROR, logging.WARNING], "one line when it begins, one when it ends"


async def test_a_full_device_refuses_from_the_first_record_on() -> None:
    with opened(Path("/dev/full")) as file, pytest.raises(PolicyUnavailable) as refused:
        await write(file, "a")
    assert "no resume is sent without a record" in refused.value.message
    assert refused.value.reason == "/dev/full cannot be written: No space left on device"


async def test_a_file_that_is_not_required_refuses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with opened(Path("/dev/full"), required=False) as file:
        await write(file, "a")
    assert "(No space left on device): resumes are sent without a record" in caplog.text


async def test_a_disk_that_is_full_at_the_first_record_leaves_a_file_that_verifies(path: Path) -> None:
    with opened(path) as file:
        with full(10), pytest.raises(PolicyUnavailable):
            await write(file, "a")
        await write(file, "b")
    assert (events(path), check(path).problems) == (["opened", "b"], [])


async def test_a_record_that_cannot_be_made_refuses_its_resume_alone(path: Path) -> None:
    with opened(path) as file:
        nan = file.record(lambda: {"event": "a", "value": [][0]})
        other = write(file, "b")
        failed, fine = await asyncio.gather(nan, other, return_exceptions=True)
    assert (type(failed), fine, events(path)) == (PolicyUnavailable, None, ["opened", "b"])


async def test_rotation_continues_the_chain_in_a_new_file(path: Path) -> None:
    old = path.with_suffix(".1")
    with opened(path) as file:
        await write(file, "a")
        file.reopen()  # nothing was renamed
        await write(file, "a")
        path.rename(old)
        await write(file, "b")
        file.reopen()
        await write(file, "c")
    assert (events(old), events(path)) == (["opened", "a", "a", "b"], ["rotated", "c"])
    results = verify([old, path])
    assert [result.problems for result in results] == [[], []]
    assert json.loads(path.read_bytes().splitlines()[0])["prev"] == results[0].last
    (problem,) = verify([path, old])[1].problems
    assert problem.startswith("Line 1 does not follow the last line of the file before: it begins a chain")


async def test_a_rotation_without_a_resume_does_not_interrupt_the_chain(path: Path) -> None:
    names = [path.with_suffix(".2"), path.with_suffix(".1"), path]
    with opened(path) as file:
        await write(file, "a")
        for old in names[:2]:
            path.rename(old)
            path.touch(0o600)
            file.reopen()
            file._thread.submit(int).result()  # the file was reopened
    await written(path, "b")
    assert [result.problems for result in verify(names)] == [[], [], []]
    assert [events(name) for name in names] == [["opened", "a"], ["rotated"], ["rotated", "opened", "b"]]


async def test_a_file_that_was_renamed_while_no_process_wrote_it_begins_a_new_chain(path: Path) -> None:
    await written(path, "a")
    path.rename(old := path.with_suffix(".1"))
    await written(path, "b")
    (problem,) = verify([old, path])[1].problems
    assert problem.startswith("Line 1 does not follow the last line of the file before: it begins a chain")
    assert check(path).problems == []


@pytest.mark.parametrize("rest", [b"", b'{"prev":"12'])
async def test_a_file_without_its_lines_does_not_hide_that_they_are_missing(path: Path, rest: bytes) -> None:
    names = [path.with_suffix(".2"), path.with_suffix(".1"), path]
    with opened(path) as file:
        for old in names[:2]:
            await write(file, "a")
            path.rename(old)
            file.reopen()
        await write(file, "b")
    assert [result.problems for result in verify(names)] == [[], [], []]
    names[1].write_bytes(rest)
    assert verify(names)[2].problems == ["Line 1 does not follow the last line of the file before."]


async def test_a_file_that_was_removed_is_continued_in_a_new_one(path: Path) -> None:
    with opened(path) as file:
        await write(file, "a")
        path.unlink()
        await write(file, "b")
        path.unlink()
        path.mkdir()
        with pytest.raises(PolicyUnavailable) as refused:
            await write(file, "c")
        path.rmdir()
        await write(file, "d")
    assert "Is a directory" in refused.value.reason
    assert (events(path), check(path).problems) == (["rotated", "d"], [])


@pytest.mark.parametrize("head", [b'{"prev":x', b'{"prev":1}{', b'{"prev":"\xff"', b'{"prev":1,"a":' + b"[" * 100_000])
def test_a_line_with_the_right_digest_that_is_no_record_was_changed(path: Path, head: bytes) -> None:
    path.write_bytes(head + b',"line_sha256":"' + hashlib.sha256(head).hexdigest().encode() + b'"}\n')
    assert check(path).problems == ["Line 1 was changed."]


def test_a_large_file_of_another_kind_is_verified_in_little_memory(path: Path) -> None:
    path.write_bytes((b"x" * 999 + b"\n") * 10_000)
    tracemalloc.start()
    try:
        assert check(path).problems == ["At least one of the lines 1 to 10000 was changed."]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


async def test_the_new_file_is_locked_and_the_old_one_is_free(path: Path) -> None:
    old = path.with_suffix(".1")
    with opened(path) as file:
        path.rename(old)
        path.touch(0o600)  # as logrotate's `create` does
        file.reopen()
        await write(file, "a")
        with pytest.raises(ConfigurationError, match="in use by another process"):
            AuditFile(path)
        AuditFile(old).close()


async def test_a_new_file_that_cannot_be_opened_leaves_the_old_one(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = path.with_suffix(".1")
    with opened(path) as file:
        await write(file, "a")
        path.rename(old)
        path.mkdir()
        file.reopen()
        await write(file, "b")
    assert (events(old), check(old).problems) == (["opened", "a", "b"], [])
    assert "cannot be reopened (Is a directory): the old one goes on" in caplog.text


async def test_rotation_on_a_full_disk_continues_the_chain(path: Path) -> None:
    old = path.with_suffix(".1")
    with opened(path) as file:
        await write(file, "a")
        with full(path.stat().st_size + 50):
            with pytest.raises(PolicyUnavailable):
                await write(file, "x" * 300)
            path.rename(old)
            file.reopen()
            with pytest.raises(PolicyUnavailable):
                await write(file, "x" * 3000)
        await write(file, "b")
    assert [result.problems for result in verify([old, path])] == [[], []]
    assert events(path) == ["rotated", "recovered", "b"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
async def test_a_process_that_forked_does_not_write(path: Path) -> None:
    with opened(path) as file:
        await write(file, "a")
        file._pid = 0
        with pytest.raises(PolicyUnavailable) as refused:
            await write(file, "b")
    assert "was opened before the process forked" in refused.value.reason


def test_records_of_several_event_loops_share_a_file(path: Path) -> None:
    with opened(path) as file, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: asyncio.run(write(file, f"r{number}")), range(20)))
    assert (len(events(path)), check(path).problems) == (21, [])
