"""The kinds of server that the chosen subjects need, for `python -m tests.servers`; all of them, if none is chosen."""

from __future__ import annotations

from tests.families.subjects import chosen, subjects

if __name__ == "__main__":
    print(*sorted({kind.server for kind in chosen() or subjects().values()}))
