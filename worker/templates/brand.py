"""How the merchant looks in a message: name, colour, logo, address, where to ask. Plain where nothing is set."""

from __future__ import annotations

import re
from dataclasses import dataclass

from config.settings import Settings

WHITE, INK = "#ffffff", "#0b0d10"


@dataclass(frozen=True, slots=True)
class Brand:
    """`colour` is that of the button, as #rrggbb; an empty string anywhere else means that there is none."""

    colour: str = "#1f5eff"
    logo: str = ""
    address: str = ""
    support: str = ""

    @property
    def on_colour(self) -> str:
        """White or ink, whichever is read better on the colour (WCAG 2.2, relative luminance)."""
        return max((WHITE, INK), key=lambda text: contrast(text, self.colour))


def brand_of(settings: Settings) -> Brand:
    return Brand(
        settings.brand_colour.lower(),
        settings.brand_logo_url or "",
        " ".join((settings.brand_address or "").split()),
        settings.support_email or "",
    )


def contrast(one: str, other: str) -> float:
    """1 to 21; text wants 4.5 at least."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(part, 16) / 255 for part in re.findall(r"[0-9a-f]{2}", colour))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
