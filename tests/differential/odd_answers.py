"""More rows: responses that are unusual, endless or invalid. They are added to `rows.ROWS`."""

from __future__ import annotations

import time
from functools import partial

from tests.differential.client import Ended
from tests.differential.origin import IDLE
from tests.differential.proxies import LIMIT
from tests.differential.rows import FLAT, ROWS, Cell, Row, Stage, asking, row, yes

PATIENCE = LIMIT + 3
"""Seconds that the end of a time limit is waited for."""


def _late(status: int, stage: Stage) -> Cell:
    client = stage.client(patience=PATIENCE)
    client.send(asking(f"/limited/{status}"))
    came = client.answer()
    return yes(came.status == 504, str(came.status or came.end))


for _status in (102, 103):
    ROWS.append(
        Row(
            f"{_status}, then silence",
            f"With a limit of {LIMIT} seconds for a response, the client receives 504: interim responses do not count.",
            partial(_late, _status),
        )
    )


@row("statuses 600 and 999", "They arrive unchanged.")
def _(stage: Stage) -> Cell:
    came = [stage.ask(f"/status/{status}").status for status in (600, 999)]
    return yes(came == [600, 999], ", ".join(map(str, came)))


@row("statuses 000 and 099", "The client receives 502: these are not valid statuses.")
def _(stage: Stage) -> Cell:
    came = [stage.ask(f"/status/{status}") for status in ("000", "099")]
    return Cell(sum(each.status == 502 for each in came), ", ".join(str(each.status or each.end) for each in came))


@row(
    "101 without `Connection`",
    "A client that requested an upgrade receives 101, and then bytes pass unchanged in both directions.",
)
def _(stage: Stage) -> Cell:
    client = stage.client()
    client.send(asking("/upgrade/bare", "GET", "Connection: Upgrade", "Upgrade: echo"))
    try:
        if (status := client.answer().status) != 101:
            return yes(False, str(status or "no response"))
        client.send(b"\x00\xff anything")
        return yes(client.take(11) == b"\x00\xff anything")
    except Ended as ended:
        return yes(False, ended.how)


@row("endless trailers", "64 MiB of trailers: the process grows by less than a quarter of that.")
def _(stage: Stage) -> Cell:
    grown = stage.proxy.grown(lambda: stage.ask("/trailing", "GET", "TE: trailers", "Connection: TE"))
    return Cell(int(grown < FLAT), "yes" if grown < FLAT else "grows", f"{grown >> 20} MiB")


@row(
    "the origin's `Keep-Alive: timeout=1`",
    "A POST after 1.2 seconds without traffic does not use a closing connection.",
)
def _(stage: Stage) -> Cell:
    came = []
    for _ in range(3):
        came.append(stage.ask("/announced", "POST", "Content-Length: 2", body=b"ok").status)
        time.sleep(IDLE + 0.2)
    return yes(came == [200] * 3, str(next((status for status in came if status != 200), "")))
