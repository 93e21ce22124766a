"""The command line. Commands of the worker come in through the entry points "hoop.commands", when it is installed."""

import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from backend.core.config import Settings, get_settings
from backend.core.db import Database
from backend.core.errors import HoopError
from backend.core.processes import CannotStart

app = typer.Typer(
    name="hoop",
    help="Learn an embroidery style from one photo and preview any design in it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
key_app = typer.Typer(help="API keys.", no_args_is_help=True)
shop_app = typer.Typer(help="Shops.", no_args_is_help=True)
app.add_typer(key_app, name="key")
app.add_typer(shop_app, name="shop")


@app.command()
def up() -> None:
    """Start everything on this machine: services, API, page and workers. Ctrl-C stops it.

    Settings are environment variables: PORT, DATA_DIR, and HOOP_… for the rest.
    """
    from backend.core.telemetry import configure_logging
    from backend.supervisor import Supervisor

    # Not from a run that still has its addresses written down: it is over, or we are told that it is not.
    settings = Settings()
    configure_logging(settings.model_copy(update={"log_level": "WARNING"}))
    Supervisor(settings, lambda line: print(line, flush=True)).run()


@app.command()
def api(
    processes: Annotated[int, typer.Option(min=1, help="How many processes answer.")] = 1,
) -> None:
    """Serve the API and the page; database, broker and object store must be running."""
    import uvicorn

    from backend.core.telemetry import configure_logging

    settings = get_settings()
    configure_logging(settings)
    uvicorn.run(
        "backend.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=processes,
        log_config=None,
        access_log=False,
        server_header=False,
        # Event streams stay open for minutes; a restart must not wait for them.
        timeout_graceful_shutdown=3,
    )


@app.command()
def migrate() -> None:
    """Bring the database up to date, and make the bucket when it is missing."""
    from backend.core.migrate import migrate as run_migrations
    from backend.core.storage import ObjectStore

    settings = get_settings()
    if not settings.database_url:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.database)
    run_migrations(database.engine)
    database.close()
    if settings.s3_endpoint or settings.run_mode == "production":
        ObjectStore(settings).ensure_bucket()
    typer.echo("The database is up to date.")


@key_app.command("create")
def key_create(
    shop: Annotated[str, typer.Option(help="The shop's short name.")] = "demo",
    name: Annotated[str, typer.Option(help="What the key is for, so that you know it later.")] = "Key",
    read_only: Annotated[bool, typer.Option("--read-only", help="The key may look, not make.")] = False,
) -> None:
    """Make an API key. It is shown now and never again."""
    from backend.shops.credentials import SCOPES, find_shop, issue_api_key

    with _database().session() as session:
        key = issue_api_key(session, find_shop(session, shop).id, name, ("read",) if read_only else SCOPES)
    typer.echo(key)


@shop_app.command("create")
def shop_create(
    slug: Annotated[str, typer.Argument(help="Short name, for commands.")],
    name: Annotated[str, typer.Option(help="The name that people see.")] = "",
    email: Annotated[str, typer.Option(help="Address of the first member of staff.")] = "",
) -> None:
    """Make a shop with its first member of staff, and show a login link."""
    from backend.shops.credentials import ensure_shop, ensure_user, issue_login_token

    settings = get_settings()
    with _database().session() as session:
        shop = ensure_shop(session, slug, name or slug)
        user = ensure_user(session, shop, email or f"staff@{slug}.invalid")
        token = issue_login_token(session, user.id, settings.login_token_minutes)
    typer.echo(f"{settings.address}/login?token={token}")


@app.command("login-link")
def login_link(
    shop: Annotated[str, typer.Option(help="The shop's short name.")] = "demo",
    email: Annotated[str, typer.Option(help="Whom to log in; the first member of staff when left out.")] = "",
) -> None:
    """Make a login link that works once."""
    from sqlalchemy import select

    from backend.core.errors import NotFound
    from backend.models import User
    from backend.shops.credentials import find_shop, issue_login_token

    settings = get_settings()
    with _database().session() as session:
        people = select(User).where(User.shop_id == find_shop(session, shop).id).order_by(User.id)
        if email:
            people = people.where(User.email == email.strip().lower())
        user = session.scalars(people).first()
        if user is None:
            raise NotFound("This shop has nobody of that address.")
        token = issue_login_token(session, user.id, settings.login_token_minutes)
    typer.echo(f"{settings.address}/login?token={token}")


@app.command()
def openapi() -> None:
    """Print the description of the REST API (OpenAPI 3.1)."""
    import json

    from backend.app import create_app

    typer.echo(json.dumps(create_app().openapi(), indent=2, ensure_ascii=False))


@app.command()
def doctor() -> None:
    """Check this machine and this installation, and say what is missing."""
    from backend.doctor import examine

    raise typer.Exit(0 if examine(get_settings(), typer.echo) else 1)


def _database() -> Database:
    """The settings' database, which must have its tables."""
    from backend.core.migrate import is_current

    settings = get_settings()
    if not settings.database_url and not settings.data_dir.joinpath("hoop.db").exists():
        raise CannotStart(
            f"There is no database in {settings.data_dir} yet. `hoop up` makes it, and so does `hoop migrate`."
        )
    database = Database(settings.database)
    if not is_current(database.engine):
        raise CannotStart("The database is of another version of Hoop. Bring it up to date with `hoop migrate`.")
    return database


_OWN = {"up", "api", "migrate", "key", "shop", "login-link", "openapi", "doctor"}


def add_commands(only: str | None = None) -> None:
    """Add what other packages bring. A package that cannot be imported leaves a command that says why.

    Args:
        only: the command that was typed; when it is one of ours, nothing else is loaded, so that we start quickly.
    """
    if only in _OWN:
        return
    for entry in entry_points(group="hoop.commands"):
        try:
            entry.load()(app)
        except ModuleNotFoundError as error:
            _explain(entry.name, error.name or str(error))


def _explain(name: str, missing: str) -> None:
    @app.command(
        name, help=f"Not available: {missing} is not installed.", context_settings={"ignore_unknown_options": True}
    )
    def unavailable(_arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        raise CannotStart(
            f"`hoop {name}` needs the package {missing!r}. Install the workers' packages with `make setup` "
            "(or pip install -e '.[worker]')."
        )


def run() -> None:
    """Run the command line; what stands in the way is told in a sentence, without a traceback."""
    add_commands(sys.argv[1] if len(sys.argv) > 1 else None)
    try:
        app()
    except CannotStart as error:
        _end(str(error))
    except HoopError as error:
        _end(error.detail)
    except ValidationError as error:
        _end("\n".join(f"The setting {'.'.join(map(str, e['loc']))} is not right: {e['msg']}." for e in error.errors()))
    except OperationalError as error:
        _end(f"The database cannot be used: {error.orig}.")


def _end(message: str) -> None:
    typer.echo(message, err=True)
    raise SystemExit(1)
