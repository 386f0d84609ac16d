"""Words that no message may hold: what would tell a customer, or a thief, what the bank suspects.

Stripe asks for it of lost_card, stolen_card, fraudulent and merchant_blacklist (docs.stripe.com/declines/codes).
"""

from __future__ import annotations

import re

WORDS = {
    "en": r"\blost\b|stolen|theft|thie[fv]|fraud|scam|black.?list|block.?list|suspicio|suspect|pick.?up|restricted"
    r"|confiscat|\brisk|sanction|crimin|police|do.not.honou?r",
    "de": r"verloren|gestohlen|diebstahl|\bdieb|betrug|betrüg|verdächtig|verdacht|schwarze liste|sperrliste|gesperrt"
    r"|sperrung|risik|missbrauch|sanktion|polizei|straf|kriminell",
    "fr": r"\bperdue?s?\b|\bvolée?s?\b|\bvols?\b|fraud|suspect|soupçon|liste noire|opposition|bloqué|\brisque|escroc"
    r"|escroqu|sanction|police|crimin",
    "es": r"perdid|extravi|robad|\brobos?\b|\bhurt|fraud|sospech|lista negra|bloquead|retenid|riesgo|estafa|sancion"
    r"|polic[ií]a|crimin",
    "pt": r"perdid|extravi|roubad|\broubos?\b|\bfurt|fraud|suspeit|lista negra|bloquead|retid[oa]|\brisco|\bgolpe"
    r"|sanç|sancion|polícia|crimin",
    "ja": r"紛失|盗|不正|詐欺|偽造|疑わ|疑い|疑惑|ブラックリスト|没収|回収|利用停止|リスク|制裁|犯罪|警察",
}
CODE = re.compile(r"[a-z]+(_[a-z]+)+")  # a code of Stripe's or a network's, as it is written


def taboo(text: str, language: str) -> str:
    """The first word that may not be said, else an empty string; in any language also the English ones."""
    found = re.search(f"{WORDS.get(language, WORDS['en'])}|{WORDS['en']}", text, re.IGNORECASE)
    return found[0] if found else ""
