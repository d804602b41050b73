"""`user`: accounts of those who use the pages."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from triage_agent.bootstrap import open_worklist, utc_now
from triage_agent.cli.options import ConfigOption, JsonOption, actor, print_json, stdout
from triage_agent.cli.tables import shown
from triage_agent.domain.accounts import Account, Accounts, Role
from triage_agent.domain.errors import TriageError
from triage_agent.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Accounts of those who use the pages.")

NameArgument = Annotated[str, typer.Argument(help="The account's name, lower case.")]
RoleOption = Annotated[list[Role], typer.Option("--role", help="radiologist, admin or auditor; repeat for several.")]


@app.command()
def add(name: NameArgument, role: RoleOption, config: ConfigOption = None) -> None:
    """Make an account, and print the link by which its owner chooses a password once, within a day."""
    from triage_agent.web.site.people import is_name

    if not is_name(name):
        raise typer.BadParameter(
            "a name has lower-case letters, digits and . _ @ -, at most 64, and begins with no sign"
        )
    if Role.SERVICE in role:
        raise typer.BadParameter("a program has no account: give it one of [[web.tokens]]")
    settings, accounts = _open(config)
    new = Account(name=name, roles=frozenset(role), must_change=True)
    if not accounts.make_account(new, actor(), utc_now()):
        raise TriageError(f"there is an account {name} already", remedy=f"`triage-agent user link {name}` makes a link")
    _print_link(settings, accounts, name)


@app.command()
def link(name: NameArgument, config: ConfigOption = None) -> None:
    """Print a link by which the owner of an account chooses a new password once, within a day."""
    settings, accounts = _open(config)
    _print_link(settings, accounts, name)


@app.command()
def roles(name: NameArgument, role: RoleOption, config: ConfigOption = None) -> None:
    """Change what an account may do."""
    _, accounts = _open(config)
    if not accounts.give_roles(name, role, actor(), utc_now()):
        raise _unknown(name)


@app.command()
def disable(name: NameArgument, config: ConfigOption = None) -> None:
    """Let the owner of an account in no more; sessions end at once."""
    _, accounts = _open(config)
    if not accounts.disable(name, actor(), utc_now()):
        raise _unknown(name)


@app.command()
def enable(name: NameArgument, config: ConfigOption = None) -> None:
    """Let the owner of a disabled or locked account in again."""
    _, accounts = _open(config)
    if not accounts.disable(name, actor(), utc_now(), disabled=False):
        raise _unknown(name)


@app.command("reset-second-factor")
def reset_second_factor(name: NameArgument, config: ConfigOption = None) -> None:
    """Forget an account's authenticator and recovery codes; the owner sets up another at the next sign-in."""
    from triage_agent.signing_in import build_second_factors

    settings = load_settings(config)
    if not build_second_factors(open_worklist(settings)).reset(name, actor(), utc_now()):
        raise TriageError(f"no account {name} with a second factor", remedy="`triage-agent user list` shows them")


@app.command("list")
def listed(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Every account, and what it may do."""
    from triage_agent.domain.audit import AuditEvent
    from triage_agent.domain.vocabulary import AuditAction
    from triage_agent.signing_in import build_accounts

    worklist = open_worklist(load_settings(config))
    everybody = [_shown(account) for account in build_accounts(worklist).accounts()]
    event = AuditEvent(
        at=utc_now(), action=AuditAction.ACCOUNTS_LISTED, actor=actor(), detail={"accounts": len(everybody)}
    )
    worklist.record_audit(event)
    if as_json:
        print_json(everybody)
        return
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1), show_edge=False)
    for heading in ("Name", "Roles", "By", "State", "Second factor", "Signed in"):
        table.add_column(heading)
    for one in everybody:
        table.add_row(*(shown(str(value or "")) for value in one.values()))
    stdout.print(table)


def _shown(account: Account) -> dict[str, object]:
    """What anybody may know of an account: nothing of its password."""
    state = "disabled" if account.disabled_at else "has no password yet" if account.must_change else "active"
    if account.locked_until is not None and account.locked_until > utc_now():
        state = "locked"
    return {
        "name": account.name,
        "roles": " ".join(sorted(role.value for role in account.roles)),
        "source": account.source.value,
        "state": state,
        "second_factor": "yes" if account.totp_secret else "no",
        "signed_in_at": account.signed_in_at.isoformat() if account.signed_in_at else None,
    }


def _open(config: Path | None) -> tuple[Settings, Accounts]:
    from triage_agent.signing_in import build_accounts

    settings = load_settings(config)
    return settings, build_accounts(open_worklist(settings))


def _print_link(settings: Settings, accounts: Accounts, name: str) -> None:
    from triage_agent.signing_in import link_to
    from triage_agent.web.site.people import make_link

    secret = make_link(accounts, name, actor(), utc_now())
    if secret is None:
        raise _unknown(name)
    print(link_to(settings, secret))  # noqa: T201 - as it is: a console would fold it


def _unknown(name: str) -> TriageError:
    return TriageError(f"no account {name} that can be used", remedy="`triage-agent user list` shows them")
