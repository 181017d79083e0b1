"""Look at the pages that were built: every public name has its signature, no directive is shown.

python docs/check_pages.py docs/_build/html
"""

import re
import sys
from pathlib import Path

import sphereflow

DIRECTIVE = re.compile(r"\.\. (currentmodule|autosummary|auto\w+|toctree|math)::|```\{")


def faults(folder: Path) -> list[str]:
    """What is wrong with the pages in a folder, a line each."""
    found = []
    generated = folder / "generated"
    for name in sphereflow.__all__:
        if name == "__version__":
            continue
        page = generated / f"sphereflow.{name}.html"
        if not page.is_file():
            found.append(f"{name} has no page")
        elif not re.search(rf'<dt class="sig[^>]*id="sphereflow\.{name}"', page.read_text("utf-8")):
            found.append(f"{page.name} has no signature")
    for page in sorted(folder.rglob("*.html")):
        body = re.sub(r"<(pre|script).*?</\1>", "", page.read_text("utf-8"), flags=re.DOTALL)
        shown = DIRECTIVE.search(re.sub(r"<[^>]+>", "", body))
        if shown:
            found.append(f"{page.relative_to(folder)} shows {shown.group()!r}")
    return found


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]))
    print("\n".join(wrong) or "every public name has its page")
    sys.exit(bool(wrong))
