"""`python -m tests.site FOLDER`: fail if a link of the built site leads nowhere, or a public name is not described."""

import sys
from pathlib import Path

from tests.site.links import dead_links
from tests.site.public_names import undescribed

site = Path(sys.argv[1]).resolve()
problems = [*dead_links(site), *undescribed(site)]
print("\n".join(problems) or f"{len(list(site.rglob('*.html')))} pages, no dead link")
sys.exit(bool(problems))
