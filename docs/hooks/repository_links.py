"""Let pages link to files of the repository, as they do on a code host, and still be complete on the site.

A page may name `../../benchmarks/results/speed.svg` or `../CONTRIBUTING.md`. Files in `SHOWN` become a part of the site,
and links to them are rewritten.
"""

import posixpath
import re
from collections.abc import Mapping

# File of the repository -> its place on the site.
SHOWN = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security_policy.md",
    "softprompt_tf/backbones/bundled/mini/README.md": "measurements/mini_card.md",
    "benchmarks/results/adaptation_loss.png": "images/adaptation_loss.png",
    "benchmarks/results/adaptation_steps.svg": "images/adaptation_steps.svg",
    "benchmarks/results/late_layers.svg": "images/late_layers.svg",
    "benchmarks/results/mini_last_stages.png": "images/mini_last_stages.png",
    "benchmarks/results/mini_loss.png": "images/mini_loss.png",
    "benchmarks/results/pretraining_objective.svg": "images/pretraining_objective.svg",
    "benchmarks/results/speed.svg": "images/speed.svg",
    "benchmarks/results/speed_growth.svg": "images/speed_growth.svg",
}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def with_site_links(markdown: str, page: str, shown: Mapping[str, str] = SHOWN) -> str:
    """Return a page whose links to shown files point to their place on the site.

    Args:
      markdown: the page's text.
      page: its place on the site, such as "measurements/speed.md".
      shown: file of the repository -> its place on the site.
    """
    place_of = {site: file for file, site in shown.items()}
    source = place_of.get(page, f"docs/{page}")

    def rewritten(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith(("/", "mailto:")):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        site = shown.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
        if site is None:
            return match[0]
        return f"{match[1]}{posixpath.relpath(site, posixpath.dirname(page) or '.')}{match[3] or ''}{match[4]}"

    return _LINK.sub(rewritten, markdown)
