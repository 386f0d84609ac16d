"""Which language and time zone a person is written to in: what the person chose, else the country, else the default.

Stripe tells a customer's `preferred_locales` and the country of the address, and no time zone. A country of several
zones has the one in which most of its people live; a message names days, and hardly ever the wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DEFAULT = "en"

# country (ISO 3166-1): language of its business mail, time zone
COUNTRIES = {
    "AE": ("en", "Asia/Dubai"),
    "AO": ("pt", "Africa/Luanda"),
    "AR": ("es", "America/Argentina/Buenos_Aires"),
    "AT": ("de", "Europe/Vienna"),
    "AU": ("en", "Australia/Sydney"),
    "BO": ("es", "America/La_Paz"),
    "BR": ("pt", "America/Sao_Paulo"),
    "CA": ("en", "America/Toronto"),
    "CH": ("de", "Europe/Zurich"),
    "CI": ("fr", "Africa/Abidjan"),
    "CL": ("es", "America/Santiago"),
    "CO": ("es", "America/Bogota"),
    "CR": ("es", "America/Costa_Rica"),
    "DE": ("de", "Europe/Berlin"),
    "DO": ("es", "America/Santo_Domingo"),
    "EC": ("es", "America/Guayaquil"),
    "ES": ("es", "Europe/Madrid"),
    "FR": ("fr", "Europe/Paris"),
    "GB": ("en", "Europe/London"),
    "GT": ("es", "America/Guatemala"),
    "HK": ("en", "Asia/Hong_Kong"),
    "IE": ("en", "Europe/Dublin"),
    "IN": ("en", "Asia/Kolkata"),
    "JP": ("ja", "Asia/Tokyo"),
    "LI": ("de", "Europe/Vaduz"),
    "LU": ("fr", "Europe/Luxembourg"),
    "MC": ("fr", "Europe/Monaco"),
    "MX": ("es", "America/Mexico_City"),
    "MZ": ("pt", "Africa/Maputo"),
    "NZ": ("en", "Pacific/Auckland"),
    "PA": ("es", "America/Panama"),
    "PE": ("es", "America/Lima"),
    "PH": ("en", "Asia/Manila"),
    "PT": ("pt", "Europe/Lisbon"),
    "PY": ("es", "America/Asuncion"),
    "SG": ("en", "Asia/Singapore"),
    "SN": ("fr", "Africa/Dakar"),
    "US": ("en", "America/New_York"),
    "UY": ("es", "America/Montevideo"),
    "VE": ("es", "America/Caracas"),
    "ZA": ("en", "Africa/Johannesburg"),
}

# Languages of a country beside the first, so that its way of writing money and dates goes with them too.
ALSO_SPOKEN = {"CA": ("fr",), "CH": ("fr",), "LU": ("de",), "US": ("es",)}


def locales_of(preferred: Sequence[str], country: str | None, default: str = DEFAULT) -> tuple[str, ...]:
    """Language tags to try, the best first: `("fr",), "CA"` gives `("fr-CA", "fr", "en-CA", "en")`."""
    land = (country or "").upper()
    found: list[str] = []
    spoken = (COUNTRIES[land][0], *ALSO_SPOKEN.get(land, ())) if land in COUNTRIES else ()
    for tag in (*preferred, *spoken[:1], default):
        if tag in spoken:
            found.append(f"{tag}-{land}")
        found.append(tag)
    return tuple(dict.fromkeys(found))


def zone_of(country: str | None, default: tzinfo) -> tzinfo:
    """The time zone whose calendar a person of this country reads, else `default`."""
    known = COUNTRIES.get((country or "").upper())
    try:
        return ZoneInfo(known[1]) if known else default
    except (OSError, ZoneInfoNotFoundError):
        return default
