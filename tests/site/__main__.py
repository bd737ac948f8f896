"""`python -m tests.site FOLDER`: fail if a link of the built site leads nowhere."""

import sys
from pathlib import Path

from tests.site.links import dead_links

site = Path(sys.argv[1]).resolve()
dead = list(dead_links(site))
print("\n".join(dead) or f"{len(list(site.rglob('*.html')))} pages, no dead link")
sys.exit(bool(dead))
