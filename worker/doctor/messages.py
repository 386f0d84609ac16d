"""What customers get to read: the mail server, the words, and the policies behind them."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from billing.policy import Mode
from config import policies as files
from config.messages import languages
from config.policy_file import check
from config.settings import Settings
from worker.channels.email import mail_sender, smtp_server
from worker.channels.smtp import Conversation, Refused
from worker.doctor.finding import Answer, Level, Patient
from worker.rendering import Renderer, TemplateBroken
from worker.templates.check import guarded
from worker.templates.samples import every, in_language
from worker.templates.versions import Versions


def mail(patient: Patient) -> Iterator[Answer]:
    settings = patient.settings
    sends = [name for account, name in patient.accounts() if Mode(account.mode).sends]
    if settings.smtp_host:
        yield _smtp(settings)
        if sends and settings.mail_from.endswith("@localhost"):
            yield Level.FAIL, f"messages would come from {settings.mail_from}", "set REPRIEVE_MAIL_FROM"
    elif settings.mailbox_dir:
        yield _folder(settings.mailbox_dir)
    elif sends:
        yield Level.WARN, f"{', '.join(sends)} should send messages, and there is no way to", "set REPRIEVE_SMTP_HOST"
    else:
        yield Level.OK, "not set, and no account sends messages", ""


def _smtp(settings: Settings) -> Answer:
    """As far as the login, and no message."""
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    try:
        server, sender = smtp_server(settings), mail_sender(settings)
        tls = ssl.create_default_context(cafile=server.ca_file)
        talk = Conversation(sender.address.domain, min(server.timeout, 10), 20)
        try:
            talk.open(server.host, server.port, tls if server.tls == "implicit" else None)
            if server.tls == "starttls":
                talk.starttls(context=tls)
                talk.ehlo_or_helo_if_needed()
            if server.user is not None:
                talk.login(server.user, server.password or "")
            talk.bye()
        finally:
            talk.close()
    except (OSError, Refused, ValueError) as error:
        return Level.FAIL, f"{where}: {type(error).__name__}", "check the REPRIEVE_SMTP_ settings and the mail server"
    return Level.OK, f"{where} lets us in ({server.tls})", ""


def _folder(folder: Path) -> Answer:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Level.FAIL, f"{folder} cannot be written ({error.strerror})", "check REPRIEVE_MAILBOX_DIR"
    return Level.WARN, f"messages go to the folder {folder}, to nobody else", "set REPRIEVE_SMTP_HOST to send them"


def templates(patient: Patient) -> Iterator[Answer]:
    """Every message, for every reason and in every language, as it is shipped."""
    renderer, broken = Renderer(), dict[str, None]()
    for language, sample in every(languages()):
        if sample.usual:
            try:
                renderer.render(in_language(sample.notice, language))
            except TemplateBroken as error:
                broken[str(error)] = None
    for words in broken:
        yield Level.FAIL, words, "mend the template"
    if not broken:
        yield Level.OK, f"every message can be written ({', '.join(languages())})", ""


def own_texts(patient: Patient) -> Iterator[Answer]:
    """What operators put in force; one that cannot be written is passed over when it is sent, and has to be mended."""
    versions = Versions(patient.db)
    edits = {language: versions.active(language) for language in languages()}
    number = sum(len(entries) for entries in edits.values())
    if not number:
        yield Level.OK, "every text is as shipped", ""
        return
    broken = guarded(edits)
    for words in broken:
        yield (
            Level.FAIL,
            words,
            "activate another version: `reprieve templates activate ... --version 0` is the shipped",
        )
    if not broken:
        yield Level.OK, f"{number} texts of your own are in force, and can be written", ""


def policies(patient: Patient) -> Iterator[Answer]:
    for name in sorted({account.policy for account in patient.settings.all_accounts}):
        try:
            policy = check(files.find(name, patient.settings.policy_dir))
            yield Level.OK, f"{policy.id}, window of {policy.window.days} days", ""
        except files.BadPolicy as error:
            yield Level.FAIL, str(error), "mend the policy file"
