"""docs/settings.md is written from the settings themselves: `python -m tests.test_settings_document` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from config.channels import Endpoint
from config.settings import PREFIX, Account, Settings

DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"

HEAD = f"""# Settings

Every setting comes from the environment, under its name with `{PREFIX}` before it, or from `reprieve.toml` in the
folder where the process starts, under its name in small letters. The environment wins. `{PREFIX}X_FILE` names a file
whose content becomes the setting X: that is how secrets should travel.

"""

ACCOUNTS = """
## Further Stripe accounts

The settings above are for one account. More of them go into `reprieve.toml`, each as a table `[[accounts]]`:

"""

ENDPOINTS = """
## Your own systems that are told what happens

Each as a table `[[outgoing_webhooks]]` in `reprieve.toml`; [channels.md](channels.md) has the events.

"""


def table(model: type[BaseModel], prefix: str = "") -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        shown = f"{prefix}{name.upper() if prefix else name}"
        secret = " *(secret)*" if "SecretStr" in str(field.annotation) else ""
        meaning = (field.description or "").replace("|", r"\|")
        rows.append(f"| `{shown}`{secret} | {default(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def default(field: FieldInfo) -> str:
    value = field.get_default()
    if value is None or value == ():
        return ""
    assert not isinstance(value, SecretStr), "a secret has no default"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def document() -> str:
    return HEAD + table(Settings, PREFIX) + ACCOUNTS + table(Account) + ENDPOINTS + table(Endpoint)


def test_the_document_is_what_the_settings_say() -> None:
    assert DOCUMENT.read_text() == document(), "write it anew: python -m tests.test_settings_document"


def test_every_setting_is_described() -> None:
    bare = [
        name
        for model in (Settings, Account, Endpoint)
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert bare == []


def test_every_setting_named_in_the_documents_and_in_compose_exists() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    known |= {"REPRIEVE_PORT", "REPRIEVE_X_FILE"}  # read by compose.yaml alone; an example
    root = DOCUMENT.parents[1]
    for path in [root / "README.md", root / "compose.yaml", root / "Dockerfile", *root.glob("docs/*.md")]:
        named = set(re.findall(r"\bREPRIEVE_[A-Z_]*[A-Z]", path.read_text()))
        assert named <= known, path.name


if __name__ == "__main__":
    DOCUMENT.write_text(document())
